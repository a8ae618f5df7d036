//! The weights: matrices as views into the map, small vectors as `f32`.

use std::ops::Range;

use half::{bf16, f16};

use super::Config;
use crate::gguf::{Gguf, TensorInfo, TensorType};
use crate::{Error, Result};

const RECONVERT: &str = "fetch the file again, or convert it again from its checkpoint";

/// How a matrix that the engine multiplies with is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatrixType {
    /// Blocks of 34 bytes: an f16 scale, then 32 int8.
    Q8_0,
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an `f32`.
    Bf16,
}

impl MatrixType {
    /// The type as the file's tensors have it.
    pub fn tensor_type(self) -> TensorType {
        match self {
            Self::Q8_0 => TensorType::Q8_0,
            Self::F32 => TensorType::F32,
            Self::F16 => TensorType::F16,
            Self::Bf16 => TensorType::Bf16,
        }
    }
}

/// A matrix in the file, row after row without padding, little-endian.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matrix {
    /// The tensor's name.
    pub name: String,
    /// How its values are stored.
    pub kind: MatrixType,
    /// Rows: the values that a product gives.
    pub rows: usize,
    /// Columns: the values that a product takes; a multiple of 32.
    pub columns: usize,
    /// Where its bytes stand in the file.
    pub range: Range<usize>,
}

impl Matrix {
    /// The matrix's bytes: [`rows`](Self::rows) times [`row_bytes`](Self::row_bytes).
    ///
    /// `gguf` must be the file that the matrix came from.
    pub fn data<'a>(&self, gguf: &'a Gguf) -> &'a [u8] {
        gguf.bytes(self.range.clone())
    }

    /// Bytes of a row.
    pub fn row_bytes(&self) -> usize {
        self.range.len() / self.rows
    }

    /// Checks that every value is finite (of Q8_0: every scale), which reads the whole matrix.
    fn verify(&self, gguf: &Gguf) -> Result<()> {
        for (row, bytes) in self.data(gguf).chunks_exact(self.row_bytes()).enumerate() {
            let (finite, what) = match self.kind {
                MatrixType::Q8_0 => {
                    let (blocks, _) = bytes.as_chunks::<34>();
                    let scales = blocks.iter().map(|block| [block[0], block[1]]);
                    (all_finite_f16(scales), "scale")
                }
                MatrixType::F32 => (all_finite_f32(bytes.as_chunks().0), "value"),
                MatrixType::F16 => (all_finite_f16(bytes.as_chunks().0.iter().copied()), "value"),
                MatrixType::Bf16 => (all_finite_bf16(bytes.as_chunks().0), "value"),
            };
            if !finite {
                let problem = format!("row {row} has a {what} that is infinite or not a number");
                return Err(gguf.file_error(field(&self.name), problem, RECONVERT));
            }
        }
        Ok(())
    }
}

fn all_finite_f32(values: &[[u8; 4]]) -> bool {
    values
        .iter()
        .all(|&bytes| f32::from_le_bytes(bytes).is_finite())
}

fn all_finite_f16(mut values: impl Iterator<Item = [u8; 2]>) -> bool {
    values.all(|bytes| f16::from_le_bytes(bytes).is_finite())
}

fn all_finite_bf16(values: &[[u8; 2]]) -> bool {
    values
        .iter()
        .all(|&bytes| bf16::from_le_bytes(bytes).is_finite())
}

/// The weights of a layer; shapes are rows × columns.
#[derive(Clone, Debug, PartialEq)]
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
}

impl Layer {
    fn from_gguf(tensors: &mut Tensors, config: &Config, layer: usize) -> Result<Self> {
        let Config {
            hidden,
            feed_forward,
            head_dim,
            ..
        } = *config;
        let queries = config.heads * head_dim;
        let keys = config.kv_heads * head_dim;
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
        })
    }

    /// The seven matrices, in the order of the forward pass.
    pub fn matrices(&self) -> [&Matrix; 7] {
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
}

