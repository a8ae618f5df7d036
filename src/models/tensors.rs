//! The tensors of a file, each checked for its type and shape.

use std::sync::Arc;

use super::Family;
use crate::engine::{Matrix, supported_types, weight_type};
use crate::gguf::{Gguf, TensorInfo, TensorType};
use crate::{Error, Result};

pub(super) const RECONVERT: &str = "fetch the file again, or convert it again from its checkpoint";

/// The tensors of a file, with a record of those that the model uses.
pub(super) struct Tensors<'a> {
    gguf: &'a Arc<Gguf>,
    family: &'static Family,
    used: Vec<&'a str>,
}

impl<'a> Tensors<'a> {
    /// The tensors of a file, none used yet.
    pub fn new(gguf: &'a Arc<Gguf>, family: &'static Family) -> Self {
        Self {
            gguf,
            family,
            used: Vec::new(),
        }
    }

    /// The file.
    pub fn gguf(&self) -> &'a Gguf {
        self.gguf
    }

    fn find(&mut self, name: &str) -> Result<&'a TensorInfo> {
        let tensor = self
            .gguf
            .tensor(name)
            .ok_or_else(|| self.error(name, "is missing", RECONVERT))?;
        self.used.push(&tensor.name);
        Ok(tensor)
    }

    /// A matrix of `rows` rows and `columns` columns, of a type that products support.
    pub fn matrix(&mut self, name: &str, rows: usize, columns: usize) -> Result<Matrix> {
        let tensor = self.find(name)?;
        let Some(weight_type) = weight_type(tensor.kind) else {
            return Err(self.unsupported(tensor, &supported_types()));
        };
        self.check_shape(tensor, &[columns, rows])?;
        let (gguf, range) = (Arc::clone(self.gguf), tensor.range.clone());
        Ok(Matrix::new(gguf, name, weight_type, [rows, columns], range))
    }

    /// The only row of a matrix of any type that products support, as finite floats; or a vector.
    pub fn row(&mut self, name: &str, length: usize) -> Result<Vec<f32>> {
        let one_dimension = self.find(name)?.dims.len() == 1;
        if one_dimension {
            return self.vector(name, length);
        }
        let matrix = self.matrix(name, 1, length)?;
        matrix.verify()?;
        let mut values = vec![0.0; length];
        matrix.dequantize_row(0, &mut values);
        flush_subnormals(&mut values);
        Ok(values)
    }

    /// Matrix number `index` of `count` of the same shape, rows × columns, one below the other in a tensor,
    /// of a type that products support.
    pub fn matrix_of_stack(
        &mut self,
        name: &str,
        index: usize,
        count: usize,
        [rows, columns]: [usize; 2],
    ) -> Result<Matrix> {
        let stack = self.matrix(name, count * rows, columns)?;
        let bytes = rows * stack.row_bytes();
        let start = stack.range().start + index * bytes;
        let (gguf, range) = (Arc::clone(self.gguf), start..start + bytes);
        let name = format!("{name}, matrix {index}");
        Ok(Matrix::new(
            gguf,
            &name,
            stack.weight_type(),
            [rows, columns],
            range,
        ))
    }

    /// A matrix that holds `N` of `rows` rows each, one below the other.
    pub fn stacked<const N: usize>(
        &mut self,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> Result<[Matrix; N]> {
        let part = |index| self.matrix_of_stack(name, index, N, [rows, columns]);
        let parts: Vec<Matrix> = (0..N).map(part).collect::<Result<_>>()?;
        Ok(parts
            .try_into()
            .unwrap_or_else(|_| unreachable!("as many as there are indices")))
    }

    /// Lets the file have a tensor that the model does not need.
    pub fn leave_out(&mut self, name: &str) {
        let tensor = self.gguf.tensor(name);
        self.used.extend(tensor.map(|tensor| tensor.name.as_str()));
    }

    /// A vector of finite floats; those below 2⁻¹²⁶ in magnitude become 0.
    pub fn vector(&mut self, name: &str, length: usize) -> Result<Vec<f32>> {
        let tensor = self.find(name)?;
        self.check_shape(tensor, &[length])?;
        let float = match tensor.kind {
            TensorType::F32 | TensorType::F16 | TensorType::Bf16 => weight_type(tensor.kind),
            _ => None,
        };
        let Some(float) = float else {
            return Err(self.unsupported(tensor, "F32, F16 and BF16"));
        };
        let mut values = vec![0.0; length];
        float.dequantize(self.gguf.bytes(tensor.range.clone()), &mut values);
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            let problem = format!("value {index} is {}", values[index]);
            return Err(self.error(name, problem, RECONVERT));
        }
        flush_subnormals(&mut values);
        Ok(values)
    }

    /// Refuses a file with a tensor that the model does not use: ignoring it would give other
    /// vectors than the file's author had.
    pub fn check_all_used(mut self) -> Result<()> {
        self.used.sort_unstable();
        let unused = |tensor: &&TensorInfo| self.used.binary_search(&tensor.name.as_str()).is_err();
        match self.gguf.tensors().iter().find(unused) {
            None => Ok(()),
            Some(tensor) => Err(self.error(
                &tensor.name,
                "is not part of the model that the hyperparameters describe",
                format!(
                    "use a file of plain {}: leaving the tensor out would give other vectors",
                    self.family.name
                ),
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

    /// An error at a tensor.
    pub fn error(
        &self,
        name: &str,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Error {
        self.gguf.file_error(field(name), problem, remedy)
    }
}

/// Replaces subnormal values by 0. They change no vector that a norm makes of other values, but on
/// processors that handle them in microcode, such as Intel's, an operation on one takes a hundred
/// times as long, and a norm's weights make subnormals of everything that follows.
fn flush_subnormals(values: &mut [f32]) {
    for value in values.iter_mut().filter(|value| value.is_subnormal()) {
        *value = 0.0;
    }
}

/// How errors name a tensor.
fn field(name: &str) -> String {
    format!("tensor {name}")
}
