//! The weights of EmbeddingGemma: matrices as views into the map, norms as `f32`.

use std::sync::Arc;

use lanewise_kernels::BLOCK;

use super::{Config, FAMILY, Version};
use crate::Result;
use crate::engine::Matrix;
use crate::gguf::Gguf;
use crate::models::Family;
use crate::models::tensors::{RECONVERT, Tensors};

/// The most values between the two dense heads, as for a hidden size.
const MAX_INNER: usize = 1 << 18;

/// The weights of a layer; shapes are rows × columns.
#[derive(Debug)]
pub struct Layer {
    /// RMSNorm before attention: `hidden`.
    pub attn_norm: Vec<f32>,
    /// Queries: `heads * head_dim` × `hidden`.
    pub attn_q: Matrix,
    /// Keys: `kv_heads * head_dim` × `hidden`.
    pub attn_k: Matrix,
    /// Values: `kv_heads * head_dim` × `hidden`.
    pub attn_v: Matrix,
    /// RMSNorm of each query head: `head_dim`.
    pub attn_q_norm: Vec<f32>,
    /// RMSNorm of each key head: `head_dim`.
    pub attn_k_norm: Vec<f32>,
    /// What attention adds: `hidden` × `heads * head_dim`.
    pub attn_output: Matrix,
    /// RMSNorm after attention: `hidden`.
    pub post_attention_norm: Vec<f32>,
    /// RMSNorm before the feed-forward layer: `hidden`.
    pub ffn_norm: Vec<f32>,
    /// The half that GELU gates: `feed_forward` × `hidden`.
    pub ffn_gate: Matrix,
    /// The half that is gated: `feed_forward` × `hidden`.
    pub ffn_up: Matrix,
    /// What the feed-forward layer adds: `hidden` × `feed_forward`.
    pub ffn_down: Matrix,
    /// RMSNorm after the feed-forward layer: `hidden`.
    pub post_ffw_norm: Vec<f32>,
    /// What follows it in EmbeddingGemma 2.
    pub signal: Option<SignalLayer>,
}

/// What adds the signal of a layer, and what follows it.
#[derive(Debug)]
pub struct SignalLayer {
    /// What makes the signal of the embeddings: `signal` × `hidden`, rows of `per_layer_model_proj`.
    pub model_proj: Matrix,
    /// The gate of the signal: `signal` × `hidden`.
    pub inp_gate: Matrix,
    /// What the gated signal adds: `hidden` × `signal`.
    pub proj: Matrix,
    /// RMSNorm of what it adds: `hidden`.
    pub post_norm: Vec<f32>,
    /// What the residual stream is multiplied by then.
    pub output_scale: f32,
}

impl SignalLayer {
    fn from_gguf(
        tensors: &mut Tensors,
        config: &Config,
        signal: usize,
        layer: usize,
    ) -> Result<Self> {
        let hidden = config.hidden;
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        let (model_proj, layers) = ("per_layer_model_proj.weight", config.layers());
        Ok(Self {
            model_proj: tensors.matrix_of_stack(model_proj, layer, layers, [signal, hidden])?,
            inp_gate: tensors.matrix(&name("inp_gate"), signal, hidden)?,
            proj: tensors.matrix(&name("proj"), hidden, signal)?,
            post_norm: tensors.vector(&name("post_norm"), hidden)?,
            output_scale: tensors.vector(&name("layer_output_scale"), 1)?[0],
        })
    }

    /// The matrices, in the order of the forward pass.
    pub fn matrices(&self) -> [&Matrix; 3] {
        [&self.model_proj, &self.inp_gate, &self.proj]
    }
}

impl Layer {
    fn from_gguf(tensors: &mut Tensors, config: &Config, layer: usize) -> Result<Self> {
        let (hidden, feed_forward) = (config.hidden, config.feed_forward);
        let heads = config.kind(layer).heads;
        let (queries, keys, head_dim) = (heads.query_width(), heads.key_width(), heads.head_dim);
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        Ok(Self {
            attn_norm: tensors.vector(&name("attn_norm"), hidden)?,
            attn_q: tensors.matrix(&name("attn_q"), queries, hidden)?,
            attn_k: tensors.matrix(&name("attn_k"), keys, hidden)?,
            attn_v: tensors.matrix(&name("attn_v"), keys, hidden)?,
            attn_q_norm: tensors.vector(&name("attn_q_norm"), head_dim)?,
            attn_k_norm: tensors.vector(&name("attn_k_norm"), head_dim)?,
            attn_output: tensors.matrix(&name("attn_output"), hidden, queries)?,
            post_attention_norm: tensors.vector(&name("post_attention_norm"), hidden)?,
            ffn_norm: tensors.vector(&name("ffn_norm"), hidden)?,
            ffn_gate: tensors.matrix(&name("ffn_gate"), feed_forward, hidden)?,
            ffn_up: tensors.matrix(&name("ffn_up"), feed_forward, hidden)?,
            ffn_down: tensors.matrix(&name("ffn_down"), hidden, feed_forward)?,
            post_ffw_norm: tensors.vector(&name("post_ffw_norm"), hidden)?,
            signal: match config.version {
                Version::First => None,
                Version::Second { signal, .. } => {
                    Some(SignalLayer::from_gguf(tensors, config, signal, layer)?)
                }
            },
        })
    }

    /// The matrices, in the order of the forward pass.
    pub fn matrices(&self) -> impl Iterator<Item = &Matrix> {
        let of_signal = self.signal.iter().flat_map(SignalLayer::matrices);
        self.common_matrices().into_iter().chain(of_signal)
    }

    /// The matrices of queries, keys and values.
    pub fn attn_qkv(&self) -> [&Matrix; 3] {
        [&self.attn_q, &self.attn_k, &self.attn_v]
    }

