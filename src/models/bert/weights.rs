//! The tensors, each checked for its type and shape.

use std::sync::Arc;

use super::{Config, FAMILY};
use crate::Result;
use crate::engine::Matrix;
use crate::gguf::Gguf;
use crate::models::tensors::{RECONVERT, Tensors};

/// A matrix with a bias.
#[derive(Debug)]
pub struct Linear {
    /// The matrix.
    pub weight: Matrix,
    /// A value for each of its rows.
    pub bias: Vec<f32>,
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
    /// Their biases, one after the other: three times `hidden`.
    pub attn_qkv_bias: Vec<f32>,
    /// The output of attention: `hidden` × `hidden`.
    pub attn_output: Linear,
    /// After the output of attention has been added: `hidden`.
    pub attn_output_norm: Norm,
    /// `feed_forward` × `hidden`.
    pub ffn_up: Linear,
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
            let part = linear(tensors, &name(part), 3 * hidden / parts.len(), hidden)?;
            attn_qkv.push(part.weight);
            attn_qkv_bias.extend(part.bias);
        }
        Ok(Self {
            attn_qkv,
            attn_qkv_bias,
            attn_output: linear(tensors, &name("attn_output"), hidden, hidden)?,
            attn_output_norm: norm(tensors, &name("attn_output_norm"), hidden)?,
            ffn_up: linear(tensors, &name("ffn_up"), feed_forward, hidden)?,
            ffn_down: linear(tensors, &name("ffn_down"), hidden, feed_forward)?,
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
        let others = [&self.attn_output, &self.ffn_up, &self.ffn_down];
        let others = others.into_iter().map(|linear| &linear.weight);
        self.attn_qkv.iter().chain(others)
    }
}

/// All weights of a model.
#[derive(Debug)]
pub struct Weights {
    /// A row a token: `vocabulary` × `hidden`.
    pub token_embd: Matrix,
    /// A row a position: `positions` × `hidden`.
    pub position_embd: Matrix,
    /// A row a type of token, of which embeddings use the first; not in every file.
    pub token_types: Option<Matrix>,
    /// LayerNorm of the embeddings: `hidden`.
    pub token_embd_norm: Norm,
    /// The layers, first to last.
    pub layers: Vec<Layer>,
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
    pub fn from_gguf(gguf: &Arc<Gguf>, config: &Config) -> Result<Self> {
        let hidden = config.hidden;
        let mut tensors = Tensors::new(gguf, &FAMILY);
        let weights = Self {
            token_embd: tensors.matrix("token_embd.weight", config.vocabulary, hidden)?,
            position_embd: tensors.matrix("position_embd.weight", config.positions, hidden)?,
            token_types: token_types(&mut tensors, config)?,
            token_embd_norm: norm(&mut tensors, "token_embd_norm", hidden)?,
            layers: (0..config.layers)
                .map(|layer| Layer::from_gguf(&mut tensors, config, layer))
                .collect::<Result<_>>()?,
        };
        tensors.check_all_used()?;
        Ok(weights)
    }

    /// The tables that rows are copied from.
    pub fn tables(&self) -> impl Iterator<Item = &Matrix> {
        let tables = [&self.token_embd, &self.position_embd];
        tables.into_iter().chain(&self.token_types)
    }

    /// The matrices that a pass multiplies with: all but the tables.
    pub fn product_matrices(&self) -> impl Iterator<Item = &Matrix> {
        self.layers.iter().flat_map(Layer::matrices)
    }
}

fn linear(tensors: &mut Tensors, name: &str, rows: usize, columns: usize) -> Result<Linear> {
    Ok(Linear {
        weight: tensors.matrix(&format!("{name}.weight"), rows, columns)?,
        bias: tensors.vector(&format!("{name}.bias"), rows)?,
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
