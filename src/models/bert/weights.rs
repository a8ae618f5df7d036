//! The tensors, each checked for its type and shape.

use std::iter;
use std::sync::Arc;

use super::{Classifier, Config, Variant};
use crate::Result;
use crate::engine::Matrix;
use crate::gguf::Gguf;
use crate::models::Family;
use crate::models::tensors::{RECONVERT, Tensors};

/// A matrix, with a bias in BERT.
#[derive(Debug)]
pub struct Linear {
    /// The matrix.
    pub weight: Matrix,
    /// A value for each of its rows.
    pub bias: Option<Vec<f32>>,
}

/// What a feed-forward layer has before `ffn_down`; matrices of `feed_forward` × `hidden`.
#[derive(Debug)]
pub enum FeedForward {
    /// `gelu(up x + bias)`.
    Gelu {
        /// The matrix.
        up: Matrix,
        /// A value for each of its rows.
        bias: Vec<f32>,
    },
    /// `silu(gate x) * (up x)`.
    GatedSilu {
        /// The half that gates.
        gate: Matrix,
        /// The half that is gated.
        up: Matrix,
    },
}

impl FeedForward {
    fn from_gguf(
        tensors: &mut Tensors,
        config: &Config,
        name: impl Fn(&str) -> String,
    ) -> Result<Self> {
        let [up, gate] = ["ffn_up", "ffn_gate"].map(|part| format!("{}.weight", name(part)));
        let mut matrix = |name: &str| tensors.matrix(name, config.feed_forward, config.hidden);
        Ok(match config.variant {
            Variant::Bert => Self::Gelu {
                up: matrix(&up)?,
                bias: tensors.vector(&format!("{}.bias", name("ffn_up")), config.feed_forward)?,
            },
            Variant::Nomic { .. } => Self::GatedSilu {
                gate: matrix(&gate)?,
                up: matrix(&up)?,
            },
        })
    }

    /// The matrices of its product, of which a pass takes a panel each in turn.
    pub fn matrices(&self) -> impl Iterator<Item = &Matrix> {
        let (first, second) = match self {
            Self::Gelu { up, .. } => (up, None),
            Self::GatedSilu { gate, up } => (gate, Some(up)),
        };
        iter::once(first).chain(second)
    }

    /// The first of them.
    pub fn first(&self) -> &Matrix {
        match self {
            Self::Gelu { up, .. } => up,
            Self::GatedSilu { gate, .. } => gate,
        }
    }
}

/// LayerNorm.
#[derive(Debug)]
pub struct Norm {
    /// What normalized values are multiplied by.
    pub weight: Vec<f32>,
    /// What is added to them then.
    pub bias: Vec<f32>,
}

impl Norm {
    /// Both.
    pub fn both(&self) -> [&[f32]; 2] {
        [&self.weight, &self.bias]
    }
}

/// The tensors of one layer.
#[derive(Debug)]
pub struct Layer {
    /// The matrices of queries, keys and values, or one that holds the three, one below the other.
    pub attn_qkv: Vec<Matrix>,
    /// Their biases, one after the other: three times `hidden`; none in Nomic BERT.
    pub attn_qkv_bias: Vec<f32>,
    /// The output of attention: `hidden` × `hidden`.
    pub attn_output: Linear,
    /// After the output of attention has been added: `hidden`.
    pub attn_output_norm: Norm,
    /// What is before `ffn_down`.
    pub feed_forward: FeedForward,
    /// `hidden` × `feed_forward`.
    pub ffn_down: Linear,
    /// After the output of the feed-forward layer has been added: `hidden`.
    pub layer_output_norm: Norm,
}

impl Layer {
    fn from_gguf(tensors: &mut Tensors, config: &Config, layer: usize) -> Result<Self> {
        let (hidden, feed_forward) = (config.hidden, config.feed_forward);
        let name = |part: &str| format!("blk.{layer}.{part}");
        let fused = tensors.gguf().tensor(&name("attn_qkv.weight")).is_some();
        let parts: &[&str] = match fused {
            true => &["attn_qkv"],
            false => &["attn_q", "attn_k", "attn_v"],
        };
        let (mut attn_qkv, mut attn_qkv_bias) = (Vec::new(), Vec::new());
        for part in parts {
            let rows = 3 * hidden / parts.len();
            let part = linear(tensors, config, &name(part), rows, hidden)?;
            attn_qkv.push(part.weight);
            attn_qkv_bias.extend(part.bias.into_iter().flatten());
        }
        Ok(Self {
            attn_qkv,
            attn_qkv_bias,
            attn_output: linear(tensors, config, &name("attn_output"), hidden, hidden)?,
            attn_output_norm: norm(tensors, &name("attn_output_norm"), hidden)?,
            feed_forward: FeedForward::from_gguf(tensors, config, name)?,
            ffn_down: linear(tensors, config, &name("ffn_down"), hidden, feed_forward)?,
            layer_output_norm: norm(tensors, &name("layer_output_norm"), hidden)?,
        })
    }

    /// What a product with queries, keys and values takes: these, and how many of them count.
    pub fn attn_qkv(&self) -> ([&Matrix; 3], usize) {
        match &self.attn_qkv[..] {
            [query, key, value] => ([query, key, value], 3),
            fused => ([&fused[0]; 3], 1),
        }
    }

