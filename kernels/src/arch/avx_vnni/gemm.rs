//! The matrix product with `vpdpbusd` on 256-bit registers.
//!
//! Packed panels have the layout of the AVX-512 kernels, byte for byte, so that both can use the
//! same ones: a lane is an output, weights carry +128 and are the unsigned operand, and each sum
//! starts with the activation's `correction`.

use std::arch::asm;
use std::arch::x86_64::*;

use crate::arch::x86::copy_scales_of_8_rows;
use crate::layout::{
    ActivationBlock, BLOCK, Line, PANEL, Q8_0_BYTES, Q8_0_SCALE_BYTES, packed_block_lines,
};
use crate::prefetch::Prefetcher;

/// Lines of a packed block: `BLOCK / 4` steps of four bytes a row, then the f16 scales.
pub const PANEL_LINES: usize = packed_block_lines(1);

/// Registers of 8 rows in a panel.
const QUARTERS: usize = PANEL / 8;

/// Tokens of a tile: 3 × 4 integer sums, three broadcasts and the weights of 8 rows take all 16
/// registers. 12 sums are more than the latency of `vpdpbusd` takes (two a cycle, 4 or 5 cycles);
/// 8 would not do. 7 loads feed 12 of them. The float sums stay in the output: they are read and
/// written once a block, 12 registers beside 96 `vpdpbusd`.
const TILE: usize = 3;

