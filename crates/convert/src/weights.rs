//! Which tensor of a checkpoint becomes which of the file, and the copying of one.

use std::io::{self, Write};

use crate::checkpoint::{Checkpoint, Stored};
use crate::encode::{self, Encoding};
use crate::error::Result;
use crate::safetensors::Dtype;
use crate::{WeightType, gguf};

/// Values that are converted at a time: bounds the memory, changes no byte. A multiple of every
/// block.
const PIECE: u64 = 1 << 18;

/// A tensor to be written.
pub struct Tensor {
    pub name: String,
    /// Its dimensions, the fastest first.
    pub dims: Vec<u64>,
    pub encoding: Encoding,
    /// Its name in the checkpoint.
    from: String,
    stored: Stored,
    /// Values of the checkpoint's tensor before its first.
    skip: u64,
    /// Whether 1 is added to each value.
    add_one: bool,
}

/// The tensors of a file as they are found in the checkpoint, with the checks on the way.
pub struct Weights<'a> {
    checkpoint: &'a mut Checkpoint,
    /// What stands before the names of the transformer in the checkpoint.
    prefix: &'static str,
    /// Whether the tensors to come are those of the transformer.
    is_prefixed: bool,
    kind: WeightType,
    tensors: Vec<Tensor>,
}

impl<'a> Weights<'a> {
    /// The weights of a checkpoint in which one of `prefixes` stands before the name `first`.
    pub fn new(
        checkpoint: &'a mut Checkpoint,
        kind: WeightType,
        first: &str,
        prefixes: &[&'static str],
    ) -> Self {
        let mut prefixes = prefixes.iter();
        let prefix = prefixes.find(|prefix| checkpoint.contains(&format!("{prefix}{first}")));
        Self {
            prefix: prefix.copied().unwrap_or_default(),
            checkpoint,
            is_prefixed: true,
            kind,
            tensors: Vec::new(),
        }
    }

    /// The tensors to come are those of heads and modules, whose names have no prefix.
    pub fn leave_transformer(&mut self) {
        self.is_prefixed = false;
    }

    pub fn contains(&self, from: &str) -> bool {
        self.checkpoint.contains(&self.full(from))
    }

    fn full(&self, from: &str) -> String {
        match self.is_prefixed {
            true => format!("{}{from}", self.prefix),
            false => from.to_owned(),
        }
    }

    /// A matrix of a product: `rows` of `columns` values.
    pub fn matrix(&mut self, from: &str, to: &str, rows: u32, columns: u32) -> Result<()> {
        let encoding = match self.kind {
            WeightType::F32 => Encoding::F32,
            WeightType::F16 => Encoding::F16,
            WeightType::Q8_0 => Encoding::Q8_0,
            WeightType::Q4_0 => Encoding::Q4_0,
        };
        self.add(&self.full(from), to, &[rows, columns], encoding, 0, false)
    }

    /// The table of token embeddings. With Q4_0 it has Q8_0: a row of it is all that is known of a
    /// token.
    pub fn embeddings(&mut self, from: &str, to: &str, rows: u32, columns: u32) -> Result<()> {
        if self.kind == WeightType::Q4_0 {
            return self.add(
                &self.full(from),
                to,
                &[rows, columns],
                Encoding::Q8_0,
                0,
                false,
            );
        }
        self.matrix(from, to, rows, columns)
    }

    /// A table that is never quantized, whose first `skip` rows in the checkpoint are left out.
    pub fn table(
        &mut self,
        from: &str,
        to: &str,
        rows: u32,
        columns: u32,
        skip: u32,
    ) -> Result<()> {
        self.add(
            &self.full(from),
            to,
            &[rows, columns],
            Encoding::F32,
            skip,
            false,
        )
    }

    /// A matrix that is never quantized, and in half precision unless all are F32.
    pub fn projection(&mut self, from: &str, to: &str, rows: u32, columns: u32) -> Result<()> {
        let encoding = match self.kind {
            WeightType::F32 => Encoding::F32,
            _ => Encoding::F16,
        };
        self.add(&self.full(from), to, &[rows, columns], encoding, 0, false)
    }

    /// A bias, or the weight of a norm.
    pub fn vector(&mut self, from: &str, to: &str, length: u32) -> Result<()> {
        self.add(&self.full(from), to, &[length], Encoding::F32, 0, false)
    }

    /// The weight of a norm that the checkpoint stores less 1.
    pub fn shifted(&mut self, from: &str, to: &str, length: u32) -> Result<()> {
        self.add(&self.full(from), to, &[length], Encoding::F32, 0, true)
    }

    /// `shape` is the slowest first, as in the checkpoint, but without the rows left out.
    fn add(
        &mut self,
        from: &str,
        to: &str,
        shape: &[u32],
        encoding: Encoding,
        skip: u32,
        add_one: bool,
    ) -> Result<()> {
        let stored = self.checkpoint.take(from)?;
        let mut expected: Vec<u64> = shape.iter().map(|&dim| dim.into()).collect();
        let row: u64 = expected[1..].iter().product();
        let dims = expected.iter().rev().copied().collect();
        expected[0] += u64::from(skip);
        let found = &stored.entry;
        if found.shape != expected {
            let problem = format!(
                "has the shape {:?}, but config.json asks for {expected:?}",
                found.shape
            );
            let remedy = "give config.json and weights of one model";
            return Err(self.checkpoint.error(&stored, from, problem, remedy));
        }
        if let Dtype::Other(name) = found.dtype {
            let problem = format!("is stored as {name}");
            let remedy = "give the model's original checkpoint in F32, F16 or BF16";
            return Err(self.checkpoint.error(&stored, from, problem, remedy));
        }
        // As llama.cpp does for rows that are no whole number of blocks.
        let columns = *expected.last().unwrap_or(&1);
        let fits = columns.is_multiple_of(encoding.block().0);
        self.tensors.push(Tensor {
            name: to.to_owned(),
            dims,
            encoding: if fits { encoding } else { Encoding::F16 },
            from: from.to_owned(),
            stored,
            skip: u64::from(skip) * row,
            add_one,
        });
        Ok(())
    }

    /// The tensors, in the order of their names in the checkpoint, those of modules last.
    ///
    /// # Errors
    /// If the checkpoint has others that `is_useless`, given the name without the prefix, does not
    /// know.
    pub fn finish(mut self, is_useless: impl Fn(&str) -> bool) -> Result<Vec<Tensor>> {
        self.checkpoint
            .expect_rest(|name| is_useless(name.strip_prefix(self.prefix).unwrap_or(name)))?;
        let is_module = |tensor: &Tensor| self.checkpoint.is_of_module(&tensor.stored);
        self.tensors
            .sort_by_cached_key(|tensor| (is_module(tensor), tensor.from.clone()));
        Ok(self.tensors)
    }
}

/// Room for one piece, used again and again.
#[derive(Default)]
pub struct Scratch {
    read: Vec<u8>,
    values: Vec<f32>,
    encoded: Vec<u8>,
}

impl Tensor {
    fn values(&self) -> u64 {
        self.dims.iter().product()
    }

