//! The matrix product with `vpmaddwd` on 256-bit registers.
//!
//! `vpmaddubsw` would saturate at 128 × 127 × 2, so weights are widened to 16 bits while packing and activations a tile at
//! a time: `vpmaddwd` on those is exact for every byte.

use crate::ahead::Ahead;
use crate::layout::{ActivationBlock, BLOCK, Line, PANEL, Q8_0_BYTES};
use crate::rows::f16_to_f32;
use std::arch::x86_64::*;

/// Lines of a packed block: 16 steps × 32 rows × 2 words, then 32 scales.
pub const PANEL_LINES: usize = 34;

/// Tokens of a tile: 2 × 4 integer accumulators leave half of the 16 registers for weights and products; the float sums
/// live in memory, touched once a block.
const TILE: usize = 2;

/// Widens and transposes a panel of 32 rows; see [`crate::Kernels::pack_panel`].
///
/// # Safety
///
/// As for the scalar one; AVX2.
#[target_feature(enable = "avx2,fma,f16c")]
pub unsafe fn pack_panel(
    rows: *const u8,
    row_bytes: usize,
    blocks: usize,
    panel: *mut Line,
    ahead: &mut Ahead<'_>,
) {
    // SAFETY: reads 34 bytes of each row a block and writes 34 lines, as the caller vouches for.
    unsafe {
        for block in 0..blocks {
            ahead.step();
            let to = panel.add(block * PANEL_LINES).cast::<i32>();
            let scales = to.add(16 * PANEL).cast::<f32>();
            for row in 0..PANEL {
                let from = rows.add(row * row_bytes + block * Q8_0_BYTES);
                let mut words = [0i32; 16];
                for half in 0..2 {
                    let bytes = _mm_loadu_si128(from.add(2 + 16 * half).cast());
                    _mm256_storeu_si256(
                        words.as_mut_ptr().add(8 * half).cast(),
                        _mm256_cvtepi8_epi16(bytes),
                    );
                }
                for (step, pair) in words.into_iter().enumerate() {
                    *to.add(step * PANEL + row) = pair;
                }
                *scales.add(row) = f16_to_f32(from.cast::<u16>().read_unaligned());
            }
        }
    }
}

/// See [`crate::Kernels::gemm`].
///
/// # Safety
///
/// As for the scalar one; AVX2 and FMA.
#[target_feature(enable = "avx2,fma,f16c")]
pub unsafe fn gemm<const TERMS: usize>(
    panel: *const Line,
    blocks: usize,
    activations: *const ActivationBlock,
    stride: usize,
    tokens: usize,
    out: *mut f32,
    ahead: &mut Ahead<'_>,
) {
    for token in (0..tokens).step_by(TILE) {
        // SAFETY: tokens `token..token + size` lie inside what the caller vouches for.
        unsafe {
            let activations = activations.add(token * TERMS);
            let out = out.add(token * PANEL);
            match tokens - token {
                1 => tile::<1, TERMS>(panel, blocks, activations, stride, out, ahead),
                _ => tile::<TILE, TERMS>(panel, blocks, activations, stride, out, ahead),
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn tile<const TOKENS: usize, const TERMS: usize>(
    panel: *const Line,
    blocks: usize,
    activations: *const ActivationBlock,
    stride: usize,
    out: *mut f32,
    ahead: &mut Ahead<'_>,
) {
    // SAFETY: the offsets stay inside what the caller of `gemm` vouches for.
    unsafe {
        let mut sums = [[_mm256_setzero_ps(); 4]; TOKENS];
        for block in 0..blocks {
            let weights = panel.add(block * PANEL_LINES).cast::<__m256i>();
            let block_of_tokens = activations.wrapping_add(block * stride);
            let mut products = [[_mm256_setzero_si256(); 4]; TOKENS];
            for term in 0..TERMS {
                ahead.step();
                let mut words = [[0i32; BLOCK / 2]; TOKENS];
                for (token, words) in words.iter_mut().enumerate() {
                    let values = (&raw const (*block_of_tokens.add(token * TERMS + term)).values)
                        .cast::<__m128i>();
                    let to = words.as_mut_ptr().cast::<__m256i>();
                    _mm256_storeu_si256(to, _mm256_cvtepi8_epi16(_mm_loadu_si128(values)));
                    _mm256_storeu_si256(
                        to.add(1),
                        _mm256_cvtepi8_epi16(_mm_loadu_si128(values.add(1))),
                    );
                    if term > 0 {
                        for product in &mut products[token] {
                            *product = _mm256_slli_epi32::<8>(*product);
                        }
                    }
                }
                #[allow(
                    clippy::needless_range_loop,
                    reason = "one step of every token, not one token's words"
                )]
                for step in 0..BLOCK / 2 {
                    for (token, product) in products.iter_mut().enumerate() {
                        let two = _mm256_set1_epi32(words[token][step]);
                        for (quarter, product) in product.iter_mut().enumerate() {
                            let weights = _mm256_load_si256(weights.add(4 * step + quarter));
                            *product = _mm256_add_epi32(*product, _mm256_madd_epi16(weights, two));
                        }
                    }
                }
            }
            let scales = weights.add(64).cast::<f32>();
            for (token, (sum, product)) in sums.iter_mut().zip(products).enumerate() {
                let scale = _mm256_set1_ps((*block_of_tokens.add(token * TERMS)).scale);
                for quarter in 0..4 {
                    sum[quarter] = _mm256_fmadd_ps(
                        _mm256_cvtepi32_ps(product[quarter]),
                        _mm256_mul_ps(_mm256_load_ps(scales.add(8 * quarter)), scale),
                        sum[quarter],
                    );
                }
            }
        }
        for (token, sum) in sums.iter().enumerate() {
            for (quarter, sum) in sum.iter().enumerate() {
                _mm256_storeu_ps(out.add(token * PANEL + 8 * quarter), *sum);
            }
        }
    }
}
