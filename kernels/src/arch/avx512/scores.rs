//! Queries times keys in INT16 on 512-bit registers, with `vpdpwssd`.
//!
//! LLVM splits the intrinsic of `vpdpwssd` into `vpmaddwd` and `vpaddd` wherever it expects the
//! addition to shorten a chain. Zen 4 then takes 16.2 cycles for what 12 `vpdpwssd` do in 12
//! (docs/KERNELS.md), so the instruction is written as assembly.
//!
//! 12 rows × [`PANEL`] lanes take 24 accumulators: two loads and twelve broadcasts feed 24
//! multiply-adds.

use std::arch::asm;
use std::arch::x86_64::*;

use crate::layout::PANEL;

/// Rows of a tile.
const TILE: usize = 12;

/// Computes what `scores` in `arch::scalar::scores` does.
///
/// # Safety
///
/// - `rows + r * row_stride` is valid for reading `2 * steps` values for each `r` below `count`.
/// - `row_scales` is valid for reading `count` values.
/// - `packed` is valid for reading `steps * PANEL` values.
/// - `lane_scales` is valid for reading `PANEL` values.
/// - `out + r * out_stride` is valid for writing `PANEL` values for each `r` below `count`.
/// - The CPU supports AVX-512 F, BW, DQ, VL and VNNI.
#[allow(clippy::too_many_arguments)]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub unsafe fn scores(
    rows: *const i16,
    row_stride: usize,
    row_scales: *const f32,
    count: usize,
    packed: *const i32,
    lane_scales: *const f32,
    steps: usize,
    out: *mut f32,
    out_stride: usize,
) {
    /// The tile of `ROWS` rows.
    macro_rules! tile {
        ($rows:literal, $row:expr) => {
            tile::<$rows>(
                rows.add($row * row_stride),
                row_stride,
                row_scales.add($row),
                packed,
                lane_scales,
                steps,
                out.add($row * out_stride),
                out_stride,
            )
        };
    }
    let mut row = 0;
    let tiles = count.div_ceil(TILE);
    for index in 0..tiles {
        let size = (count - row).div_ceil(tiles - index);
        // SAFETY: the tile's rows are among the `count` that the caller guarantees.
        unsafe {
            match size {
                1 => tile!(1, row),
                2 => tile!(2, row),
                3 => tile!(3, row),
                4 => tile!(4, row),
                5 => tile!(5, row),
                6 => tile!(6, row),
                7 => tile!(7, row),
                8 => tile!(8, row),
                9 => tile!(9, row),
                10 => tile!(10, row),
                11 => tile!(11, row),
                _ => tile!(12, row),
            }
        }
        row += size;
    }
}

/// The product of one tile of `ROWS` rows.
///
/// # Safety
///
/// As for [`scores`] with `count = ROWS`.
#[allow(clippy::too_many_arguments)]
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn tile<const ROWS: usize>(
    rows: *const i16,
    row_stride: usize,
    row_scales: *const f32,
    packed: *const i32,
    lane_scales: *const f32,
    steps: usize,
    out: *mut f32,
    out_stride: usize,
) {
    // SAFETY: `row < ROWS` and `step < steps`, and the parts of a row of lanes make up `PANEL`, so
    // each access lies within the lengths that the caller guarantees.
    unsafe {
        let mut sums = [[_mm512_setzero_si512(); 2]; ROWS];
        for step in 0..steps {
            let low = _mm512_loadu_si512(packed.add(step * PANEL).cast());
            let high = _mm512_loadu_si512(packed.add(step * PANEL + 16).cast());
            for (row, sum) in sums.iter_mut().enumerate() {
                let two = rows.add(row * row_stride + 2 * step).cast::<i32>();
                let two = _mm512_set1_epi32(two.read_unaligned());
                sum[0] = dpwssd(sum[0], low, two);
                sum[1] = dpwssd(sum[1], high, two);
            }
        }
        for half in 0..2 {
            let lane_scales = _mm512_loadu_ps(lane_scales.add(16 * half));
            for (row, sum) in sums.iter().enumerate() {
                let scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(sum[half]), lane_scales);
                let scaled = _mm512_mul_ps(scaled, _mm512_set1_ps(*row_scales.add(row)));
                _mm512_storeu_ps(out.add(row * out_stride + 16 * half), scaled);
            }
        }
    }
}

/// `sum + a0 b0 + a1 b1` for the pairs of 16-bit integers of each lane, in one instruction.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn dpwssd(mut sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: the instruction reads and writes nothing but the three registers, and the CPU has it,
    // as the target features say.
    unsafe {
        asm!(
            "vpdpwssd {sum}, {a}, {b}",
            sum = inout(zmm_reg) sum,
            a = in(zmm_reg) a,
            b = in(zmm_reg) b,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}