/// All weights of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// A row a token: `vocabulary` × `hidden`.
    pub token_embd: Matrix,
    /// RMSNorm after the last layer: `hidden`.
    pub output_norm: Vec<f32>,
    /// The layers, first to last.
    pub layers: Vec<Layer>,
    /// The two dense heads, `n` × `hidden` and `hidden` × `n`, or `None` in files without them.
    pub dense: Option<[Matrix; 2]>,
}

impl Weights {
    /// Finds every tensor of the architecture and checks type and shape.
    ///
    /// Values of norms are checked to be finite; those of matrices are not read, because that would
    /// bring the whole file into memory: see [`verify`](Self::verify).
    ///
    /// # Errors
    /// If a tensor is missing, of an unsupported type or of another shape, if only one of the two
    /// heads is there, or if the file has a tensor that the forward pass would ignore.
    pub fn from_gguf(gguf: &Gguf, config: &Config) -> Result<Self> {
        let mut tensors = Tensors {
            gguf,
            used: Vec::new(),
        };
        let weights = Self {
            token_embd: tensors.matrix("token_embd.weight", config.vocabulary, config.hidden)?,
            output_norm: tensors.vector("output_norm.weight", config.hidden)?,
            layers: (0..config.layers)
                .map(|layer| Layer::from_gguf(&mut tensors, config, layer))
                .collect::<Result<_>>()?,
            dense: tensors.dense_heads(config.hidden)?,
        };
        tensors.check_all_used()?;
        Ok(weights)
    }

    /// Every matrix, the embedding table and the heads included.
    pub fn matrices(&self) -> impl Iterator<Item = &Matrix> {
        std::iter::once(&self.token_embd)
            .chain(self.layers.iter().flat_map(Layer::matrices))
            .chain(self.dense.iter().flatten())
    }

    /// Checks that no matrix holds an infinite value or scale, or one that is not a number.
    ///
    /// Reads the whole file.
    ///
    /// # Errors
    /// Names the first tensor and row that fail.
    pub fn verify(&self, gguf: &Gguf) -> Result<()> {
        self.matrices().try_for_each(|matrix| matrix.verify(gguf))
    }
}

/// A file's tensors, with a note of those asked for.
struct Tensors<'a> {
    gguf: &'a Gguf,
    used: Vec<&'a str>,
}

