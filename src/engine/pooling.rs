//! One vector a text from those of its tokens.

use std::fmt;
use std::str::FromStr;

use lanewise_pool::partition::chunks;

use super::batch::Batch;
use super::executor::Executor;
use super::profile::Phase;
use crate::Error;

/// How the vectors of a text's tokens become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pooling {
    /// Their mean, the special tokens included.
    Mean,
    /// That of the first token, `[CLS]`.
    Cls,
    /// That of the last token.
    Last,
}

impl Pooling {
    /// Every way.
    pub const ALL: [Self; 3] = [Self::Mean, Self::Cls, Self::Last];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Cls => "cls",
            Self::Last => "last",
        }
    }
}

impl fmt::Display for Pooling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Pooling {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let mut all = Self::ALL.into_iter();
        all.find(|pooling| pooling.name() == name)
            .ok_or_else(|| Error::Argument {
                name: "pooling".into(),
                problem: format!("there is none called '{name}'"),
                remedy: "use mean, cls or last".into(),
            })
    }
}

impl Executor {
    /// `out[text]` becomes the vector of each text of the batch, from the rows of its tokens in `x`.
    pub fn pool(&mut self, batch: &Batch, pooling: Pooling, x: &[f32], out: &mut [f32]) {
        let (kernels, hidden) = (self.kernels(), batch.shape().hidden);
        self.for_each_part(chunks(out, hidden), |text, out, worker| {
            let tokens = &batch.texts()[text];
            let rows = &x[tokens.start * hidden..tokens.end * hidden];
            match pooling {
                Pooling::Mean => {
                    out.fill(0.0);
                    for x in rows.chunks_exact(hidden) {
                        kernels.accumulate(out, x);
                    }
                    let count = tokens.len() as f32;
                    out.iter_mut().for_each(|value| *value /= count);
                }
                Pooling::Cls => out.copy_from_slice(&rows[..hidden]),
                Pooling::Last => out.copy_from_slice(&rows[rows.len() - hidden..]),
            }
            worker.stopwatch.lap(Phase::Pool);
        });
        self.lap(Phase::Wait);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pooling_is_read_by_its_name() {
        for pooling in Pooling::ALL {
            assert_eq!(pooling.to_string().parse::<Pooling>().unwrap(), pooling);
        }
        let message = "max".parse::<Pooling>().unwrap_err().to_string();
        assert!(message.contains("'max'") && message.contains("mean, cls or last"));
    }
}
