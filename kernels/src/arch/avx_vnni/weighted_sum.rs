//! Softmax weights times values with `vpdpbusd` on 256-bit registers.
//!
//! Packed values have the layout of the AVX-512 kernels. A lane is a channel, and the weights are
//! the unsigned operand by nature.

use std::arch::x86_64::*;

use super::gemm::in_registers;
use crate::layout::{BLOCK, Line, PANEL, SoftmaxBlock};

/// Lines of the packed values of [`BLOCK`] tokens: steps of four bytes a channel.
pub const VALUE_LINES: usize = PANEL * BLOCK / size_of::<Line>();

/// Rows of a tile: 2 × 4 integer sums, a broadcast and a register of values leave most of the other
/// registers to the float sums. Without `in_registers` after each step the compiler keeps up to 104
/// vectors a block on the stack.
const TILE: usize = 2;

/// Computes what `weighted_sum` in `arch::scalar::weighted_sum` does.
///
/// # Safety
///
/// As for that function. The CPU supports AVX-VNNI, AVX2, FMA and F16C.
#[allow(clippy::too_many_arguments)]
#[target_feature(enable = "avxvnni,avx2,fma,f16c")]
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
    for row in (0..count).step_by(TILE) {
        let tile = if count - row == 1 {
            tile::<1, TERMS>
        } else {
            tile::<TILE, TERMS>
        };
        // SAFETY: the tile's rows are among the `count` that the caller guarantees.
        unsafe {
            tile(
                weights.add(row * weight_stride),
                weight_stride,
                factors.add(row),
                packed,
                channel_scales,
                blocks,
                out.add(row * out_stride),
                out_stride,
            );
        }
    }
}

/// The sums of one tile of `ROWS` rows.
///
/// # Safety
///
/// As for [`weighted_sum`] with `count = ROWS`.
#[allow(clippy::too_many_arguments)]
#[inline]
#[target_feature(enable = "avxvnni,avx2,fma,f16c")]
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
    // SAFETY: `row < ROWS`, `block < blocks` and `step < BLOCK / 4`, and the quarters make up
    // `PANEL`, so each access lies within the lengths that the caller guarantees. Lines are aligned.
    unsafe {
        let mut sums = [[_mm256_setzero_ps(); 4]; ROWS];
        for block in 0..blocks {
            let values = packed.add(block * VALUE_LINES).cast::<__m256i>();
            let weights = weights.add(block * TERMS);
            let mut products = [[_mm256_setzero_si256(); 4]; ROWS];
            for term in 0..TERMS {
                if term > 0 {
                    for product in products.as_flattened_mut() {
                        *product = _mm256_slli_epi32::<8>(*product);
                    }
                }
                for step in 0..BLOCK / 4 {
                    for (row, product) in products.iter_mut().enumerate() {
                        let block = weights.add(row * weight_stride + term);
                        let four = (&raw const (*block).values).cast::<i32>().add(step);
                        let four = _mm256_set1_epi32(four.read_unaligned());
                        for (quarter, product) in product.iter_mut().enumerate() {
                            let values = _mm256_load_si256(values.add(4 * step + quarter));
                            *product = _mm256_dpbusd_avx_epi32(*product, four, values);
                        }
                        *product = in_registers(*product);
                    }
                }
            }
            for (row, (sum, product)) in sums.iter_mut().zip(products).enumerate() {
                let scale = _mm256_set1_ps((*weights.add(row * weight_stride)).scale);
                for (sum, product) in sum.iter_mut().zip(product) {
                    *sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(product), scale, *sum);
                }
            }
        }
        for (row, sum) in sums.iter().enumerate() {
            let factor = _mm256_set1_ps(*factors.add(row));
            for (quarter, sum) in sum.iter().enumerate() {
                let scaled = _mm256_mul_ps(*sum, _mm256_loadu_ps(channel_scales.add(8 * quarter)));
                _mm256_storeu_ps(
                    out.add(row * out_stride + 8 * quarter),
                    _mm256_mul_ps(scaled, factor),
                );
            }
        }
    }
}
