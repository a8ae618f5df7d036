//! The matrix product: the specification.

use crate::f16::f16_to_f32;
use crate::layout::{
    ActivationBlock, BLOCK, Line, PANEL, Q8_0_BYTES, Q8_0_SCALE_BYTES, packed_block_lines,
};
use crate::prefetch::Prefetcher;

/// Lines of a packed block: the bytes of each row, then the f16 scales.
pub const PANEL_LINES: usize = packed_block_lines(1);

/// Packs a panel block by block by copying its rows; see [`crate::Kernels::pack_panel`].
///
/// # Safety
///
/// - `rows + row * row_bytes` is valid for reading `blocks * Q8_0_BYTES` bytes for each `row` below
///   `PANEL`.
/// - `panel` is valid for writing `blocks * PANEL_LINES` lines.
pub unsafe fn pack_panel(
    rows: *const u8,
    row_bytes: usize,
    blocks: usize,
    panel: *mut Line,
    _prefetcher: &mut Prefetcher<'_>,
) {
    // SAFETY: `block < blocks` and `row < PANEL`, so what is read is a block of a row, and what is
    // written the rows and scales that `PANEL_LINES` has room for.
    unsafe {
        for block in 0..blocks {
            let to = panel.add(block * PANEL_LINES).cast::<u8>();
            let scales = to.add(PANEL * BLOCK).cast::<u16>();
            for row in 0..PANEL {
                let from = rows.add(row * row_bytes + block * Q8_0_BYTES);
                from.add(Q8_0_SCALE_BYTES)
                    .copy_to_nonoverlapping(to.add(row * BLOCK), BLOCK);
                *scales.add(row) = from.cast::<u16>().read_unaligned();
            }
        }
    }
}

/// `out[t][r] = Σ_b (f32(Σ_k w[r][b][k] a[t][b][k]) × activation scale) × weight scale`, the blocks
/// in order, each with one product and one fused multiply-add; see [`crate::Kernels::gemm`].
/// `panel` is the output of [`pack_panel`]. With `add`, the sums start with the contents of `out`.
///
/// # Safety
///
/// - `panel` is valid for reading `blocks * PANEL_LINES` lines.
/// - `activations + b * stride + t * TERMS` is valid for reading `TERMS` blocks for each `b` below
///   `blocks` and `t` below `tokens`.
/// - `out` is valid for writing `tokens * PANEL` values, and for reading them if `add`.
#[allow(clippy::too_many_arguments)]
pub unsafe fn gemm<const TERMS: usize>(
    panel: *const Line,
    blocks: usize,
    activations: *const ActivationBlock,
    stride: usize,
    tokens: usize,
    add: bool,
    out: *mut f32,
    _prefetcher: &mut Prefetcher<'_>,
) {
    // SAFETY: `block < blocks`, `token < tokens` and `row < PANEL`, so each access lies within the
    // lengths that the caller guarantees.
    unsafe {
        for token in 0..tokens {
            let out = out.add(token * PANEL).cast::<[f32; PANEL]>();
            let mut sums = if add {
                out.read_unaligned()
            } else {
                [0.0; PANEL]
            };
            for block in 0..blocks {
                let weights = panel.add(block * PANEL_LINES).cast::<u8>();
                let scales = weights.add(PANEL * BLOCK).cast::<u16>();
                let terms = activations.add(block * stride + token * TERMS);
                let factor = (*terms).scale.factor();
                for (row, sum) in sums.iter_mut().enumerate() {
                    let weights = &*weights.add(row * BLOCK).cast::<[i8; BLOCK]>();
                    let mut product = 0i32;
                    for term in 0..TERMS {
                        let values = &(*terms.add(term)).values;
                        product = (product << 8) + dot(weights, values);
                    }
                    let scale = f16_to_f32(*scales.add(row));
                    *sum = (product as f32 * factor).mul_add(scale, *sum);
                }
            }
            out.write_unaligned(sums);
        }
    }
}

/// `Σ weights[k] values[k]`. Not inlined: inside of the loops around it the compiler does not always
/// vectorize it, which takes three times as long.
#[inline(never)]
fn dot(weights: &[i8; BLOCK], values: &[i8; BLOCK]) -> i32 {
    std::iter::zip(weights, values)
        .map(|(weight, value)| i32::from(*weight) * i32::from(*value))
        .sum()
}