    /// Those that both versions have, in the order of the forward pass.
    pub fn common_matrices(&self) -> [&Matrix; 7] {
        [
            &self.attn_q,
            &self.attn_k,
            &self.attn_v,
            &self.attn_output,
            &self.ffn_gate,
            &self.ffn_up,
            &self.ffn_down,
        ]
    }

    /// The matrices as a pass multiplies with them: panels of the gate and of what it gates in turn.
    pub fn streams(&self) -> impl Iterator<Item = Vec<&Matrix>> {
        let common = [
            vec![&self.attn_q],
            vec![&self.attn_k],
            vec![&self.attn_v],
            vec![&self.attn_output],
            vec![&self.ffn_gate, &self.ffn_up],
            vec![&self.ffn_down],
        ];
        let of_signal = self.signal.iter().flat_map(SignalLayer::matrices);
        common
            .into_iter()
            .chain(of_signal.map(|matrix| vec![matrix]))
    }
}

/// All weights of a model.
#[derive(Debug)]
pub struct Weights {
    /// A row a token: `vocabulary` × `hidden`.
    pub token_embd: Matrix,
    /// RMSNorm after the last layer: `hidden`.
    pub output_norm: Vec<f32>,
    /// The layers, first to last.
    pub layers: Vec<Layer>,
    /// RMSNorm of the signals of all layers: `signal`; none in the first version.
    pub signal_norm: Vec<f32>,
    /// What follows pooling.
    pub head: Head,
}

/// What vectors pass after pooling.
#[derive(Debug)]
pub enum Head {
    /// The two dense heads, `n` × `hidden` and `hidden` × `n`, or `None` in files without them.
    Dense(Option<[Matrix; 2]>),
    /// The matrix of EmbeddingGemma 2, `width` × `hidden`.
    Output(Matrix),
}

impl Head {
    /// Its matrices, in the order of the forward pass.
    pub fn matrices(&self) -> &[Matrix] {
        match self {
            Self::Dense(heads) => heads.as_ref().map_or(&[], |heads| heads),
            Self::Output(matrix) => std::slice::from_ref(matrix),
        }
    }
}

impl Weights {
    /// Finds every tensor of the architecture and checks type and shape.
    ///
    /// Values of norms are checked to be finite; those of matrices are not read, because that would
    /// bring the whole file into memory: see [`Matrix::verify`].
    ///
    /// # Errors
    /// If a tensor is missing, of an unsupported type or of another shape, if only one of the two
    /// heads is there, or if the file has a tensor that the forward pass would ignore.
    pub fn from_gguf(gguf: &Arc<Gguf>, config: &Config, family: &'static Family) -> Result<Self> {
        let mut tensors = Tensors::new(gguf, family);
        let weights = Self {
            token_embd: tensors.matrix("token_embd.weight", config.vocabulary, config.hidden)?,
            output_norm: tensors.vector("output_norm.weight", config.hidden)?,
            layers: (0..config.layers())
                .map(|layer| Layer::from_gguf(&mut tensors, config, layer))
                .collect::<Result<_>>()?,
            signal_norm: match config.version {
                Version::First => Vec::new(),
                Version::Second { signal, .. } => {
                    tensors.vector("per_layer_proj_norm.weight", signal)?
                }
            },
            head: match config.version {
                Version::First => Head::Dense(dense_heads(&mut tensors, config.hidden)?),
                Version::Second { width, .. } => {
                    Head::Output(tensors.matrix("output.weight", width, config.hidden)?)
                }
            },
        };
        tensors.check_all_used()?;
        Ok(weights)
    }

    /// The matrices that a pass multiplies with: all but the embedding table.
    pub fn product_matrices(&self) -> impl Iterator<Item = &Matrix> {
        let layers = self.layers.iter().flat_map(Layer::matrices);
        layers.chain(self.head.matrices())
    }
}

/// `dense_2` and `dense_3`: both or neither.
fn dense_heads(tensors: &mut Tensors, hidden: usize) -> Result<Option<[Matrix; 2]>> {
    let [first, second] = ["dense_2.weight", "dense_3.weight"];
    // The width between the heads is the file's own choice, within the limit of a hidden size.
    let inner = match (tensors.gguf().tensor(first), tensors.gguf().tensor(second)) {
        (None, None) => return Ok(None),
        (Some(tensor), _) => tensor.dims.get(1).copied().unwrap_or(1),
        (None, Some(tensor)) => tensor.dims[0],
    };
    match usize::try_from(inner) {
        Ok(inner) if inner.is_multiple_of(BLOCK) && inner <= MAX_INNER => {
            let first = tensors.matrix(first, inner, hidden)?;
            let second = tensors.matrix(second, hidden, inner)?;
            check_dense_keys(tensors, "dense_2", &first)?;
            check_dense_keys(tensors, "dense_3", &second)?;
            Ok(Some([first, second]))
        }
        _ => Err(tensors.error(
            first,
            format!("gives {inner} values, not a multiple of {BLOCK} up to {MAX_INNER}"),
            RECONVERT,
        )),
    }
}

/// The keys that repeat the shape of a head, where the file has them.
fn check_dense_keys(tensors: &Tensors, head: &str, matrix: &Matrix) -> Result<()> {
    for (end, expected) in [("in", matrix.columns()), ("out", matrix.rows())] {
        let key = format!("{}.{head}_feat_{end}", FAMILY.architecture);
        if let Some(value) = tensors.gguf().optional_u32(&key)?
            && value as usize != expected
        {
            let problem = format!("is {value}, but tensor {} has {expected}", matrix.name());
            return Err(tensors.gguf().file_error(key, problem, RECONVERT));
        }
    }
    Ok(())
}
