//! The lengths of vectors.

use crate::{Error, Result};

/// The lengths that vectors may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dims {
    /// Those the model was trained to be cut to, the longest first.
    Trained(&'static [usize]),
    /// Any up to the width of the model.
    UpTo(usize),
    /// Any from the shortest that the model was trained to be cut to up to its width.
    Between(usize, usize),
}

impl Dims {
    /// The longest of them.
    pub fn longest(self) -> usize {
        match self {
            Self::Trained(lengths) => lengths.first().copied().unwrap_or(0),
            Self::UpTo(width) | Self::Between(_, width) => width,
        }
    }

    /// The length asked for, or the longest by default.
    ///
    /// # Errors
    /// If vectors cannot have it.
    pub fn checked(self, asked: Option<usize>) -> Result<usize> {
        let within = |shortest: usize, width: usize| {
            let usable = asked.is_none_or(|dims| (shortest..=width).contains(&dims));
            (usable, format!("use {shortest} to {width} with this model"))
        };
        let (usable, remedy) = match self {
            Self::Trained(lengths) => {
                let usable = asked.is_none_or(|dims| lengths.contains(&dims));
                (usable, format!("use {}", list(lengths)))
            }
            Self::UpTo(width) => within(1, width),
            Self::Between(shortest, width) => within(shortest, width),
        };
        let dims = asked.unwrap_or(self.longest());
        if usable {
            return Ok(dims);
        }
        Err(Error::Argument {
            name: "dims".into(),
            problem: format!("the model gives no vectors of {dims} values"),
            remedy,
        })
    }
}

/// Numbers as in `768, 512, 256 or 128`.
fn list(numbers: &[usize]) -> String {
    let numbers: Vec<String> = numbers.iter().map(usize::to_string).collect();
    match numbers.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dims_are_trained_lengths_or_any_up_to_the_width() {
        const TRAINED: Dims = Dims::Trained(&[768, 512, 256, 128]);
        const ANY: Dims = Dims::UpTo(64);
        const FROM: Dims = Dims::Between(32, 64);
        for dims in [768, 512, 256, 128] {
            assert_eq!(TRAINED.checked(Some(dims)).unwrap(), dims);
        }
        assert_eq!(TRAINED.checked(None).unwrap(), 768);
        assert_eq!(ANY.checked(None).unwrap(), 64);
        assert_eq!(ANY.checked(Some(10)).unwrap(), 10);
        assert_eq!(FROM.checked(Some(32)).unwrap(), 32);
        assert_eq!(FROM.checked(None).unwrap(), 64);
        for (dims, lengths) in [
            (0, TRAINED),
            (100, TRAINED),
            (1024, TRAINED),
            (0, ANY),
            (65, ANY),
            (31, FROM),
            (65, FROM),
        ] {
            let message = lengths.checked(Some(dims)).unwrap_err().to_string();
            assert!(message.starts_with("dims: "), "{message}");
        }
        let message = TRAINED.checked(Some(100)).unwrap_err().to_string();
        assert!(message.ends_with("use 768, 512, 256 or 128"), "{message}");
    }
}
