//! *INT8 accuracy*: how far the vectors of the INT8 path are from those of the f32 path, and from
//! given ones.

use lanewise::internals::Runtime;
use lanewise::internals::models::Model;
use lanewise::internals::tokenizer::Tokenizer;
use serde::Serialize;

use super::vectors::Given;
use crate::cli::failure::{self, Failure};

/// Values of a vector that are shown.
const SHOWN: usize = 10;

/// The INT8 path beside the f32 path, on the same file and ids.
#[derive(Debug, Serialize)]
pub struct Accuracy {
    /// INT8 to f32.
    #[serde(flatten)]
    pub difference: Difference,
    /// Whether any value differs. INT8 and f32 arithmetic cannot agree in every bit: where they
    /// seem to, the same path ran twice, and the report fails.
    pub different_paths: bool,
    /// The first values of the INT8 vector.
    pub first_int8: Vec<f32>,
    /// The first values of the f32 vector.
    pub first_f32: Vec<f32>,
    /// INT8 to given float32 vectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_float32_vectors: Option<ToVectors>,
}

/// How far a vector is from the one that it should be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Cosine similarity.
    pub cosine: f64,
    /// The largest magnitude of the difference of two values.
    pub largest_difference: f64,
    /// The mean magnitude of the differences.
    pub mean_difference: f64,
    /// The root mean square of the differences.
    pub rms_difference: f64,
}

/// INT8 vectors of several texts beside given float32 ones.
#[derive(Debug, Serialize)]
pub struct ToVectors {
    /// Where the vectors came from.
    pub file: String,
    /// Their number.
    pub texts: usize,
    /// The mean cosine similarity of the texts.
    pub mean_cosine: f64,
    /// The lowest cosine similarity of a text.
    pub minimum_cosine: f64,
    /// The largest magnitude of a difference, over all texts.
    pub largest_difference: f64,
    /// The mean magnitude of the differences, over all texts.
    pub mean_difference: f64,
    /// The root mean square of the differences, over all texts.
    pub rms_difference: f64,
}

impl Accuracy {
    /// Runs the f32 path on the ids that gave the INT8 vector.
    pub fn measure(model: &dyn Model, ids: &[u32], int8: &[f32]) -> lanewise::Result<Self> {
        Ok(Self::of(int8, &model.reference().embed(ids)?))
    }

    fn of(int8: &[f32], f32: &[f32]) -> Self {
        Self {
            difference: Difference::of(int8, f32),
            different_paths: int8 != f32,
            first_int8: int8.iter().copied().take(SHOWN).collect(),
            first_f32: f32.iter().copied().take(SHOWN).collect(),
            to_float32_vectors: None,
        }
    }

    /// Fails where the two paths gave the same bits.
    pub fn check(&self) -> Result<(), Failure> {
        if self.different_paths {
            return Ok(());
        }
        Err(Failure::Stopped {
            code: failure::PARTIAL,
            message: "INT8 accuracy: the INT8 vector and the f32 vector are exactly the same, so one path was compared \
                      with itself; please report it with the output above"
                .into(),
        })
    }
}

impl Difference {
    /// Of two vectors of the same length, not empty.
    fn of(actual: &[f32], expected: &[f32]) -> Self {
        let pairs = || {
            actual
                .iter()
                .zip(expected)
                .map(|(&a, &e)| (f64::from(a), f64::from(e)))
        };
        let (mut dot, mut actual_squares, mut expected_squares) = (0.0, 0.0, 0.0);
        let (mut largest, mut sum, mut squares) = (0.0f64, 0.0, 0.0);
        for (a, e) in pairs() {
            dot += a * e;
            actual_squares += a * a;
            expected_squares += e * e;
            let difference = (a - e).abs();
            largest = largest.max(difference);
            sum += difference;
            squares += difference * difference;
        }
        let count = actual.len() as f64;
        Self {
            cosine: dot / (actual_squares * expected_squares).sqrt(),
            largest_difference: largest,
            mean_difference: sum / count,
            rms_difference: (squares / count).sqrt(),
        }
    }
}

impl ToVectors {
    /// Runs the INT8 path on the given texts.
    pub fn measure(
        runtime: &mut Runtime,
        model: &dyn Model,
        tokenizer: &dyn Tokenizer,
        given: &Given,
    ) -> Result<Self, Failure> {
        let prompts = (model.family().prompts)(model.gguf())?;
        let mut vector = vec![0.0; model.shape().width];
        let mut differences = Vec::with_capacity(given.texts.len());
        for text in &given.texts {
            if text.embedding.len() != vector.len() {
                return Err(Failure::usage(format!(
                    "--vectors: {}: a vector has {} values, those of the model {}; use the full vectors of this model",
                    given.file,
                    text.embedding.len(),
                    vector.len()
                )));
            }
            let prompted = text.prompted(&prompts)?;
            let (ids, _) = tokenizer.encode_between_ends(&prompted, model.shape().context);
            runtime.embed(&[&ids], &mut vector)?;
            differences.push(Difference::of(&vector, &text.embedding));
        }
        Ok(Self::of(&given.file, &differences))
    }

    fn of(file: &str, differences: &[Difference]) -> Self {
        let values = |value: fn(&Difference) -> f64| differences.iter().map(value);
        let mean = |value: fn(&Difference) -> f64| {
            values(value).sum::<f64>() / differences.len().max(1) as f64
        };
        Self {
            file: file.to_owned(),
            texts: differences.len(),
            mean_cosine: mean(|d| d.cosine),
            minimum_cosine: values(|d| d.cosine).fold(f64::INFINITY, f64::min),
            largest_difference: values(|d| d.largest_difference).fold(0.0, f64::max),
            mean_difference: mean(|d| d.mean_difference),
            rms_difference: mean(|d| d.rms_difference * d.rms_difference).sqrt(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_of_exactly_zero_is_a_failure() {
        let vector = [0.6, 0.8];
        let same = Accuracy::of(&vector, &vector);
        assert_eq!(same.difference.largest_difference, 0.0);
        assert!(same.check().is_err());
        assert!(Accuracy::of(&vector, &[0.6, 0.800_000_1]).check().is_ok());
    }

    #[test]
    fn differences_are_those_of_the_values() {
        let difference = Difference::of(&[1.0, 0.0], &[0.0, 1.0]);
        let expected = Difference {
            cosine: 0.0,
            largest_difference: 1.0,
            mean_difference: 1.0,
            rms_difference: 1.0,
        };
        assert_eq!(difference, expected);
        let both = ToVectors::of("f", &[difference, Difference::of(&[1.0, 0.0], &[1.0, 0.0])]);
        assert_eq!((both.mean_cosine, both.minimum_cosine), (0.5, 0.0));
        assert_eq!(both.rms_difference, 0.5f64.sqrt());
    }
}
