//! What rerankers of all families share: how a file says that it is one, and the functions of scores.

use crate::Result;
use crate::gguf::Gguf;
use crate::models::keys::{Keys, RECONVERT};

/// The number of "rank" as a way of pooling.
pub(super) const RANK: u32 = 4;

/// What a score passes at last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScoreFunction {
    /// Nothing: scores are any numbers.
    Identity,
    /// The logistic function, `1 / (1 + e⁻ˣ)`: scores are from 0 to 1.
    Sigmoid,
}

impl ScoreFunction {
    /// Its name, as files have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Sigmoid => "sigmoid",
        }
    }

    /// What becomes of a score.
    pub fn apply(self, score: f32) -> f32 {
        match self {
            Self::Identity => score,
            Self::Sigmoid => (1.0 / (1.0 + exp(-f64::from(score)))) as f32,
        }
    }
}

/// The function of the scores of a file, `None` if it is no reranker.
///
/// Lanewise's converter writes it; other files leave it open, and the logistic function is what Sentence
/// Transformers has for a single score.
///
/// # Errors
/// If the file gives other than one score, or names a function that is not known.
pub(super) fn of_file(keys: &Keys) -> Result<Option<ScoreFunction>> {
    const FUNCTION: &str = "lanewise.classifier.score";
    const LABELS: &str = "classifier.output_labels";
    let gguf: &Gguf = keys.gguf;
    if gguf.optional_u32(&keys.key("pooling_type"))? != Some(RANK) {
        return Ok(None);
    }
    if let Some(labels) = gguf.optional_array(&keys.key(LABELS))?
        && labels.len() != 1
    {
        let problem = format!("names {} scores, but a reranker gives one", labels.len());
        return Err(keys.error(LABELS, problem, "use a reranker instead of a classifier"));
    }
    match gguf.optional_str(FUNCTION)?.as_deref() {
        None | Some("sigmoid") => Ok(Some(ScoreFunction::Sigmoid)),
        Some("identity") => Ok(Some(ScoreFunction::Identity)),
        Some(other) => {
            let problem = format!("is {other:?}, but only identity and sigmoid are known");
            Err(gguf.file_error(FUNCTION, problem, RECONVERT))
        }
    }
}

/// The hyperbolic tangent, by multiplications, additions and divisions alone: the same bits on every
/// machine, which the system's function does not promise.
pub(super) fn tanh(x: f64) -> f64 {
    // Near 0 the difference from 1 would lose digits.
    if x.abs() < 1e-4 {
        return x - x * x * x / 3.0;
    }
    let power = exp(-2.0 * x.abs());
    ((1.0 - power) / (1.0 + power)).copysign(x)
}

/// e to the power of x, as [`tanh`] is computed; x is clamped to ±700.
fn exp(x: f64) -> f64 {
    use std::f64::consts::{LN_2, LOG2_E};
    // x = n ln 2 + r: the series of r, which is at most ln 2 / 2, by Horner's rule, times 2ⁿ.
    let x = x.clamp(-700.0, 700.0);
    let n = (x * LOG2_E).round();
    let r = x - n * LN_2;
    let series = (1..=14)
        .rev()
        .fold(1.0, |sum, n| 1.0 + r / f64::from(n) * sum);
    series * f64::from_bits(((1023 + n as i64) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_near_those_of_the_system() {
        for step in -4000..=4000 {
            let x = f64::from(step) / 200.0;
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-14, "exp({x})");
            assert!((tanh(x) - x.tanh()).abs() < 1e-14, "tanh({x})");
        }
        for x in [1e-9, 9.9e-5, 1.01e-4] {
            assert!((tanh(x) / x.tanh() - 1.0).abs() < 1e-12, "tanh({x})");
        }
        assert_eq!([-1e30, 0.0, 1e30].map(tanh), [-1.0, 0.0, 1.0]);
        assert!(tanh(f64::NAN).is_nan());
    }

    #[test]
    fn scores_pass_the_function() {
        assert_eq!(ScoreFunction::Identity.apply(3.5), 3.5);
        assert_eq!(ScoreFunction::Sigmoid.apply(0.0), 0.5);
        assert_eq!(ScoreFunction::Sigmoid.apply(f32::INFINITY), 1.0);
        let low = ScoreFunction::Sigmoid.apply(-20.0);
        assert!((f64::from(low) - 2.061_153_6e-9).abs() < 1e-15);
    }
}
