//! The memory budget for reading.

use crate::error::{Error, Result};
use crate::message::{Setting, message};

/// The memory for a piece of the input that must be in memory as a whole: a page of Parquet, a
/// record batch of Arrow.
#[derive(Debug, Clone, Copy)]
pub struct ReadBudget {
    /// How many bytes it may take.
    pub bytes: u64,
    /// Bytes that the rest of the run takes at most.
    pub rest_bytes: u64,
}

impl ReadBudget {
    /// An error if a `piece` of the file `name` takes more.
    pub(crate) fn check(self, name: &str, piece: &str, bytes: u64) -> Result<()> {
        let Some(more) = bytes.checked_sub(self.bytes).filter(|&more| more > 0) else {
            return Ok(());
        };
        let megabytes = |bytes: u64| bytes.div_ceil(1 << 20);
        let problem = message![
            format!(
                "{piece} takes {} MB of memory, {} more than ",
                megabytes(bytes),
                megabytes(more)
            ),
            Setting::MaxMemory,
            " leaves for it",
        ];
        let remedy = message![
            "give ",
            Setting::MaxMemory,
            format!(
                " {}M or more, or write the file with fewer rows in each",
                megabytes(self.rest_bytes.saturating_add(bytes))
            ),
        ];
        Err(Error::named_file(name, problem, remedy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_says_what_would_do() {
        let budget = ReadBudget {
            bytes: 100 << 20,
            rest_bytes: 900 << 20,
        };
        let check = |bytes| budget.check("a.arrow", "a record batch", bytes);
        assert!(check(100 << 20).is_ok());
        assert_eq!(
            check(110 << 20).unwrap_err().to_string(),
            "a.arrow: a record batch takes 110 MB of memory, 10 more than `max_memory` leaves for it; \
             give `max_memory` 1010M or more, or write the file with fewer rows in each"
        );
    }
}
