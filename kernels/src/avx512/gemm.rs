//! The matrix product with `vpdpbusd` on 512-bit registers.
//!
//! A lane is an output: 16 rows of the weights a register, two registers a panel. Packed weights carry +128, which
//! makes them the unsigned operand; the activation's `correction` starts each sum and takes the 128 back, so the loop
//! itself has no instruction for it.

use crate::ahead::Ahead;
use crate::layout::{ActivationBlock, BLOCK, Line, PANEL, Q8_0_BYTES};
use std::arch::x86_64::*;

/// Lines of a packed block: 8 steps × 32 rows × 4 bytes, then 32 scales.
pub const PANEL_LINES: usize = 18;

/// Tokens of a tile: 6 × 2 integer and 6 × 2 float accumulators, two weight registers, one broadcast and two scales
/// make 29 of the 32 registers. Two weight loads and six broadcasts feed twelve `vpdpbusd`, so the two load ports
/// keep up with the two multipliers of Zen 5 (one multiplier on Zen 4).
const TILE: usize = 6;

/// Transposes a panel of 32 rows into `vpdpbusd` order; see [`crate::Kernels::pack_panel`].
///
/// # Safety
///
/// As for the scalar one; AVX-512 F, BW and F16C.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,f16c")]
pub unsafe fn pack_panel(
    rows: *const u8,
    row_bytes: usize,
    blocks: usize,
    panel: *mut Line,
    ahead: &mut Ahead<'_>,
) {
    // SAFETY: reads 34 bytes of each row a block and writes 18 lines, as the caller vouches for.
    unsafe {
        for block in 0..blocks {
            ahead.step();
            for rows_before in (0..PANEL).step_by(8) {
                let from = rows.add(rows_before * row_bytes + block * Q8_0_BYTES);
                let to = panel
                    .add(block * PANEL_LINES)
                    .cast::<i32>()
                    .add(rows_before);
                transpose_8_rows(from.add(2), row_bytes, to);
                let scales = scales_of_8_rows(from, row_bytes);
                _mm256_store_ps(to.add(BLOCK / 4 * PANEL).cast(), scales);
            }
        }
    }
}

/// Eight rows of 32 bytes as eight steps of 4 bytes a row, [`PANEL`] dwords apart at `to`, with +128 on each byte.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2")]
unsafe fn transpose_8_rows(from: *const u8, row_bytes: usize, to: *mut i32) {
    // SAFETY: eight rows of 32 readable bytes, eight aligned halves of a line to write.
    unsafe {
        let row = |row: usize| _mm256_loadu_si256(from.add(row * row_bytes).cast());
        let sign = _mm512_set1_epi8(-128);
        // Rows j and j + 4 share a register: the quads of four rows below then hold those of the other four as well.
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

/// The scales of eight rows. They are collected in general registers: the shuffle ports are busy with the transpose.
#[inline]
#[target_feature(enable = "avx2,f16c")]
unsafe fn scales_of_8_rows(from: *const u8, row_bytes: usize) -> __m256 {
    // SAFETY: eight rows of two readable bytes.
    unsafe {
        let scale = |row: usize| {
            let scale = from.add(row * row_bytes).cast::<u16>();
            i64::from(scale.read_unaligned())
        };
        let four = |first: usize| {
            scale(first) | scale(first + 1) << 16 | scale(first + 2) << 32 | scale(first + 3) << 48
        };
        _mm256_cvtph_ps(_mm_set_epi64x(four(4), four(0)))
    }
}

/// See [`crate::Kernels::gemm`].
///
/// # Safety
///
/// As for the scalar one; AVX-512 F and VNNI.
#[allow(clippy::too_many_arguments)]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub unsafe fn gemm<const TERMS: usize>(
    panel: *const Line,
    blocks: usize,
    activations: *const ActivationBlock,
    stride: usize,
    tokens: usize,
    add: bool,
    out: *mut f32,
    ahead: &mut Ahead<'_>,
) {
    let mut token = 0;
    // Tiles as even as they come: 8 tokens go as 4 + 4, since a tile of 2 waits for the latency of its sums.
    let tiles = tokens.div_ceil(TILE);
    for index in 0..tiles {
        let size = (tokens - token).div_ceil(tiles - index);
        // SAFETY: tokens `token..token + size` lie inside what the caller vouches for.
        unsafe {
            let activations = activations.add(token * TERMS);
            let out = out.add(token * PANEL);
            match size {
                1 => tile::<1, TERMS>(panel, blocks, activations, stride, add, out, ahead),
                2 => tile::<2, TERMS>(panel, blocks, activations, stride, add, out, ahead),
                3 => tile::<3, TERMS>(panel, blocks, activations, stride, add, out, ahead),
                4 => tile::<4, TERMS>(panel, blocks, activations, stride, add, out, ahead),
                5 => tile::<5, TERMS>(panel, blocks, activations, stride, add, out, ahead),
                _ => tile::<6, TERMS>(panel, blocks, activations, stride, add, out, ahead),
            }
        }
        token += size;
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn tile<const TOKENS: usize, const TERMS: usize>(
    panel: *const Line,
    blocks: usize,
    activations: *const ActivationBlock,
    stride: usize,
    add: bool,
    out: *mut f32,
    ahead: &mut Ahead<'_>,
) {
    // SAFETY: the offsets stay inside what the caller of `gemm` vouches for; lines are aligned.
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
            // Not in the loop below: a branch there makes the compiler keep sums in memory.
            for _ in 0..TERMS {
                ahead.step();
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
            let scales = [
                _mm512_load_ps(weights.add(16).cast()),
                _mm512_load_ps(weights.add(17).cast()),
            ];
            for (token, (sum, product)) in sums.iter_mut().zip(products).enumerate() {
                let scale = _mm512_set1_ps((*block_of_tokens.add(token * TERMS)).scale);
                for half in 0..2 {
                    sum[half] = _mm512_fmadd_ps(
                        _mm512_cvtepi32_ps(product[half]),
                        _mm512_mul_ps(scales[half], scale),
                        sum[half],
                    );
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
