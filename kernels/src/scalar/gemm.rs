//! The matrix product, as the specification states it.

use crate::ahead::Ahead;
use crate::layout::{ActivationBlock, BLOCK, Line, PANEL, Q8_0_BYTES};
use crate::rows::f16_to_f32;

/// Lines of a packed block: 32 rows of 32 bytes, then 32 scales.
pub const PANEL_LINES: usize = 18;

/// Copies a panel of 32 rows block by block; see [`crate::Kernels::pack_panel`].
///
/// # Safety
///
/// `rows` holds 32 rows of `row_bytes` bytes, each at least `blocks` Q8_0 blocks; `panel` `blocks * PANEL_LINES` lines.
pub unsafe fn pack_panel(
    rows: *const u8,
    row_bytes: usize,
    blocks: usize,
    panel: *mut Line,
    _ahead: &mut Ahead<'_>,
) {
    // SAFETY: the offsets stay inside what the caller vouches for.
    unsafe {
        for block in 0..blocks {
            let to = panel.add(block * PANEL_LINES).cast::<u8>();
            let scales = to.add(PANEL * BLOCK).cast::<f32>();
            for row in 0..PANEL {
                let from = rows.add(row * row_bytes + block * Q8_0_BYTES);
                from.add(2)
                    .copy_to_nonoverlapping(to.add(row * BLOCK), BLOCK);
                *scales.add(row) = f16_to_f32(from.cast::<u16>().read_unaligned());
            }
        }
    }
}

/// `out[t][r] = Σ_b f32(Σ_k w[r][b][k] a[t][b][k]) × (weight scale × activation scale)`, the blocks in order, each by one
/// fused multiply-add; see [`crate::Kernels::gemm`].
///
/// # Safety
///
/// `panel` holds `blocks * PANEL_LINES` lines; block `b` of token `t` is at `activations + b * stride + t * TERMS`;
/// `out` has `tokens * 32` values, with sums of earlier blocks to be added to if `add`.
#[allow(clippy::too_many_arguments)]
pub unsafe fn gemm<const TERMS: usize>(
    panel: *const Line,
    blocks: usize,
    activations: *const ActivationBlock,
    stride: usize,
    tokens: usize,
    add: bool,
    out: *mut f32,
    _ahead: &mut Ahead<'_>,
) {
    // SAFETY: the offsets stay inside what the caller vouches for.
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
                let scales = weights.add(PANEL * BLOCK).cast::<f32>();
                let terms = activations.add(block * stride + token * TERMS);
                for (row, sum) in sums.iter_mut().enumerate() {
                    let weights = &*weights.add(row * BLOCK).cast::<[i8; BLOCK]>();
                    let mut product = 0i32;
                    for term in 0..TERMS {
                        let values = &(*terms.add(term)).values;
                        let dot: i32 = std::iter::zip(weights, values)
                            .map(|(weight, value)| i32::from(*weight) * i32::from(*value))
                            .sum();
                        product = (product << 8) + dot;
                    }
                    *sum = (product as f32).mul_add(*scales.add(row) * (*terms).scale, *sum);
                }
            }
            out.write_unaligned(sums);
        }
    }
}