    /// Its bytes in the file, without padding.
    pub fn bytes(&self) -> u64 {
        let (values, bytes) = self.encoding.block();
        self.values() / values * bytes
    }

    /// Writes its data, with the padding after it. `on_piece` is called with the bytes of each
    /// piece, and may end it.
    ///
    /// # Errors
    /// In the outer result what is wrong with the checkpoint, or that the caller ended it; in the
    /// inner one the output's.
    pub fn write(
        &self,
        checkpoint: &Checkpoint,
        out: &mut impl Write,
        scratch: &mut Scratch,
        mut on_piece: impl FnMut(u64) -> Result<()>,
    ) -> Result<io::Result<()>> {
        let dtype = self.stored.entry.dtype;
        let Some(size) = encode::value_bytes(dtype) else {
            return Ok(Ok(()));
        };
        let mut first = 0;
        while first < self.values() {
            let count = PIECE.min(self.values() - first);
            scratch.read.resize((count * size) as usize, 0);
            let start = self.stored.entry.start + (self.skip + first) * size;
            checkpoint.read(&self.stored, start, &mut scratch.read)?;
            scratch.values.clear();
            encode::decode(dtype, &scratch.read, &mut scratch.values);
            if self.add_one {
                scratch.values.iter_mut().for_each(|value| *value += 1.0);
            }
            scratch.encoded.clear();
            let encoded = self.encoding.encode(&scratch.values, &mut scratch.encoded);
            encoded.map_err(|problem| {
                let remedy = "fetch the file again, or write this model with weights in F32";
                checkpoint.error(&self.stored, &self.from, problem, remedy)
            })?;
            if let Err(error) = out.write_all(&scratch.encoded) {
                return Ok(Err(error));
            }
            on_piece(scratch.encoded.len() as u64)?;
            first += count;
        }
        Ok(gguf::write_padding(out, self.bytes()))
    }
}