/// Packs a panel by transposing it into the order of `vpdpbusd`; see
/// [`crate::Kernels::pack_panel`].
///
/// # Safety
///
/// - `rows + row * row_bytes` is valid for reading `blocks * Q8_0_BYTES` bytes for each `row` below
///   `PANEL`.
/// - `panel` is valid for writing `blocks * PANEL_LINES` lines.
/// - The CPU supports AVX2 and F16C.
#[target_feature(enable = "avx2,f16c")]
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
/// - The CPU supports AVX2.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn transpose_8_rows(from: *const u8, row_bytes: usize, to: *mut i32) {
    // SAFETY: rows and steps stay below 8, and a half of a row is 16 of its 32 bytes, so each
    // access is one that the caller guarantees.
    unsafe {
        let sign = _mm256_set1_epi8(-128);
        for half in 0..2 {
            let row = |row: usize| _mm_loadu_si128(from.add(row * row_bytes + 16 * half).cast());
            // Rows j and j + 4 share a register, so that the quads of four rows below, which are
            // made within halves of registers, are those of all eight. The second one is inserted
            // as it is loaded, which takes no shuffle.
            let pair = |j: usize| _mm256_xor_si256(_mm256_set_m128i(row(j + 4), row(j)), sign);
            let (a, b, c, d) = (pair(0), pair(1), pair(2), pair(3));
            let (low_ab, high_ab) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
            let (low_cd, high_cd) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
            let quads = [
                _mm256_unpacklo_epi64(low_ab, low_cd),
                _mm256_unpackhi_epi64(low_ab, low_cd),
                _mm256_unpacklo_epi64(high_ab, high_cd),
                _mm256_unpackhi_epi64(high_ab, high_cd),
            ];
            for (k, quad) in quads.into_iter().enumerate() {
                _mm256_store_si256(to.add((4 * half + k) * PANEL).cast(), quad);
            }
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
/// - The CPU supports AVX-VNNI, AVX2, FMA and F16C.
#[allow(clippy::too_many_arguments)]
#[target_feature(enable = "avxvnni,avx2,fma,f16c")]
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
    if !add {
        // SAFETY: the caller guarantees that these values can be written. Zeros are the sums
        // before the first block.
        unsafe { out.write_bytes(0, tokens * PANEL) };
    }
    let mut token = 0;
    // Tiles are as even as possible: 4 tokens become 2 + 2, since a tile of 1 waits for the latency
    // of its sums.
    let tiles = tokens.div_ceil(TILE);
    for index in 0..tiles {
        let size = (tokens - token).div_ceil(tiles - index);
        // SAFETY: the tile's tokens are among the `tokens` that the caller guarantees.
        unsafe {
            let activations = activations.add(token * TERMS);
            let out = out.add(token * PANEL);
            match size {
                1 => tile::<1, TERMS>(panel, blocks, activations, stride, out, prefetcher),
                2 => tile::<2, TERMS>(panel, blocks, activations, stride, out, prefetcher),
                _ => tile::<TILE, TERMS>(panel, blocks, activations, stride, out, prefetcher),
            }
        }
        token += size;
    }
}

/// Adds the product of one tile of `TOKENS` tokens to `out`.
///
/// # Safety
///
/// As for [`gemm`] with `tokens = TOKENS` and `add`.
#[inline]
#[target_feature(enable = "avxvnni,avx2,fma,f16c")]
unsafe fn tile<const TOKENS: usize, const TERMS: usize>(
    panel: *const Line,
    blocks: usize,
    activations: *const ActivationBlock,
    stride: usize,
    out: *mut f32,
    prefetcher: &mut Prefetcher<'_>,
) {
    // SAFETY: `token < TOKENS`, each of the `blocks` rounds advances by one block, and
    // `step < BLOCK / 4`, so each access lies within the lengths that the caller guarantees. Lines
    // are aligned.
    unsafe {
        let mut weights = panel.cast::<__m256i>();
        let mut block_of_tokens = activations;
        for _ in 0..blocks {
            let mut products = [[_mm256_setzero_si256(); QUARTERS]; TOKENS];
            // Not in the loop below, where a branch makes the compiler keep sums in memory.
            for _ in 0..TERMS {
                prefetcher.step();
            }
            for term in 0..TERMS {
                for (token, product) in products.iter_mut().enumerate() {
                    let block = block_of_tokens.add(token * TERMS + term);
                    let correction = _mm256_set1_epi32((*block).correction);
                    for product in product {
                        *product = if term == 0 {
                            correction
                        } else {
                            _mm256_add_epi32(_mm256_slli_epi32::<8>(*product), correction)
                        };
                    }
                }
                for step in 0..BLOCK / 4 {
                    let mut fours = [_mm256_setzero_si256(); TOKENS];
                    for (token, four) in fours.iter_mut().enumerate() {
                        let block = block_of_tokens.add(token * TERMS + term);
                        let values = (&raw const (*block).values).cast::<i32>().add(step);
                        *four = _mm256_set1_epi32(values.read_unaligned());
                    }
                    for quarter in 0..QUARTERS {
                        let rows = _mm256_load_si256(weights.add(QUARTERS * step + quarter));
                        for (product, &four) in products.iter_mut().zip(&fours) {
                            product[quarter] =
                                _mm256_dpbusd_avx_epi32(product[quarter], rows, four);
                        }
                    }
                    for product in &mut products {
                        *product = in_registers(*product);
                    }
                }
            }
            let scales = weights.add(BLOCK / 4 * QUARTERS).cast::<__m128i>();
            for (token, product) in products.into_iter().enumerate() {
                let factor = (*block_of_tokens.add(token * TERMS)).scale.factor();
                add_scaled(product, scales, factor, out.add(token * PANEL));
            }
            weights = weights.add(PANEL_LINES * size_of::<Line>() / size_of::<__m256i>());
            block_of_tokens = block_of_tokens.wrapping_add(stride);
        }
    }
}

/// Scales the integers of one block and token and adds them to its float sums:
/// `out[r] += (product[r] × factor) × weight scale[r]`, the product in parentheses and the sum
/// rounded once each.
///
/// # Safety
///
/// - `scales` is aligned to 16 bytes and valid for reading [`PANEL`] half-precision values.
/// - `out` is valid for reading and writing [`PANEL`] values.
/// - The CPU supports AVX2, FMA and F16C.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn add_scaled(
    product: [__m256i; QUARTERS],
    scales: *const __m128i,
    factor: f32,
    out: *mut f32,
) {
    // SAFETY: the quarters make up `PANEL` values, which the caller guarantees.
    unsafe {
        let factor = _mm256_set1_ps(factor);
        for (quarter, product) in product.into_iter().enumerate() {
            let out = out.add(8 * quarter);
            let product = _mm256_mul_ps(_mm256_cvtepi32_ps(product), factor);
            let scales = _mm256_cvtph_ps(_mm_load_si128(scales.add(quarter)));
            let sum = _mm256_fmadd_ps(product, scales, _mm256_loadu_ps(out));
            _mm256_storeu_ps(out, sum);
        }
    }
}

/// No instruction, but a place where these sums must be in registers, and all that was written in
/// memory. Without it the compiler unrolls the steps, holds the float sums across blocks and moves
/// multiply-adds down to where their sums are converted; for that it keeps up to 22 vectors a block
/// on the stack.
///
/// # Safety
///
/// The CPU supports AVX2.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn in_registers(sums: [__m256i; QUARTERS]) -> [__m256i; QUARTERS] {
    let [mut a, mut b, mut c, mut d] = sums;
    // SAFETY: a comment is no instruction.
    unsafe {
        asm!(
            "/* {a} {b} {c} {d} */",
            a = inout(ymm_reg) a,
            b = inout(ymm_reg) b,
            c = inout(ymm_reg) c,
            d = inout(ymm_reg) d,
            options(nostack, preserves_flags),
        );
    }
    [a, b, c, d]
}
