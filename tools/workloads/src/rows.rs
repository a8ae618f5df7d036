//! Row operations: norms, quantization, GELU, and rows of the embedding table.

use lanewise_kernels::{
    Activation, ActivationBlock, BLOCK, BlockFormat, Isa, Kernels, Pieces, Q8_0_BYTES,
};
use lanewise_testkit::random::Random;

use super::weights::{Temperature, Weights};
use super::{Amount, Prepared, Work};

const EPS: f32 = 1e-6;

/// The scalar kernels, which prepare the inputs of every instruction set.
pub(super) fn scalar() -> Kernels {
    Kernels::for_isa(Isa::Scalar).expect("the scalar kernels run anywhere")
}

/// Bytes of `count` values of a type.
fn bytes<T>(count: usize) -> u64 {
    (count * size_of::<T>()) as u64
}

/// Norm weights of magnitude one, so that repeated norms in place keep the magnitude of a row.
fn unit_weights(width: usize) -> Vec<f32> {
    let sign = |index: usize| if index.is_multiple_of(3) { -1.0 } else { 1.0 };
    (0..width).map(sign).collect()
}

/// The residual addition, from a plain row.
pub fn add_rms_norm(kernels: Kernels, width: usize) -> Work {
    Work::new(
        format!("add_rms_norm/f32/{width}"),
        Amount::Bytes(bytes::<f32>(4 * width)),
        move || {
            let y = Random(1).floats(width, 2.0);
            let weight = unit_weights(width);
            Prepared::new(Random(2).floats(width, 2.0), move |x| {
                let pieces = Pieces::new(&y, BLOCK, width / BLOCK);
                kernels.add_rms_norm(x, pieces, None, &weight, EPS);
            })
        },
    )
}

/// The residual addition with LayerNorm, from a plain row and with a base.
pub fn add_layer_norm(kernels: Kernels, width: usize) -> Work {
    Work::new(
        format!("add_layer_norm/f32/{width}"),
        Amount::Bytes(bytes::<f32>(6 * width)),
        move || {
            let (y, base) = (Random(1).floats(width, 2.0), Random(3).floats(width, 1.0));
            let (weight, bias) = (unit_weights(width), Random(4).floats(width, 1.0));
            Prepared::new(Random(2).floats(width, 2.0), move |x| {
                let pieces = Pieces::new(&y, BLOCK, width / BLOCK);
                kernels.add_layer_norm(x, pieces, Some(&base), [&weight, &bias], EPS);
            })
        },
    )
}

/// RMSNorm before a matrix product.
pub fn rms_norm_quantize(kernels: Kernels, width: usize) -> Work {
    norm_quantize("rms_norm_quantize", width, move |x, weight, out| {
        kernels.rms_norm_quantize(x, weight, EPS, out, 1)
    })
}

/// LayerNorm before a matrix product.
pub fn layer_norm_quantize(kernels: Kernels, width: usize) -> Work {
    norm_quantize("layer_norm_quantize", width, move |x, weight, out| {
        kernels.layer_norm_quantize(x, weight, EPS, out, 1)
    })
}

fn norm_quantize(
    name: &str,
    width: usize,
    run: impl Fn(&[f32], &[f32], &mut [ActivationBlock]) + Send + 'static,
) -> Work {
    Work::new(
        format!("{name}/f32xf32-i8/{width}"),
        Amount::Bytes(bytes::<f32>(2 * width) + bytes::<ActivationBlock>(width / BLOCK)),
        move || {
            let x = Random(1).floats(width, 2.0);
            let weight = unit_weights(width);
            let blocks = vec![ActivationBlock::default(); width / BLOCK];
            Prepared::new(blocks, move |out| run(&x, &weight, out))
        },
    )
}

/// The last RMSNorm, in place.
pub fn rms_norm(kernels: Kernels, width: usize) -> Work {
    norm("rms_norm", width, move |x, weight| {
        kernels.rms_norm(x, weight, EPS)
    })
}

/// The last LayerNorm, in place.
pub fn layer_norm(kernels: Kernels, width: usize) -> Work {
    norm("layer_norm", width, move |x, weight| {
        kernels.layer_norm(x, weight, EPS)
    })
}

fn norm(name: &str, width: usize, run: impl Fn(&mut [f32], &[f32]) + Send + 'static) -> Work {
    Work::new(
        format!("{name}/f32/{width}"),
        Amount::Bytes(bytes::<f32>(3 * width)),
        move || {
            let weight = unit_weights(width);
            Prepared::new(Random(1).floats(width, 2.0), move |x| run(x, &weight))
        },
    )
}

