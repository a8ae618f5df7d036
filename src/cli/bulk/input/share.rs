//! The memory for what a file has in one piece.

use super::unreadable;
use crate::cli::failure::Failure;

/// The memory for a piece of the input that has to be there whole: a page of Parquet, a record batch of Arrow.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    /// How much it is.
    pub bytes: u64,
    /// What the rest of the run takes if it has all that it can use.
    pub beside: u64,
}

impl Share {
    /// Refuses a `piece` of the file `name` that takes more.
    pub fn check(self, name: &str, piece: &str, bytes: u64) -> Result<(), Failure> {
        let Some(more) = bytes.checked_sub(self.bytes).filter(|&more| more > 0) else {
            return Ok(());
        };
        let megabytes = |bytes: u64| bytes.div_ceil(1 << 20);
        let problem = format!(
            "{piece} takes {} MB of memory, {} more than --max-memory leaves for it",
            megabytes(bytes),
            megabytes(more)
        );
        let remedy = format!(
            "give --max-memory {}M or more, or write the file with fewer rows in each",
            megabytes(self.beside.saturating_add(bytes))
        );
        Err(unreadable(name, problem, &remedy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_says_what_would_do() {
        let share = Share {
            bytes: 100 << 20,
            beside: 900 << 20,
        };
        assert!(share.check("a.arrow", "a record batch", 100 << 20).is_ok());
        let Err(Failure::Stopped { message, .. }) =
            share.check("a.arrow", "a record batch", 110 << 20)
        else {
            panic!("it fits");
        };
        assert_eq!(
            message,
            "a.arrow: a record batch takes 110 MB of memory, 10 more than --max-memory leaves for it; \
             give --max-memory 1010M or more, or write the file with fewer rows in each"
        );
    }
}
