//! The kernels of attention.

use lanewise_kernels::{BLOCK, HEAD_MAX, Kernels, Line, PANEL, Pieces, SoftmaxBlock};
use lanewise_testkit::random::Random;

use super::{Amount, Prepared, Work};

/// RMS norm, RoPE and INT16 quantization of one query or key head.
pub fn head_norm_rope(kernels: Kernels, dim: usize) -> Work {
    Work::new(
        format!("head_norm_rope/f32-i16/{dim}"),
        Amount::Bytes((dim * (3 * size_of::<f32>() + size_of::<i16>())) as u64),
        move || {
            let mut random = Random(1);
            let (x, weight) = (random.floats(dim, 2.0), random.floats(dim, 2.0));
            let rope = angles(&mut random, dim);
            Prepared::new((vec![0i16; dim], vec![0.0f32]), move |(out, scale)| {
                let pieces = Pieces::new(&x, BLOCK, dim / BLOCK);
                scale[0] = kernels.head_norm_rope(pieces, &weight, &rope, 1e-6, out);
            })
        },
    )
}

/// RoPE and INT16 quantization of one query or key head.
pub fn head_rope(kernels: Kernels, dim: usize) -> Work {
    Work::new(
        format!("head_rope/f32-i16/{dim}"),
        Amount::Bytes((dim * (2 * size_of::<f32>() + size_of::<i16>())) as u64),
        move || {
            let mut random = Random(1);
            let x = random.floats(dim, 2.0);
            let rope = angles(&mut random, dim);
            Prepared::new((vec![0i16; dim], vec![0.0f32]), move |(out, scale)| {
                let pieces = Pieces::new(&x, BLOCK, dim / BLOCK);
                scale[0] = kernels.head_rope(pieces, &rope, out);
            })
        },
    )
}

/// Cosines of `dim / 2` angles, then their sines.
fn angles(random: &mut Random, dim: usize) -> Vec<f32> {
    let angles = random.floats(dim / 2, 3.0);
    let cosines = angles.iter().map(|angle| angle.cos());
    let sines = angles.iter().map(|angle| angle.sin());
    cosines.chain(sines).collect()
}

/// Bias and INT16 quantization of one query head.
pub fn head_bias(kernels: Kernels, dim: usize) -> Work {
    Work::new(
        format!("head_bias/f32-i16/{dim}"),
        Amount::Bytes((dim * (2 * size_of::<f32>() + size_of::<i16>())) as u64),
        move || {
            let mut random = Random(1);
            let (x, bias) = (random.floats(dim, 2.0), random.floats(dim, 2.0));
            Prepared::new((vec![0i16; dim], vec![0.0f32]), move |(out, scale)| {
                let pieces = Pieces::new(&x, BLOCK, dim / BLOCK);
                scale[0] = kernels.head_bias(pieces, Some(&bias), out);
            })
        },
    )
}

/// Packing of one panel of keys, which is the same code on every instruction set.
pub fn pack_keys(dim: usize) -> Work {
    Work::new(
        format!("pack_keys/i16/{PANEL}x{dim}"),
        Amount::Bytes((2 * PANEL * dim * size_of::<i16>()) as u64),
        move || {
            let keys = Random(1).integers(PANEL * dim, HEAD_MAX as i16);
            Prepared::new(vec![0i32; PANEL * dim / 2], move |packed| {
                lanewise_kernels::pack_keys(&keys, dim, packed)
            })
        },
    )
}

/// Queries of `rows` heads times one panel of keys.
pub fn attention_scores(kernels: Kernels, rows: usize, dim: usize) -> Work {
    Work::new(
        format!("attention_scores/i16xi16/{rows}x{PANEL}x{dim}"),
        Amount::MultiplyAdds((rows * PANEL * dim) as u64),
        move || {
            let mut random = Random(1);
            let queries = random.integers(rows * dim, HEAD_MAX as i16);
            let mut keys = vec![0; PANEL * dim / 2];
            lanewise_kernels::pack_keys(
                &random.integers(PANEL * dim, HEAD_MAX as i16),
                dim,
                &mut keys,
            );
            let (query_scales, key_scales) =
                (random.floats(rows, 1e-3), random.floats(PANEL, 1e-3));
            Prepared::new(vec![0.0; rows * PANEL], move |out| {
                kernels.attention_scores(&queries, &query_scales, &keys, &key_scales, out, PANEL);
            })
        },
    )
}

/// Softmax of one row of scores.
pub fn softmax(kernels: Kernels, keys: usize) -> Work {
    Work::new(
        format!("softmax/f32-u8/{keys}"),
        Amount::Bytes((keys * (size_of::<f32>() + size_of::<u8>())) as u64),
        move || {
            let mut scores = Random(1).floats(keys, 8.0);
            let weights = vec![SoftmaxBlock::default(); keys / BLOCK];
            Prepared::new((weights, vec![0.0f32]), move |(weights, sum)| {
                sum[0] = kernels.softmax(&mut scores, BLOCK, 0..keys, 1, weights)
            })
        },
    )
}

/// Packing of the values of `tokens` for one panel of channels.
pub fn pack_values(kernels: Kernels, tokens: usize) -> Work {
    Work::new(
        format!("pack_values/f32-i8/{tokens}x{PANEL}"),
        Amount::Bytes((tokens * PANEL * (size_of::<f32>() + size_of::<i8>())) as u64),
        move || {
            let values = Random(1).floats(tokens * PANEL, 2.0);
            // Not a result: each instruction set packs as it needs.
            let mut packed = vec![Line::ZERO; kernels.value_lines(tokens)];
            Prepared::new(vec![0.0; 2 * PANEL], move |scales| {
                kernels.pack_values(&values, &mut packed, scales)
            })
        },
    )
}

/// Softmax weights of `rows` heads times the values of `keys` tokens, for one panel of channels.
pub fn attention_weighted_sum(kernels: Kernels, rows: usize, keys: usize) -> Work {
    Work::new(
        format!("attention_weighted_sum/u8xi8/{rows}x{PANEL}x{keys}"),
        Amount::MultiplyAdds((rows * PANEL * keys) as u64),
        move || {
            let mut random = Random(1);
            let weights: Vec<_> = (0..rows * keys / BLOCK)
                .map(|_| SoftmaxBlock {
                    scale: random.float(0.01),
                    values: std::array::from_fn(|_| random.bits() as u8),
                })
                .collect();
            let factors = random.floats(rows, 1e-3);
            let mut packed = vec![Line::ZERO; kernels.value_lines(keys)];
            let mut scales = vec![0.0; 2 * PANEL];
            kernels.pack_values(&random.floats(keys * PANEL, 2.0), &mut packed, &mut scales);
            Prepared::new(vec![0.0; rows * PANEL], move |out| {
                let scales = &scales[..PANEL];
                kernels.attention_weighted_sum(&weights, &factors, &packed, scales, out, PANEL);
            })
        },
    )
}
