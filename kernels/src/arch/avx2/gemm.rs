//! The matrix product with `vpmaddwd` on 256-bit registers.
//!
//! `vpmaddubsw` would saturate at 128 × 127 × 2, so weights are widened to 16 bits while packing
//! and activations one tile at a time: `vpmaddwd` on those is exact for every byte.

use std::arch::x86_64::*;

use crate::layout::{
    ActivationBlock, BLOCK, Line, PANEL, Q8_0_BYTES, Q8_0_SCALE_BYTES, packed_block_lines,
};
use crate::prefetch::Prefetcher;

/// Lines of a packed block: `BLOCK / 2` steps of two words a row, then the f16 scales.
pub const PANEL_LINES: usize = packed_block_lines(2);

/// Tokens of a tile: 2 × 4 integer accumulators leave half of the 16 registers for weights and
/// products; the float sums stay in memory, accessed once a block.
const TILE: usize = 2;

/// Packs a panel by transposing and widening its rows; see [`crate::Kernels::pack_panel`].
///
/// # Safety
///
/// - `rows + row * row_bytes` is valid for reading `blocks * Q8_0_BYTES` bytes for each `row` below
///   `PANEL`.
/// - `panel` is valid for writing `blocks * PANEL_LINES` lines.
/// - The CPU supports AVX2, FMA and F16C.
#[target_feature(enable = "avx2,fma,f16c")]
pub unsafe fn pack_panel(
    rows: *const u8,
    row_bytes: usize,
    blocks: usize,
    panel: *mut Line,
    prefetcher: &mut Prefetcher<'_>,
) {
    // SAFETY: each round reads one block of each row and writes its `PANEL_LINES` lines, which the
    // caller guarantees. Lines are aligned, and `first` is a multiple of the 8 lanes of a store.
    unsafe {
        for block in 0..blocks {
            prefetcher.step();
            let from = rows.add(block * Q8_0_BYTES);
            let to = panel.add(block * PANEL_LINES).cast::<i32>();
            for first in (0..PANEL).step_by(8) {
                let from = from.add(first * row_bytes);
                transpose_8_rows(from.add(Q8_0_SCALE_BYTES), row_bytes, to.add(first));
                let scales = to.add(BLOCK / 2 * PANEL).cast::<u16>().add(first);
                for row in 0..8 {
                    *scales.add(row) = from.add(row * row_bytes).cast::<u16>().read_unaligned();
                }
            }
        }
    }
}

/// Transposes the values of a block of 8 rows to `BLOCK / 2` steps of 2 words a row, one step every
/// [`PANEL`] lanes of `to`.
///
/// # Safety
///
/// - `from + row * row_bytes` is valid for reading `BLOCK` bytes for each `row` below 8.
/// - `to + step * PANEL` is aligned to 32 bytes and valid for writing 8 values for each `step`
///   below `BLOCK / 2`.
/// - The CPU supports AVX2.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn transpose_8_rows(from: *const u8, row_bytes: usize, to: *mut i32) {
    // SAFETY: rows stay below 8 and steps below 16, so each access is one that the caller
    // guarantees.
    unsafe {
        // Two bytes of a row are moved as one word, and widened when they have arrived: half the
        // shuffles.
        let two_rows = |j: usize| {
            let row = |row: usize| _mm256_loadu_si256(from.add(row * row_bytes).cast());
            let (a, b) = (row(2 * j), row(2 * j + 1));
            [_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b)]
        };
        let four_rows = |j: usize| {
            let (a, b) = (two_rows(2 * j), two_rows(2 * j + 1));
            [
                _mm256_unpacklo_epi32(a[0], b[0]),
                _mm256_unpackhi_epi32(a[0], b[0]),
                _mm256_unpacklo_epi32(a[1], b[1]),
                _mm256_unpackhi_epi32(a[1], b[1]),
            ]
        };
        let (first, second) = (four_rows(0), four_rows(1));
        let store = |step: usize, bytes: __m128i| {
            let words = _mm256_cvtepi8_epi16(bytes);
            _mm256_store_si256(to.add(step * PANEL).cast(), words);
        };
        for k in 0..4 {
            let even = _mm256_unpacklo_epi64(first[k], second[k]);
            let odd = _mm256_unpackhi_epi64(first[k], second[k]);
            store(2 * k, _mm256_castsi256_si128(even));
            store(2 * k + 1, _mm256_castsi256_si128(odd));
            store(2 * k + 8, _mm256_extracti128_si256::<1>(even));
            store(2 * k + 9, _mm256_extracti128_si256::<1>(odd));
        }
    }
}

