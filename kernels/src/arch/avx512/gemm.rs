//! The matrix product with `vpdpbusd` on 512-bit registers.
//!
//! A lane is an output: 16 rows of the weights a register, two registers a panel. Packed weights
//! carry +128, which makes them the unsigned operand; each sum starts with the activation's
//! `correction`, which takes the 128 back, so the loop itself has no instruction for it.

use std::arch::x86_64::*;

use crate::arch::x86::copy_scales_of_8_rows;
use crate::layout::{
    ActivationBlock, BLOCK, Line, PANEL, Q8_0_BYTES, Q8_0_SCALE_BYTES, packed_block_lines,
};
use crate::prefetch::Prefetcher;
use crate::scale::ActivationScale;

/// Lines of a packed block: `BLOCK / 4` steps of four bytes a row, then the f16 scales.
pub const PANEL_LINES: usize = packed_block_lines(1);

/// Tokens of a tile. 6 × 2 integer and 6 × 2 float accumulators, two weight registers, one
/// broadcast and two scales make 29 of the 32 registers. Two weight loads and six broadcasts feed
/// twelve `vpdpbusd`, so the two load ports keep up with the two multipliers of Zen 5.
///
/// With `SHIFTED`, two shifts and a power of two are needed as well, for which tiles of 5 and 6 keep
/// up to 30 vectors a block on the stack. Zen 4 has one multiplier, which four tokens keep busy.
const fn tile_tokens(shifted: bool) -> usize {
    if shifted { 4 } else { 6 }
}

/// Packs a panel by transposing it into the order of `vpdpbusd`; see
/// [`crate::Kernels::pack_panel`].
///
/// # Safety
///
/// - `rows + row * row_bytes` is valid for reading `blocks * Q8_0_BYTES` bytes for each `row` below
///   `PANEL`.
/// - `panel` is valid for writing `blocks * PANEL_LINES` lines.
/// - The CPU supports AVX-512 F, BW, DQ and VL, AVX2 and F16C.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,f16c")]
pub unsafe fn pack_panel(
    rows: *const u8,
    row_bytes: usize,
    blocks: usize,
    panel: *mut Line,
    prefetcher: &mut Prefetcher<'_>,
) {
    // SAFETY: each round reads one block of each row and writes its `PANEL_LINES` lines, which the
    // caller guarantees. Lines are aligned, and `rows_before` is a multiple of the 8 lanes of a
    // store.
    unsafe {
        for block in 0..blocks {
            prefetcher.step();
            for rows_before in (0..PANEL).step_by(8) {
                let from = rows.add(rows_before * row_bytes + block * Q8_0_BYTES);
                let to = panel.add(block * PANEL_LINES).cast::<i32>();
                transpose_8_rows(from.add(Q8_0_SCALE_BYTES), row_bytes, to.add(rows_before));
                let scales = to.add(BLOCK / 4 * PANEL).cast::<u16>().add(rows_before);
                copy_scales_of_8_rows(from, row_bytes, scales);
            }
        }
    }
}

