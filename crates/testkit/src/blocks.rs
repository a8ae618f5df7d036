//! Random blocks of the weight types that are no floats.

use crate::gguf_writer::{Encoding, File};
use crate::random::Random;

/// A type whose blocks can be random bytes, but for their numbers in f16.
#[derive(Clone, Copy, Debug)]
pub struct Blocks {
    /// Its name in ggml.
    pub name: &'static str,
    /// Its number in ggml.
    pub number: u32,
    /// Values of a block.
    pub values: usize,
    bytes: usize,
    /// Where the scale is.
    scale: usize,
    /// The scale with which values are at most 1, about.
    unit: f32,
    /// The minimum after the scale in such units, 0 where there is none.
    minimum: f32,
}

const fn blocks(name: &'static str, number: u32, bytes: usize, unit: f32, minimum: f32) -> Blocks {
    let is_of_256 = bytes > 34;
    Blocks {
        name,
        number,
        values: if is_of_256 { 256 } else { 32 },
        bytes,
        scale: if bytes == 210 { 208 } else { 0 },
        unit,
        minimum,
    }
}

/// All of them but Q8_0.
pub const TYPES: [Blocks; 8] = [
    blocks("Q4_0", 2, 18, 1.0 / 8.0, 0.0),
    blocks("Q4_1", 3, 20, 2.0 / 15.0, -1.0),
    blocks("Q5_0", 6, 22, 1.0 / 16.0, 0.0),
    blocks("Q5_1", 7, 24, 2.0 / 31.0, -1.0),
    blocks("Q4_K", 12, 144, 1.0 / 472.0, 7.5 / 472.0),
    blocks("Q5_K", 13, 176, 1.0 / 976.0, 15.5 / 976.0),
    blocks("Q6_K", 14, 210, 1.0 / 4064.0, 0.0),
    blocks("IQ4_NL", 20, 18, 1.0 / 127.0, 0.0),
];

impl Blocks {
    /// Blocks for a number of values, none of them larger than `bound` by much.
    ///
    /// # Panics
    /// If the values are no whole blocks.
    pub fn random(&self, values: usize, bound: f32, random: &mut Random) -> Vec<u8> {
        assert!(values.is_multiple_of(self.values), "{values} values");
        let mut out = Vec::with_capacity(values / self.values * self.bytes);
        for _ in 0..values / self.values {
            let start = out.len();
            out.extend((0..self.bytes).map(|_| random.bits() as u8));
            let numbers = [self.unit * bound, self.minimum * bound];
            let numbers = &numbers[..if self.minimum == 0.0 { 1 } else { 2 }];
            let numbers = Encoding::F16.encode(numbers);
            out[start + self.scale..][..numbers.len()].copy_from_slice(&numbers);
        }
        out
    }

    /// Gives the matrices of a file random blocks in place of their values in f32, but for those
    /// that files never quantize, or not to this type for the length of their rows.
    pub fn fill_matrices(&self, file: &mut File) {
        let mut random = Random(self.number.into());
        for tensor in &mut file.tensors {
            let kept = ["position_embd.weight", "token_types.weight"];
            let whole = tensor.dims[0].is_multiple_of(self.values as u64);
            if tensor.dims.len() != 2 || kept.contains(&&*tensor.name) || !whole {
                continue;
            }
            assert_eq!(tensor.kind, Encoding::F32.number(), "{}", tensor.name);
            let (values, _) = tensor.data.as_chunks();
            let values = values.iter().map(|&bytes| f32::from_le_bytes(bytes).abs());
            let bound = values.clone().fold(0.0, f32::max);
            tensor.data = self.random(values.len(), bound, &mut random);
            tensor.kind = self.number;
        }
    }
}