/// Computes what `gemm` in `arch::scalar::gemm` does, with a panel of this [`pack_panel`].
///
/// # Safety
///
/// - `panel` is valid for reading `blocks * PANEL_LINES` lines.
/// - `activations + b * stride + t * TERMS` is valid for reading `TERMS` blocks for each `b` below
///   `blocks` and `t` below `tokens`.
/// - `out` is valid for writing `tokens * PANEL` values, and for reading them if `add`.
/// - The CPU supports AVX2, FMA and F16C.
#[allow(clippy::too_many_arguments)]
#[target_feature(enable = "avx2,fma,f16c")]
pub unsafe fn gemm<const TERMS: usize>(
    panel: *const Line,
    blocks: usize,
    activations: *const ActivationBlock,
    stride: usize,
    tokens: usize,
    add: bool,
    out: *mut f32,
    prefetcher: &mut Prefetcher<'_>,
) {
    for token in (0..tokens).step_by(TILE) {
        // SAFETY: the tile's tokens are among the `tokens` that the caller guarantees.
        unsafe {
            let activations = activations.add(token * TERMS);
            let out = out.add(token * PANEL);
            match tokens - token {
                1 => tile::<1, TERMS>(panel, blocks, activations, stride, add, out, prefetcher),
                _ => tile::<TILE, TERMS>(panel, blocks, activations, stride, add, out, prefetcher),
            }
        }
    }
}

/// The product of one tile of `TOKENS` tokens.
///
/// # Safety
///
/// As for [`gemm`] with `tokens = TOKENS`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn tile<const TOKENS: usize, const TERMS: usize>(
    panel: *const Line,
    blocks: usize,
    activations: *const ActivationBlock,
    stride: usize,
    add: bool,
    out: *mut f32,
    prefetcher: &mut Prefetcher<'_>,
) {
    // SAFETY: `token < TOKENS`, `block < blocks` and `step < BLOCK / 2`, so each access lies within
    // the lengths that the caller guarantees; those to `words` fill its `BLOCK / 2` values.
    // Lines are aligned.
    unsafe {
        let mut sums = [[_mm256_setzero_ps(); 4]; TOKENS];
        if add {
            for (token, sum) in sums.iter_mut().enumerate() {
                for (quarter, sum) in sum.iter_mut().enumerate() {
                    *sum = _mm256_loadu_ps(out.add(token * PANEL + 8 * quarter));
                }
            }
        }
        for block in 0..blocks {
            let weights = panel.add(block * PANEL_LINES).cast::<__m256i>();
            let block_of_tokens = activations.wrapping_add(block * stride);
            let mut products = [[_mm256_setzero_si256(); 4]; TOKENS];
            for _ in 0..TERMS {
                prefetcher.step();
            }
            for term in 0..TERMS {
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
            let scales = weights.add(64).cast::<__m128i>();
            for quarter in 0..4 {
                let scales = _mm256_cvtph_ps(_mm_load_si128(scales.add(quarter)));
                for (token, (sum, product)) in sums.iter_mut().zip(products).enumerate() {
                    let factor = (*block_of_tokens.add(token * TERMS)).scale.factor();
                    sum[quarter] = _mm256_fmadd_ps(
                        _mm256_mul_ps(_mm256_cvtepi32_ps(product[quarter]), _mm256_set1_ps(factor)),
                        scales,
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
