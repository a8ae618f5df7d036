//! The matrix product with `vpdpbusd` on 512-bit registers.
//!
//! A lane is an output: 16 rows of the weights a register, two registers a panel. Packed weights carry +128, which
//! makes them the unsigned operand; the activation's `correction` starts each sum and takes the 128 back, so the loop
//! itself has no instruction for it.

use crate::ahead::{Ahead, LINES_MULTIPLYING, LINES_PACKING};
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
            ahead.step::<LINES_PACKING>();
            let from = rows.add(block * Q8_0_BYTES);
            let to = panel.add(block * PANEL_LINES);
            for half in 0..2 {
                transpose_16_rows(
                    from.add(half * 16 * row_bytes + 2),
                    row_bytes,
                    to.cast::<__m512i>().add(half),
                );
            }
            // Halves of 16 bits go through general registers: the shuffle ports are busy with the transpose.
            let mut scales = [0u16; PANEL];
            for (row, scale) in scales.iter_mut().enumerate() {
                *scale = from.add(row * row_bytes).cast::<u16>().read_unaligned();
            }
            for half in 0..2 {
                let halves = _mm256_loadu_si256(scales.as_ptr().add(16 * half).cast());
                _mm512_store_ps(to.add(16 + half).cast(), _mm512_cvtph_ps(halves));
            }
        }
    }
}

/// 16 rows of 32 bytes as 8 registers of 4 bytes a row, every second line of `to`, with +128 on each byte.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2")]
unsafe fn transpose_16_rows(from: *const u8, row_bytes: usize, to: *mut __m512i) {
    // SAFETY: sixteen rows of 32 readable bytes, eight lines 128 bytes apart to write.
    unsafe {
        // Register j of group g holds rows 8g + j and 8g + j + 4, so that the last shuffle leaves rows in order.
        let pair = |group: usize, j: usize| {
            let row = |row: usize| _mm256_loadu_si256(from.add(row * row_bytes).cast());
            _mm512_inserti64x4::<1>(
                _mm512_castsi256_si512(row(8 * group + j)),
                row(8 * group + j + 4),
            )
        };
        // Per 128-bit lane: dword k of four rows, for k = 0..4 (and k + 4 in the odd lanes).
        let quad = |group: usize| {
            let (a, b, c, d) = (
                pair(group, 0),
                pair(group, 1),
                pair(group, 2),
                pair(group, 3),
            );
            let (low_ab, high_ab) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
            let (low_cd, high_cd) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
            [
                _mm512_unpacklo_epi64(low_ab, low_cd),
                _mm512_unpackhi_epi64(low_ab, low_cd),
                _mm512_unpacklo_epi64(high_ab, high_cd),
                _mm512_unpackhi_epi64(high_ab, high_cd),
            ]
        };
        let (first, second) = (quad(0), quad(1));
        let sign = _mm512_set1_epi8(-128);
        for k in 0..4 {
            let low = _mm512_shuffle_i32x4::<0b10_00_10_00>(first[k], second[k]);
            let high = _mm512_shuffle_i32x4::<0b11_01_11_01>(first[k], second[k]);
            _mm512_store_si512(to.add(2 * k), _mm512_xor_si512(low, sign));
            _mm512_store_si512(to.add(2 * (k + 4)), _mm512_xor_si512(high, sign));
        }
    }
}

/// See [`crate::Kernels::gemm`].
///
/// # Safety
///
/// As for the scalar one; AVX-512 F and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub unsafe fn gemm<const TERMS: usize>(
    panel: *const Line,
    blocks: usize,
    activations: *const ActivationBlock,
    stride: usize,
    tokens: usize,
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
                1 => tile::<1, TERMS>(panel, blocks, activations, stride, out, ahead),
                2 => tile::<2, TERMS>(panel, blocks, activations, stride, out, ahead),
                3 => tile::<3, TERMS>(panel, blocks, activations, stride, out, ahead),
                4 => tile::<4, TERMS>(panel, blocks, activations, stride, out, ahead),
                5 => tile::<5, TERMS>(panel, blocks, activations, stride, out, ahead),
                _ => tile::<6, TERMS>(panel, blocks, activations, stride, out, ahead),
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
    out: *mut f32,
    ahead: &mut Ahead<'_>,
) {
    // SAFETY: the offsets stay inside what the caller of `gemm` vouches for; lines are aligned.
    unsafe {
        let mut sums = [[_mm512_setzero_ps(); 2]; TOKENS];
        let mut weights = panel;
        let mut block_of_tokens = activations;
        for _ in 0..blocks {
            let mut products = [[_mm512_setzero_si512(); 2]; TOKENS];
            // Not in the loop below: a branch there makes the compiler keep sums in memory.
            for _ in 0..TERMS {
                ahead.step::<LINES_MULTIPLYING>();
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
