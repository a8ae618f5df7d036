//! Calls of the kernels on fixed inputs, which the benches time and the counters count.

mod attention;
mod counted;
pub mod counts;
mod gemm;
pub mod limits;
mod rows;
mod search;
mod tokenize;
mod weights;

pub use attention::{
    attention_scores, attention_weighted_sum, head_bias, head_norm_rope, head_rope, pack_keys,
    pack_values, softmax,
};
pub use counted::{COUNTED, Counted, Counter};
pub use gemm::{SHAPES, Shape, TOKENS, gemm, pack_gemm, pack_panel};
use lanewise_kernels::{ActivationBlock, SoftmaxBlock};
pub use rows::{
    accumulate, activate_multiply_quantize, add, add_layer_norm, add_rms_norm, bias_gelu_quantize,
    dequantize_q8_0, layer_norm, layer_norm_quantize, quantize, rms_norm, rms_norm_quantize,
    unpack,
};
pub use search::{
    at_least, at_most, dot_f32, dot_i8, gemm_i8, hamming, hamming_many, hamming_planes,
};
pub use tokenize::{tiny_tokenizer, tokenize};
pub use weights::Temperature;

/// The amount of work of one call, for a throughput to compare with the machine's limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// Multiplications, each with its addition.
    MultiplyAdds(u64),
    /// Bytes read and written.
    Bytes(u64),
}

/// The description of a kernel call; [`prepare`](Work::prepare) makes its inputs.
pub struct Work {
    /// `operation/types/shape`.
    pub name: String,
    /// Amount of work of one call.
    pub amount: Amount,
    prepare: Box<dyn FnOnce() -> Prepared>,
}

impl Work {
    fn new(name: String, amount: Amount, prepare: impl FnOnce() -> Prepared + 'static) -> Self {
        let prepare = Box::new(prepare);
        Work {
            name,
            amount,
            prepare,
        }
    }

    /// Makes the inputs.
    pub fn prepare(self) -> Prepared {
        (self.prepare)()
    }
}

/// A call with its inputs and its result.
pub struct Prepared(Box<dyn Call>);

impl Prepared {
    fn new<R: Bits + 'static>(result: R, body: impl FnMut(&mut R) + 'static) -> Self {
        Prepared(Box::new(WithResult { result, body }))
    }

    /// Calls the kernel once.
    #[inline]
    pub fn run(&mut self) {
        self.0.run();
    }

    /// The bits of the last call's result. Buffers whose layout depends on the instruction set are
    /// multiplied first.
    pub fn bits(&self) -> Vec<u32> {
        self.0.bits()
    }
}

/// No work, to measure what a call through [`Prepared::run`] takes by itself.
pub fn nothing() -> Work {
    Work::new(String::new(), Amount::Bytes(0), || {
        Prepared::new(Vec::<u32>::new(), |_| ())
    })
}

trait Call {
    fn run(&mut self);
    fn bits(&self) -> Vec<u32>;
}

struct WithResult<R, F> {
    result: R,
    body: F,
}

impl<R: Bits, F: FnMut(&mut R)> Call for WithResult<R, F> {
    fn run(&mut self) {
        (self.body)(&mut self.result);
    }

    fn bits(&self) -> Vec<u32> {
        self.result.bits()
    }
}

/// Bits of results, for comparison.
trait Bits {
    fn bits(&self) -> Vec<u32>;
}

impl Bits for Vec<f32> {
    fn bits(&self) -> Vec<u32> {
        self.iter().map(|value| value.to_bits()).collect()
    }
}

impl Bits for Vec<u32> {
    fn bits(&self) -> Vec<u32> {
        self.clone()
    }
}

impl Bits for Vec<i32> {
    fn bits(&self) -> Vec<u32> {
        self.iter().map(|&value| value as u32).collect()
    }
}

impl Bits for Vec<u8> {
    fn bits(&self) -> Vec<u32> {
        self.iter().map(|&value| value.into()).collect()
    }
}

impl Bits for Vec<u16> {
    fn bits(&self) -> Vec<u32> {
        self.iter().map(|&value| value.into()).collect()
    }
}

impl Bits for Vec<i16> {
    fn bits(&self) -> Vec<u32> {
        self.iter().map(|&value| value as u32).collect()
    }
}

impl Bits for Vec<SoftmaxBlock> {
    fn bits(&self) -> Vec<u32> {
        let block = |block: &SoftmaxBlock| {
            let values = block.values.map(u32::from);
            std::iter::once(block.scale.to_bits()).chain(values)
        };
        self.iter().flat_map(block).collect()
    }
}

impl Bits for Vec<ActivationBlock> {
    fn bits(&self) -> Vec<u32> {
        let block = |block: &ActivationBlock| {
            let values = block.values.map(|value| value as u32);
            [block.scale.factor().to_bits(), block.correction as u32]
                .into_iter()
                .chain(values)
        };
        self.iter().flat_map(block).collect()
    }
}

impl<A: Bits, B: Bits> Bits for (A, B) {
    fn bits(&self) -> Vec<u32> {
        [self.0.bits(), self.1.bits()].concat()
    }
}

#[cfg(test)]
mod tests {
    use lanewise_kernels::{Isa, Kernels};

    use super::*;

    #[test]
    fn counted_work_gives_the_same_bits_on_each_instruction_set() {
        let scalar = Kernels::for_isa(Isa::Scalar).unwrap();
        for kernels in Isa::ALL.into_iter().filter_map(Kernels::for_isa) {
            println!("tier run: {}", kernels.isa());
            for counted in COUNTED {
                let [actual, expected] = [kernels, scalar].map(|kernels| {
                    let mut work = counted.work(kernels, 3).prepare();
                    work.run();
                    work.bits()
                });
                assert!(actual == expected, "{} on {}", counted.name, kernels.isa());
            }
        }
    }
}
