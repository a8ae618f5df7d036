//! Matrix products with Q8_0 weights.

use std::ops::Range;

use super::Kernels;
use crate::layout::{ActivationChunk, Line, PANEL, Q8_0_BYTES, Q8Rows};
use crate::prefetch::Prefetcher;

impl Kernels {
    /// Packs the given `blocks` of columns of [`PANEL`] rows of Q8_0 weights for
    /// [`Kernels::gemm`], with one step of the prefetcher a block.
    ///
    /// The rows are read side by side: they should be in the cache, see [`crate::stream`].
    ///
    /// # Panics
    ///
    /// If `rows` is not [`PANEL`] whole rows of whole blocks with `blocks` among them, or `panel`
    /// is shorter than [`Kernels::panel_lines`] of their columns.
    #[inline]
    pub fn pack_panel(
        &self,
        rows: Q8Rows<'_>,
        blocks: Range<usize>,
        panel: &mut [Line],
        prefetcher: &mut Prefetcher<'_>,
    ) {
        assert_eq!(rows.row_bytes % Q8_0_BYTES, 0, "a row is whole blocks");
        assert!(blocks.start <= blocks.end && blocks.end <= rows.row_bytes / Q8_0_BYTES);
        assert_eq!(
            Some(rows.bytes.len()),
            rows.row_bytes.checked_mul(PANEL),
            "a panel is {PANEL} rows"
        );
        assert!(panel.len() >= blocks.len() * self.0.panel_lines);
        // SAFETY: `self` exists, so the CPU supports the instruction set. `rows` holds
        // `PANEL` rows, and `blocks` lies inside each of them, so the rows that begin with block
        // `blocks.start` hold `blocks.len()` blocks; the panel has lines for as many.
        unsafe {
            (self.0.pack_panel)(
                rows.bytes.as_ptr().add(blocks.start * Q8_0_BYTES),
                rows.row_bytes,
                blocks.len(),
                panel.as_mut_ptr(),
                prefetcher,
            )
        }
    }

    /// Multiplies a packed panel by the activations of `tokens`: `out[t][r]`, [`PANEL`] values a
    /// token. Takes a step of the prefetcher for each block and term of a tile of tokens.
    ///
    /// `out[t][r] = Σ_b f32(Σ_k w[r][b][k] a[t][b][k]) × (weight scale × activation scale)`:
    /// integer sums within a block, then one fused multiply-add a block, blocks in order. With
    /// two terms the integer is `256 × first + second`.
    ///
    /// `panel` holds `blocks` of each row. A row may be multiplied in several calls, its blocks in
    /// order: all but the first add to the contents of `out`, and give the bits of one call.
    ///
    /// # Panics
    ///
    /// If the panel, the activations and `out` do not fit each other.
    #[inline]
    pub fn gemm(
        &self,
        panel: &[Line],
        activations: ActivationChunk<'_>,
        blocks: Range<usize>,
        tokens: Range<usize>,
        out: &mut [f32],
        prefetcher: &mut Prefetcher<'_>,
    ) {
        let (row_blocks, terms) = (activations.row_blocks(), activations.terms);
        assert!((1..=2).contains(&terms), "one or two terms");
        assert!(tokens.start <= tokens.end && tokens.end <= activations.tokens);
        assert!(blocks.start <= blocks.end && blocks.end <= row_blocks);
        assert!(panel.len() >= blocks.len() * self.0.panel_lines);
        assert_eq!(out.len(), tokens.len() * PANEL);
        if tokens.is_empty() {
            return;
        }
        // With at least one block a row there are at least `tokens * terms` blocks, so the stride
        // below does not overflow.
        assert!(
            !blocks.is_empty(),
            "no blocks of {} to multiply",
            activations.blocks.len()
        );
        let stride = activations.tokens * terms;
        // SAFETY: `self` exists, so the CPU supports the instruction set. The panel has
        // the lines of `blocks.len()` blocks. `row_blocks * stride` activation blocks exist, so
        // those of `blocks` and `tokens` do. `out` has `PANEL` values for each of `tokens`.
        unsafe {
            (self.0.gemm[terms - 1])(
                panel.as_ptr(),
                blocks.len(),
                activations
                    .blocks
                    .as_ptr()
                    .add(blocks.start * stride + tokens.start * terms),
                stride,
                tokens.len(),
                blocks.start > 0,
                out.as_mut_ptr(),
                prefetcher,
            )
        }
    }
}
