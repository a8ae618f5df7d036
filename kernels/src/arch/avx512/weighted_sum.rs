//! Softmax weights times values with `vpdpbusd` on 512-bit registers.
//!
//! A lane is a channel, and the weights are the unsigned operand by nature. The scale of a block of
//! weights is the same for all channels, so that besides its sixteen `vpdpbusd` a block costs two
//! conversions and two fused multiply-adds a row: 16 / 18 of the peak where both take the
//! multiplier.

use std::arch::x86_64::*;

use crate::layout::{BLOCK, Line, PANEL, SoftmaxBlock};

/// Lines of the packed values of [`BLOCK`] tokens: steps of four bytes a channel.
pub const VALUE_LINES: usize = PANEL * BLOCK / size_of::<Line>();

/// Rows of a tile, as in the matrix product: 12 integer and 12 float accumulators, two registers of
/// values, one broadcast.
const TILE: usize = 6;

/// Computes what `weighted_sum` in `arch::scalar::weighted_sum` does.
///
/// # Safety
///
/// As for that function. The CPU supports AVX-512 F, BW, DQ, VL and VNNI.
#[allow(clippy::too_many_arguments)]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub unsafe fn weighted_sum<const TERMS: usize>(
    weights: *const SoftmaxBlock,
    weight_stride: usize,
    factors: *const f32,
    count: usize,
    packed: *const Line,
    channel_scales: *const f32,
    blocks: usize,
    out: *mut f32,
    out_stride: usize,
) {
    let mut row = 0;
    let tiles = count.div_ceil(TILE);
    for index in 0..tiles {
        let size = (count - row).div_ceil(tiles - index);
        macro_rules! tile {
            ($rows:literal) => {
                tile::<$rows, TERMS>(
                    weights.add(row * weight_stride),
                    weight_stride,
                    factors.add(row),
                    packed,
                    channel_scales,
                    blocks,
                    out.add(row * out_stride),
                    out_stride,
                )
            };
        }
        // SAFETY: the tile's rows are among the `count` that the caller guarantees.
        unsafe {
            match size {
                1 => tile!(1),
                2 => tile!(2),
                3 => tile!(3),
                4 => tile!(4),
                5 => tile!(5),
                _ => tile!(6),
            }
        }
        row += size;
    }
}

/// The sums of one tile of `ROWS` rows.
///
/// # Safety
///
/// As for [`weighted_sum`] with `count = ROWS`.
#[allow(clippy::too_many_arguments)]
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn tile<const ROWS: usize, const TERMS: usize>(
    weights: *const SoftmaxBlock,
    weight_stride: usize,
    factors: *const f32,
    packed: *const Line,
    channel_scales: *const f32,
    blocks: usize,
    out: *mut f32,
    out_stride: usize,
) {
    // SAFETY: `row < ROWS`, `block < blocks` and `step < BLOCK / 4`, and the halves make up
    // `PANEL`, so each access lies within the lengths that the caller guarantees. Lines are aligned.
    unsafe {
        let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
        for block in 0..blocks {
            let values = packed.add(block * VALUE_LINES);
            let weights = weights.add(block * TERMS);
            let mut products = [[_mm512_setzero_si512(); 2]; ROWS];
            for term in 0..TERMS {
                if term > 0 {
                    for product in products.as_flattened_mut() {
                        *product = _mm512_slli_epi32::<8>(*product);
                    }
                }
                for step in 0..BLOCK / 4 {
                    let low = _mm512_load_si512(values.add(2 * step).cast());
                    let high = _mm512_load_si512(values.add(2 * step + 1).cast());
                    for (row, product) in products.iter_mut().enumerate() {
                        let block = weights.add(row * weight_stride + term);
                        let four = (&raw const (*block).values).cast::<i32>().add(step);
                        let four = _mm512_set1_epi32(four.read_unaligned());
                        product[0] = _mm512_dpbusd_epi32(product[0], four, low);
                        product[1] = _mm512_dpbusd_epi32(product[1], four, high);
                    }
                }
            }
            for (row, (sum, product)) in sums.iter_mut().zip(products).enumerate() {
                let scale = _mm512_set1_ps((*weights.add(row * weight_stride)).scale);
                for half in 0..2 {
                    let product = _mm512_cvtepi32_ps(product[half]);
                    sum[half] = _mm512_fmadd_ps(product, scale, sum[half]);
                }
            }
        }
        for half in 0..2 {
            let channel_scales = _mm512_loadu_ps(channel_scales.add(16 * half));
            for (row, sum) in sums.iter().enumerate() {
                let scaled = _mm512_mul_ps(sum[half], channel_scales);
                let scaled = _mm512_mul_ps(scaled, _mm512_set1_ps(*factors.add(row)));
                _mm512_storeu_ps(out.add(row * out_stride + 16 * half), scaled);
            }
        }
    }
}
