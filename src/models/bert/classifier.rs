//! The head of rerankers: one score from the first token of a pair of texts.
//!
//! ```text
//! score = cls.output tanh(cls x + bias) + bias
//! ```

use super::Config;
use super::weights::Linear;
use crate::Result;
use crate::engine::Matrix;
use crate::models::reranker;
use crate::models::tensors::Tensors;

/// What turns the first token's values into a score.
#[derive(Debug)]
pub struct Classifier {
    /// The layer before the score, `hidden` × `hidden`: BERT's pooler, or XLM-RoBERTa's dense layer.
    pub dense: Linear,
    /// What its values are multiplied by: `hidden`.
    pub output: Vec<f32>,
    /// What is added to their sum.
    pub output_bias: f32,
}

impl Classifier {
    /// The head of a file.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape: without the layer before the score the model is another
    /// function, and llama.cpp's converter leaves BERT's out.
    pub(super) fn from_gguf(tensors: &mut Tensors, config: &Config) -> Result<Self> {
        let hidden = config.hidden;
        for name in ["cls.weight", "cls.bias"] {
            if tensors.gguf().tensor(name).is_none() {
                let problem =
                    "is missing: without it, which some converters leave out, scores are others";
                let remedy = "convert the model again from its checkpoint with `lanewise convert`";
                return Err(tensors.error(name, problem, remedy));
            }
        }
        let output = tensors.row("cls.output.weight", hidden)?;
        let bias = tensors.vector("cls.output.bias", 1)?;
        Ok(Self {
            dense: Linear {
                weight: tensors.matrix("cls.weight", hidden, hidden)?,
                bias: Some(tensors.vector("cls.bias", hidden)?),
            },
            output,
            output_bias: bias[0],
        })
    }

    /// The score of a text, not yet passed through the model's function, from the product of `dense` with
    /// its first token, to which its bias has not been added.
    pub(super) fn score(&self, product: &[f32]) -> f32 {
        let bias = self.dense.bias.iter().flatten();
        let values = product.iter().zip(bias).zip(&self.output);
        let terms = values
            .map(|((x, bias), weight)| reranker::tanh(f64::from(x + bias)) * f64::from(*weight));
        (terms.sum::<f64>() + f64::from(self.output_bias)) as f32
    }

    /// Its matrix.
    pub(super) fn matrix(&self) -> &Matrix {
        &self.dense.weight
    }
}