impl<'a> Tensors<'a> {
    fn find(&mut self, name: &str) -> Result<&'a TensorInfo> {
        let tensor = self
            .gguf
            .tensor(name)
            .ok_or_else(|| self.error(name, "is missing", RECONVERT))?;
        self.used.push(&tensor.name);
        Ok(tensor)
    }

    fn matrix(&mut self, name: &str, rows: usize, columns: usize) -> Result<Matrix> {
        let tensor = self.find(name)?;
        let kind = match tensor.kind {
            TensorType::Q8_0 => MatrixType::Q8_0,
            TensorType::F32 => MatrixType::F32,
            TensorType::F16 => MatrixType::F16,
            TensorType::Bf16 => MatrixType::Bf16,
            TensorType::Other(_) => return Err(self.unsupported(tensor, "Q8_0, F32, F16 and BF16")),
        };
        self.check_shape(tensor, &[columns, rows])?;
        Ok(Matrix {
            name: name.to_owned(),
            kind,
            rows,
            columns,
            range: tensor.range.clone(),
        })
    }

    fn vector(&mut self, name: &str, length: usize) -> Result<Vec<f32>> {
        let tensor = self.find(name)?;
        self.check_shape(tensor, &[length])?;
        let bytes = self.gguf.bytes(tensor.range.clone());
        let values: Vec<f32> = match tensor.kind {
            TensorType::F32 => bytes
                .as_chunks()
                .0
                .iter()
                .map(|&bytes| f32::from_le_bytes(bytes))
                .collect(),
            TensorType::F16 => bytes
                .as_chunks()
                .0
                .iter()
                .map(|&bytes| f16::from_le_bytes(bytes).into())
                .collect(),
            TensorType::Bf16 => bytes
                .as_chunks()
                .0
                .iter()
                .map(|&bytes| bf16::from_le_bytes(bytes).into())
                .collect(),
            TensorType::Q8_0 | TensorType::Other(_) => {
                return Err(self.unsupported(tensor, "F32, F16 and BF16"));
            }
        };
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            let problem = format!("value {index} is {}", values[index]);
            return Err(self.error(name, problem, RECONVERT));
        }
        Ok(values)
    }

    /// `dense_2` and `dense_3`: both or neither.
    fn dense_heads(&mut self, hidden: usize) -> Result<Option<[Matrix; 2]>> {
        let [first, second] = ["dense_2.weight", "dense_3.weight"];
        // The width between the heads is the file's own choice, within the limit of a hidden size.
        let inner = match (self.gguf.tensor(first), self.gguf.tensor(second)) {
            (None, None) => return Ok(None),
            (Some(tensor), _) => tensor.dims.get(1).copied().unwrap_or(1),
            (None, Some(tensor)) => tensor.dims[0],
        };
        match usize::try_from(inner) {
            Ok(inner) if inner.is_multiple_of(32) && inner <= 1 << 18 => {
                let first = self.matrix(first, inner, hidden)?;
                let second = self.matrix(second, hidden, inner)?;
                self.check_dense_keys("dense_2", &first)?;
                self.check_dense_keys("dense_3", &second)?;
                Ok(Some([first, second]))
            }
            _ => Err(self.error(
                first,
                format!(
                    "gives {inner} values, not a multiple of 32 up to {}",
                    1 << 18
                ),
                RECONVERT,
            )),
        }
    }

    /// The keys that repeat the shape of a head, where the file has them.
    fn check_dense_keys(&self, head: &str, matrix: &Matrix) -> Result<()> {
        for (end, expected) in [("in", matrix.columns), ("out", matrix.rows)] {
            let key = format!("gemma-embedding.{head}_feat_{end}");
            if let Some(value) = self.gguf.optional_u32(&key)?
                && value as usize != expected
            {
                let problem = format!("is {value}, but tensor {} has {expected}", matrix.name);
                return Err(self.gguf.file_error(key, problem, RECONVERT));
            }
        }
        Ok(())
    }

    /// A tensor that the forward pass ignores means other vectors than the file's maker had.
    fn check_all_used(mut self) -> Result<()> {
        self.used.sort_unstable();
        let unused = |tensor: &&TensorInfo| self.used.binary_search(&tensor.name.as_str()).is_err();
        match self.gguf.tensors().iter().find(unused) {
            None => Ok(()),
            Some(tensor) => Err(self.error(
                &tensor.name,
                "is not part of the model that the hyperparameters describe",
                "use a file of plain EmbeddingGemma: leaving the tensor out would give other vectors",
            )),
        }
    }

    fn check_shape(&self, tensor: &TensorInfo, expected: &[usize]) -> Result<()> {
        let same = tensor.dims.len() == expected.len()
            && tensor
                .dims
                .iter()
                .zip(expected)
                .all(|(&dim, &expected)| dim == expected as u64);
        if same {
            return Ok(());
        }
        let problem = format!(
            "has the shape {:?}, not {expected:?} (fastest first)",
            tensor.dims
        );
        Err(self.error(&tensor.name, problem, RECONVERT))
    }

    fn unsupported(&self, tensor: &TensorInfo, supported: &str) -> Error {
        let problem = format!("is of type {}; supported are {supported}", tensor.kind);
        self.error(&tensor.name, problem, "use the Q8_0 file of this model")
    }

    fn error(&self, name: &str, problem: impl Into<String>, remedy: &str) -> Error {
        self.gguf.file_error(field(name), problem, remedy)
    }
}

/// How errors name a tensor.
fn field(name: &str) -> String {
    format!("tensor {name}")
}
