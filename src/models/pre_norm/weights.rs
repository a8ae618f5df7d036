//! The tensors of a model that norms before each half of a layer.

use super::Config;
use crate::Result;
use crate::engine::Matrix;
use crate::models::tensors::Tensors;

/// The weights of a layer; shapes are rows × columns.
#[derive(Debug)]
pub struct Layer {
    /// The norm before attention: `hidden`. Without it attention reads the residual stream as it is.
    pub attn_norm: Option<Vec<f32>>,
    /// Queries: `heads * head_dim` × `hidden`.
    pub attn_q: Matrix,
    /// Keys: `kv_heads * head_dim` × `hidden`.
    pub attn_k: Matrix,
    /// Values: `kv_heads * head_dim` × `hidden`.
    pub attn_v: Matrix,
    /// RMSNorm of each head of queries and of keys: `head_dim`.
    pub head_norms: Option<HeadNorms>,
    /// What attention adds: `hidden` × `heads * head_dim`.
    pub attn_output: Matrix,
    /// The norm before the feed-forward layer: `hidden`.
    pub ffn_norm: Vec<f32>,
    /// The half that is activated: `feed_forward` × `hidden`.
    pub ffn_gate: Matrix,
    /// The half that is gated: `feed_forward` × `hidden`.
    pub ffn_up: Matrix,
    /// What the feed-forward layer adds: `hidden` × `feed_forward`.
    pub ffn_down: Matrix,
}

/// The weights of the norms of heads, `head_dim` each.
#[derive(Debug)]
pub struct HeadNorms {
    /// For queries.
    pub query: Vec<f32>,
    /// For keys.
    pub key: Vec<f32>,
}

impl Layer {
    /// The seven matrices, in the order of the forward pass.
    pub fn matrices(&self) -> [&Matrix; 7] {
        let [query, key, value] = self.attn_qkv();
        let (gate, up) = (&self.ffn_gate, &self.ffn_up);
        [
            query,
            key,
            value,
            &self.attn_output,
            gate,
            up,
            &self.ffn_down,
        ]
    }

    /// The matrices of queries, keys and values.
    pub fn attn_qkv(&self) -> [&Matrix; 3] {
        [&self.attn_q, &self.attn_k, &self.attn_v]
    }

    /// The matrices as a pass multiplies with them: panels of the gate and of what it gates in turn.
    pub fn streams(&self) -> [Vec<&Matrix>; 6] {
        let [query, key, value, output, gate, up, down] = self.matrices();
        [
            vec![query],
            vec![key],
            vec![value],
            vec![output],
            vec![gate, up],
            vec![down],
        ]
    }
}

/// All weights of a model.
#[derive(Debug)]
pub struct Weights {
    /// A row a token: `vocabulary` × `hidden`.
    pub token_embd: Matrix,
    /// The norm of the embeddings: `hidden`.
    pub token_embd_norm: Option<Vec<f32>>,
    /// The norm after the last layer: `hidden`.
    pub output_norm: Vec<f32>,
    /// The layers, first to last.
    pub layers: Vec<Layer>,
}

/// How a family spells the tensors of a layer.
pub(in crate::models) type ReadLayer = fn(&mut Tensors, &Config, layer: usize) -> Result<Layer>;

impl Weights {
    /// The tensors that all these families have; the norm of the embeddings where a file has to have it.
    ///
    /// # Errors
    /// If a tensor is missing, of an unsupported type or of another shape.
    pub(in crate::models) fn read(
        tensors: &mut Tensors,
        config: &Config,
        embeddings_normed: bool,
        read_layer: ReadLayer,
    ) -> Result<Self> {
        let (hidden, vocabulary) = (config.sizes.hidden, config.sizes.vocabulary);
        let mut norm = |name: &str| tensors.vector(&format!("{name}.weight"), hidden);
        Ok(Self {
            token_embd_norm: embeddings_normed
                .then(|| norm("token_embd_norm"))
                .transpose()?,
            output_norm: norm("output_norm")?,
            token_embd: tensors.matrix("token_embd.weight", vocabulary, hidden)?,
            layers: (0..config.sizes.layers)
                .map(|layer| read_layer(tensors, config, layer))
                .collect::<Result<_>>()?,
        })
    }

    /// The matrices that a pass multiplies with: all but the embedding table.
    pub fn product_matrices(&self) -> impl Iterator<Item = &Matrix> {
        self.layers.iter().flat_map(Layer::matrices)
    }
}