/// Transposes the values of a block of 8 rows to `BLOCK / 4` steps of 4 bytes a row, one step every
/// [`PANEL`] lanes of `to`, with 128 added to each byte.
///
/// # Safety
///
/// - `from + row * row_bytes` is valid for reading `BLOCK` bytes for each `row` below 8.
/// - `to + step * PANEL` is aligned to 32 bytes and valid for writing 8 values for each `step`
///   below `BLOCK / 4`.
/// - The CPU supports AVX-512 F, BW, DQ and VL, and AVX2.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2")]
unsafe fn transpose_8_rows(from: *const u8, row_bytes: usize, to: *mut i32) {
    // SAFETY: rows and steps stay below 8, so each access is one that the caller guarantees.
    unsafe {
        let row = |row: usize| _mm256_loadu_si256(from.add(row * row_bytes).cast());
        let sign = _mm512_set1_epi8(-128);
        // Rows j and j + 4 share a register: the quads of four rows below then hold those of the
        // other four as well.
        let pair = |j: usize| {
            let both = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(row(j)), row(j + 4));
            _mm512_xor_si512(both, sign)
        };
        let (a, b, c, d) = (pair(0), pair(1), pair(2), pair(3));
        let (low_ab, high_ab) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let (low_cd, high_cd) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
        // Quarters of each: step k of rows 0 to 3, step k + 4 of them, and both of rows 4 to 7.
        let quads = [
            _mm512_unpacklo_epi64(low_ab, low_cd),
            _mm512_unpackhi_epi64(low_ab, low_cd),
            _mm512_unpacklo_epi64(high_ab, high_cd),
            _mm512_unpackhi_epi64(high_ab, high_cd),
        ];
        for (k, quad) in quads.into_iter().enumerate() {
            let steps = _mm512_shuffle_i64x2::<0b11_01_10_00>(quad, quad);
            let (step, later) = (to.add(k * PANEL), to.add((k + 4) * PANEL));
            _mm256_store_si256(step.cast(), _mm512_castsi512_si256(steps));
            _mm256_store_si256(later.cast(), _mm512_extracti64x4_epi64::<1>(steps));
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
/// - The CPU supports AVX-512 F, BW, DQ, VL and VNNI.
#[allow(clippy::too_many_arguments)]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub unsafe fn gemm<const TERMS: usize, const SHIFTED: bool>(
    panel: *const Line,
    blocks: usize,
    activations: *const ActivationBlock,
    stride: usize,
    tokens: usize,
    add: bool,
    out: *mut f32,
    prefetcher: &mut Prefetcher<'_>,
) {
    let mut token = 0;
    // Tiles are as even as possible: 8 tokens become 4 + 4, since a tile of 2 waits for the latency
    // of its sums.
    let tiles = tokens.div_ceil(tile_tokens(SHIFTED));
    for index in 0..tiles {
        let size = (tokens - token).div_ceil(tiles - index);
        // SAFETY: the tile's tokens are among the `tokens` that the caller guarantees.
        unsafe {
            let activations = activations.add(token * TERMS);
            let out = out.add(token * PANEL);
            macro_rules! tile {
                ($tokens:literal) => {
                    tile::<$tokens, TERMS, SHIFTED>(
                        panel,
                        blocks,
                        activations,
                        stride,
                        add,
                        out,
                        prefetcher,
                    )
                };
            }
            match size {
                1 => tile!(1),
                2 => tile!(2),
                3 => tile!(3),
                4 => tile!(4),
                5 => tile!(5),
                _ => tile!(6),
            }
        }
        token += size;
    }
}

/// The product of one tile of `TOKENS` tokens.
///
/// # Safety
///
/// As for [`gemm`] with `tokens = TOKENS`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn tile<const TOKENS: usize, const TERMS: usize, const SHIFTED: bool>(
    panel: *const Line,
    blocks: usize,
    activations: *const ActivationBlock,
    stride: usize,
    add: bool,
    out: *mut f32,
    prefetcher: &mut Prefetcher<'_>,
) {
    // SAFETY: `token < TOKENS`, each of the `blocks` rounds advances by one block, and
    // `step < BLOCK / 4`, so each access lies within the lengths that the caller guarantees. Lines
    // are aligned.
    unsafe {
        let mut sums = [[_mm512_setzero_ps(); 2]; TOKENS];
        if add {
            for (token, sum) in sums.iter_mut().enumerate() {
                sum[0] = _mm512_loadu_ps(out.add(token * PANEL));
                sum[1] = _mm512_loadu_ps(out.add(token * PANEL + 16));
            }
        }
        let mut weights = panel;
        let mut block_of_tokens = activations;
        for _ in 0..blocks {
            let mut products = [[_mm512_setzero_si512(); 2]; TOKENS];
            // Not in the loop below, where a branch makes the compiler keep sums in memory.
            for _ in 0..TERMS {
                prefetcher.step();
            }
            for term in 0..TERMS {
                for (token, product) in products.iter_mut().enumerate() {
                    let block = block_of_tokens.add(token * TERMS + term);
                    let correction = _mm512_set1_epi32((*block).correction);
                    for product in product {
                        *product = if term == 0 {
                            correction
                        } else {
                            _mm512_add_epi32(_mm512_slli_epi32::<8>(*product), correction)
                        };
                    }
                }
                for step in 0..BLOCK / 4 {
                    let low = _mm512_load_si512(weights.add(2 * step).cast());
                    let high = _mm512_load_si512(weights.add(2 * step + 1).cast());
                    for (token, product) in products.iter_mut().enumerate() {
                        let block = block_of_tokens.add(token * TERMS + term);
                        let four = (&raw const (*block).values).cast::<i32>().add(step);
                        let four = _mm512_set1_epi32(four.read_unaligned());
                        product[0] = _mm512_dpbusd_epi32(product[0], low, four);
                        product[1] = _mm512_dpbusd_epi32(product[1], high, four);
                    }
                }
            }
            let scales = weights.add(BLOCK / 4 * 2).cast::<__m256i>();
            let scales = [
                _mm512_cvtph_ps(_mm256_load_si256(scales)),
                _mm512_cvtph_ps(_mm256_load_si256(scales.add(1))),
            ];
            for (token, (sum, product)) in sums.iter_mut().zip(products).enumerate() {
                let scale = &(*block_of_tokens.add(token * TERMS)).scale;
                for half in 0..2 {
                    let scaled = apply::<SHIFTED>(scale, product[half]);
                    sum[half] = _mm512_fmadd_ps(scaled, scales[half], sum[half]);
                }
            }
            weights = weights.add(PANEL_LINES);
            block_of_tokens = block_of_tokens.wrapping_add(stride);
        }
        for (token, sum) in sums.iter().enumerate() {
            _mm512_storeu_ps(out.add(token * PANEL), sum[0]);
            _mm512_storeu_ps(out.add(token * PANEL + 16), sum[1]);
        }
    }
}

/// The sum of a block as a float, times the scale of the activations.
///
/// `SHIFTED` applies the scale to the integer, by shifts and additions, and then the power of two: on Zen 4 these are free beside `vpdpbusd`, while a multiplication takes the place of one.
/// The bits are the same, see [`ActivationScale`].
#[inline]
#[target_feature(enable = "avx512f")]
fn apply<const SHIFTED: bool>(scale: &ActivationScale, sum: __m512i) -> __m512 {
    if SHIFTED {
        let [first, second] = scale.shifts();
        let first = _mm512_sllv_epi32(sum, _mm512_set1_epi32(first as i32));
        let second = _mm512_sllv_epi32(sum, _mm512_set1_epi32(second as i32));
        let scaled = _mm512_add_epi32(_mm512_add_epi32(sum, first), second);
        _mm512_scalef_ps(_mm512_cvtepi32_ps(scaled), _mm512_set1_ps(scale.exponent()))
    } else {
        _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(scale.factor()))
    }
}