/// The residual addition without a norm, from a plain row and with a base.
pub fn add(kernels: Kernels, width: usize) -> Work {
    Work::new(
        format!("add/f32/{width}"),
        Amount::Bytes(bytes::<f32>(4 * width)),
        move || {
            let (y, base) = (Random(1).floats(width, 2.0), Random(3).floats(width, 1.0));
            Prepared::new(vec![0.0; width], move |x| {
                kernels.add(x, Pieces::new(&y, BLOCK, width / BLOCK), Some(&base))
            })
        },
    )
}

/// Bias, GELU and quantization, for [`BLOCK`] values a token.
pub fn bias_gelu_quantize(kernels: Kernels, tokens: usize) -> Work {
    Work::new(
        format!("bias_gelu_quantize/f32-i8/{tokens}x{BLOCK}"),
        Amount::Bytes(bytes::<f32>(tokens * BLOCK) + bytes::<ActivationBlock>(tokens)),
        move || {
            let x = Random(1).floats(tokens * BLOCK, 4.0);
            let bias = Random(2).floats(BLOCK, 1.0);
            Prepared::new(vec![ActivationBlock::default(); tokens], move |out| {
                kernels.bias_gelu_quantize(&x, &bias, out)
            })
        },
    )
}

/// Activation of the gate, product and quantization, for [`BLOCK`] values a token.
pub fn activate_multiply_quantize(kernels: Kernels, activation: Activation, tokens: usize) -> Work {
    let name = match activation {
        Activation::Gelu => "gelu",
        Activation::GeluTanh => "gelu_tanh",
        Activation::Silu => "silu",
    };
    Work::new(
        format!("{name}_multiply_quantize/f32xf32-i8/{tokens}x{BLOCK}"),
        Amount::Bytes(bytes::<f32>(2 * tokens * BLOCK) + bytes::<ActivationBlock>(tokens)),
        move || {
            let gate = Random(1).floats(tokens * BLOCK, 4.0);
            let up = Random(2).floats(tokens * BLOCK, 4.0);
            Prepared::new(vec![ActivationBlock::default(); tokens], move |out| {
                kernels.activate_multiply_quantize(activation, &gate, &up, out)
            })
        },
    )
}

/// Quantization of activations to INT8 with one or two terms.
pub fn quantize(kernels: Kernels, width: usize, terms: usize) -> Work {
    Work::new(
        format!("quantize/f32-{}/{width}", ["i8", "2xi8"][terms - 1]),
        Amount::Bytes(bytes::<f32>(width) + bytes::<ActivationBlock>(width / BLOCK * terms)),
        move || {
            let x = Random(1).floats(width, 2.0);
            let blocks = width / BLOCK * terms;
            Prepared::new(vec![ActivationBlock::default(); blocks], move |out| {
                kernels.quantize(&x, terms, out, terms)
            })
        },
    )
}

/// A row of the embedding table.
pub fn dequantize_q8_0(kernels: Kernels, width: usize, temperature: Temperature) -> Work {
    Work::new(
        format!("dequantize_q8_0/q8_0-f32/{width}"),
        Amount::Bytes((width / BLOCK * Q8_0_BYTES) as u64 + bytes::<f32>(width)),
        move || {
            let mut weights = Weights::new(1, width, temperature);
            Prepared::new(vec![0.0; width], move |out| {
                kernels.dequantize_q8_0(weights.next(), 27.7, out)
            })
        },
    )
}

/// A row of blocks of a few bits, made Q8_0 for a product.
pub fn unpack(kernels: Kernels, format: BlockFormat, width: usize) -> Work {
    let blocks = width.div_ceil(format.values());
    let row_bytes = blocks * format.bytes();
    let q8_bytes = blocks * format.values() / BLOCK * Q8_0_BYTES;
    Work::new(
        format!("unpack/{format:?}/{width}"),
        Amount::Bytes((row_bytes + q8_bytes) as u64),
        move || {
            // Bytes below 64 make no number of a block infinite.
            let mut random = Random(1);
            let row: Vec<u8> = (0..row_bytes).map(|_| random.bits() as u8 & 63).collect();
            Prepared::new(vec![0; q8_bytes], move |out| {
                kernels.unpack(format, &row, out)
            })
        },
    )
}

/// Addition of a row to a sum.
pub fn accumulate(kernels: Kernels, width: usize) -> Work {
    Work::new(
        format!("accumulate/f32/{width}"),
        Amount::Bytes(bytes::<f32>(3 * width)),
        move || {
            let x = Random(1).floats(width, 2.0);
            Prepared::new(vec![0.0; width], move |sum| kernels.accumulate(sum, &x))
        },
    )
}