    /// The matrices, in the order of the forward pass.
    pub fn matrices(&self) -> impl Iterator<Item = &Matrix> {
        let qkv = self.attn_qkv.iter().chain([&self.attn_output.weight]);
        let inner = self.feed_forward.matrices();
        qkv.chain(inner).chain([&self.ffn_down.weight])
    }

    /// The matrices as a pass multiplies with them: panels of the gate and of what it gates in turn.
    pub fn streams(&self) -> impl Iterator<Item = Vec<&Matrix>> {
        let qkv = self.attn_qkv.iter().map(|matrix| vec![matrix]);
        qkv.chain([
            vec![&self.attn_output.weight],
            self.feed_forward.matrices().collect(),
            vec![&self.ffn_down.weight],
        ])
    }
}

/// All weights of a model.
#[derive(Debug)]
pub struct Weights {
    /// A row a token: `vocabulary` × `hidden`.
    pub token_embd: Matrix,
    /// A row a position: `positions` × `hidden`; none in Nomic BERT.
    pub position_embd: Option<Matrix>,
    /// A row a type of token, of which embeddings use the first; not in every file.
    pub token_types: Option<Matrix>,
    /// LayerNorm of the embeddings: `hidden`.
    pub token_embd_norm: Norm,
    /// The layers, first to last.
    pub layers: Vec<Layer>,
    /// The head of a reranker.
    pub classifier: Option<Classifier>,
}

impl Weights {
    /// Finds every tensor of the architecture and checks type and shape.
    ///
    /// Values of norms and biases are checked to be finite; those of matrices are not read, because that
    /// would bring the whole file into memory: see [`Matrix::verify`].
    ///
    /// # Errors
    /// If a tensor is missing, of an unsupported type or of another shape, or if the file has a tensor
    /// that the forward pass would ignore.
    pub fn from_gguf(gguf: &Arc<Gguf>, config: &Config, family: &'static Family) -> Result<Self> {
        let hidden = config.hidden;
        let mut tensors = Tensors::new(gguf, family);
        let weights = Self {
            token_embd: tensors.matrix("token_embd.weight", config.vocabulary, hidden)?,
            position_embd: match config.variant {
                Variant::Bert => {
                    let name = "position_embd.weight";
                    Some(tensors.matrix(name, config.positions, hidden)?)
                }
                Variant::Nomic { .. } => None,
            },
            token_types: token_types(&mut tensors, config)?,
            token_embd_norm: norm(&mut tensors, "token_embd_norm", hidden)?,
            layers: (0..config.layers)
                .map(|layer| Layer::from_gguf(&mut tensors, config, layer))
                .collect::<Result<_>>()?,
            classifier: match config.score_function {
                Some(_) => Some(Classifier::from_gguf(&mut tensors, config)?),
                None => None,
            },
        };
        tensors.check_all_used()?;
        Ok(weights)
    }

    /// Types of tokens that a pass tells apart: the texts of a pair, of a reranker with a type for each.
    pub(super) fn types_in_use(&self) -> usize {
        let types = self.token_types.as_ref().map_or(1, Matrix::rows);
        match self.classifier {
            Some(_) => types.min(2),
            None => 1,
        }
    }

    /// The tables that rows are copied from.
    pub fn tables(&self) -> impl Iterator<Item = &Matrix> {
        let others = self.position_embd.iter().chain(&self.token_types);
        iter::once(&self.token_embd).chain(others)
    }

    /// The matrices that a pass multiplies with: all but the tables.
    pub fn product_matrices(&self) -> impl Iterator<Item = &Matrix> {
        let head = self.classifier.iter().map(Classifier::matrix);
        self.layers.iter().flat_map(Layer::matrices).chain(head)
    }
}

fn linear(
    tensors: &mut Tensors,
    config: &Config,
    name: &str,
    rows: usize,
    columns: usize,
) -> Result<Linear> {
    Ok(Linear {
        weight: tensors.matrix(&format!("{name}.weight"), rows, columns)?,
        bias: match config.variant {
            Variant::Bert => Some(tensors.vector(&format!("{name}.bias"), rows)?),
            Variant::Nomic { .. } => None,
        },
    })
}

fn norm(tensors: &mut Tensors, name: &str, length: usize) -> Result<Norm> {
    Ok(Norm {
        weight: tensors.vector(&format!("{name}.weight"), length)?,
        bias: tensors.vector(&format!("{name}.bias"), length)?,
    })
}

/// The table of token types, of as many rows as the file states or the tensor has.
fn token_types(tensors: &mut Tensors, config: &Config) -> Result<Option<Matrix>> {
    const NAME: &str = "token_types.weight";
    const MOST: u64 = 1 << 10;
    let Some(tensor) = tensors.gguf().tensor(NAME) else {
        return match config.token_types {
            None | Some(0) => Ok(None),
            Some(count) => {
                let problem = format!("is missing, but the file states {count} types of tokens");
                Err(tensors.error(NAME, problem, RECONVERT))
            }
        };
    };
    let rows = tensor.dims.get(1).copied().unwrap_or(1).min(MOST) as usize;
    let rows = config.token_types.unwrap_or(rows);
    tensors.matrix(NAME, rows, config.hidden).map(Some)
}
