//! The kernels of one instruction set behind safe functions that assert every shape.

use crate::Isa;
use crate::ahead::Ahead;
use crate::layout::{
    ActivationBlock, Activations, BLOCK, Line, MAX_HEAD_DIM, MAX_KEYS, PANEL, Q8_0_BYTES, Q8Rows,
};
use crate::vector::LANES;
use std::ops::Range;

type Gemm = unsafe fn(
    *const Line,
    usize,
    *const ActivationBlock,
    usize,
    usize,
    bool,
    *mut f32,
    &mut Ahead<'_>,
);

type Attention =
    unsafe fn(*const i16, usize, *const f32, usize, *const i32, *const f32, usize, *mut f32, usize);

/// The functions of an instruction set; `table::define_table` fills it.
#[allow(clippy::type_complexity)]
pub(crate) struct Functions {
    pub isa: Isa,
    pub panel_lines: usize,
    pub pack_panel: unsafe fn(*const u8, usize, usize, *mut Line, &mut Ahead<'_>),
    pub gemm: [Gemm; 2],
    pub attention: Attention,
    pub add_rms_norm: unsafe fn(*mut f32, *const f32, usize, *const f32, *const f32, usize, f32),
    pub rms_norm_quantise:
        unsafe fn(*const f32, *const f32, usize, f32, *mut ActivationBlock, usize),
    pub rms_norm: unsafe fn(*mut f32, *const f32, usize, f32),
    pub head_norm_rope:
        unsafe fn(*const f32, usize, *const f32, *const f32, usize, f32, *mut i16) -> f32,
    pub gelu_multiply_quantise: unsafe fn(*const f32, *const f32, usize, *mut ActivationBlock),
    pub quantise: unsafe fn(*const f32, usize, usize, *mut ActivationBlock, usize),
    pub softmax: unsafe fn(*const f32, usize, *mut i16) -> i32,
    pub pack_values: unsafe fn(*const f32, usize, *mut i32, *mut f32),
    pub dequantise_q8_0: unsafe fn(*const u8, usize, f32, *mut f32),
    pub accumulate: unsafe fn(*mut f32, *const f32, usize),
}

/// The kernels of one instruction set. Having one proves that the CPU can run it.
///
/// Sizes that do not fit are a bug of the caller and panic before anything is read or written.
#[derive(Clone, Copy)]
pub struct Kernels(&'static Functions);

impl std::fmt::Debug for Kernels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Kernels").field(&self.isa()).finish()
    }
}

/// A row in pieces of 32 values, as the row operations read it.
///
/// A plain row has its pieces next to each other; one token's row in the output of a matrix product, which lies panel
/// after panel, has them `32 * tokens` values apart.
#[derive(Clone, Copy, Debug)]
pub struct Pieces<'a> {
    values: &'a [f32],
    stride: usize,
    count: usize,
}

impl<'a> Pieces<'a> {
    /// `count` pieces, `stride` values apart, the first at the start of `values`.
    ///
    /// # Panics
    ///
    /// If the last piece does not end inside `values`, or pieces overlap.
    pub fn new(values: &'a [f32], stride: usize, count: usize) -> Self {
        assert!(stride >= BLOCK || count <= 1, "pieces overlap");
        assert!(
            fit(count, stride, BLOCK, values.len()),
            "{count} pieces {stride} apart do not fit {} values",
            values.len()
        );
        Pieces {
            values,
            stride,
            count,
        }
    }

    /// `sum += self`.
    ///
    /// # Panics
    ///
    /// If `sum` is not as long as the row.
    pub fn add_to(self, sum: &mut [f32]) {
        assert_eq!(sum.len(), self.count * BLOCK);
        for (piece, sum) in sum.chunks_exact_mut(BLOCK).enumerate() {
            for (sum, value) in sum.iter_mut().zip(&self.values[piece * self.stride..]) {
                *sum += value;
            }
        }
    }
}

/// Whether `count` runs of `length`, `stride` apart, end within `available`, whatever the numbers.
fn fit(count: usize, stride: usize, length: usize, available: usize) -> bool {
    let last = stride.checked_mul(count.saturating_sub(1));
    let end = last.and_then(|last| last.checked_add(length));
    count == 0 || end.is_some_and(|end| end <= available)
}

/// Blocks of several pieces, `stride` apart, to be written.
#[track_caller]
fn assert_blocks(out: &[ActivationBlock], pieces: usize, stride: usize, terms: usize) {
    assert!(stride >= terms, "blocks overlap");
    assert!(
        fit(pieces, stride, terms, out.len()),
        "{pieces} blocks {stride} apart do not fit {}",
        out.len()
    );
}

/// Number of pieces of a row, which must be whole.
#[track_caller]
fn pieces_of(length: usize) -> usize {
    assert_eq!(length % BLOCK, 0, "rows are multiples of {BLOCK}");
    length / BLOCK
}

// SAFETY of the calls below: a table is only reachable through `for_isa`, which has asked the CPU for the
// instruction set; the asserts before each call cover the ranges that the kernel's safety section names.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Kernels {
    /// The kernels of `isa`, or `None` where the CPU cannot run them.
    pub fn for_isa(isa: Isa) -> Option<Kernels> {
        isa.is_supported().then_some(match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => Kernels(&crate::avx512::TABLE),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Kernels(&crate::avx2::TABLE),
            _ => Kernels(&crate::scalar::TABLE),
        })
    }

    /// The kernels of the fastest supported instruction set.
    pub fn detect() -> Kernels {
        Kernels::for_isa(Isa::detect()).unwrap_or(Kernels(&crate::scalar::TABLE))
    }

    /// Which instruction set these are for.
    pub fn isa(&self) -> Isa {
        self.0.isa
    }

    /// Lines that one packed panel of `columns` columns takes.
    pub fn panel_lines(&self, columns: usize) -> usize {
        pieces_of(columns) * self.0.panel_lines
    }

    /// Packs `blocks` of 32 columns of 32 rows of Q8_0 weights for [`Kernels::gemm`], asking for what is `ahead` on the way.
    ///
    /// The rows are read side by side: have them in the cache, see [`crate::stream`].
    ///
    /// # Panics
    ///
    /// If `rows` is not 32 whole rows of whole blocks with `blocks` among them, or `panel` is shorter than
    /// [`Kernels::panel_lines`] of their columns.
    pub fn pack_panel(
        &self,
        rows: Q8Rows<'_>,
        blocks: Range<usize>,
        panel: &mut [Line],
        ahead: &mut Ahead<'_>,
    ) {
        assert_eq!(rows.row_bytes % Q8_0_BYTES, 0, "a row is whole blocks");
        assert!(blocks.start <= blocks.end && blocks.end <= rows.row_bytes / Q8_0_BYTES);
        assert_eq!(
            Some(rows.bytes.len()),
            rows.row_bytes.checked_mul(PANEL),
            "a panel is {PANEL} rows"
        );
        assert!(panel.len() >= blocks.len() * self.0.panel_lines);
        unsafe {
            (self.0.pack_panel)(
                rows.bytes.as_ptr().add(blocks.start * Q8_0_BYTES),
                rows.row_bytes,
                blocks.len(),
                panel.as_mut_ptr(),
                ahead,
            )
        }
    }

    /// Product of a packed panel with the activations of `tokens`: `out[t][r]`, 32 values a token. Asks for what is
    /// `ahead` on the way.
    ///
    /// `out[t][r] = Σ_b f32(Σ_k w[r][b][k] a[t][b][k]) × (weight scale × activation scale)`: integer sums within a block
    /// of 32, then one fused multiply-add a block, blocks in order. Two terms make the integer `256 × first + second`.
    ///
    /// `panel` holds `blocks` of each row. A row may be multiplied in several calls, its blocks in order: all but the first
    /// add to what `out` has, with the bits of one call.
    ///
    /// # Panics
    ///
    /// If the panel, the activations and `out` do not fit each other.
    pub fn gemm(
        &self,
        panel: &[Line],
        activations: Activations<'_>,
        blocks: Range<usize>,
        tokens: Range<usize>,
        out: &mut [f32],
        ahead: &mut Ahead<'_>,
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
        // With a block a row there are as many blocks as tokens and terms say, whatever the numbers.
        assert!(
            !blocks.is_empty(),
            "no blocks of {} to multiply",
            activations.blocks.len()
        );
        let stride = activations.tokens * terms;
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
                ahead,
            )
        }
    }

    /// `x += rms_norm(y + base) * weight`, or `rms_norm(y)` without a base.
    ///
    /// # Panics
    ///
    /// If the lengths differ or are no multiple of 32.
    pub fn add_rms_norm(
        &self,
        x: &mut [f32],
        y: Pieces<'_>,
        base: Option<&[f32]>,
        weight: &[f32],
        eps: f32,
    ) {
        let pieces = pieces_of(x.len());
        assert!(y.count == pieces && weight.len() == x.len());
        assert!(base.is_none_or(|base| base.len() == x.len()));
        unsafe {
            (self.0.add_rms_norm)(
                x.as_mut_ptr(),
                y.values.as_ptr(),
                y.stride,
                base.map_or(std::ptr::null(), <[f32]>::as_ptr),
                weight.as_ptr(),
                pieces,
                eps,
            )
        }
    }

    /// `out = quantise(rms_norm(x) * weight)`, one block a piece, `out_stride` blocks apart.
    ///
    /// # Panics
    ///
    /// If the lengths do not fit.
    pub fn rms_norm_quantise(
        &self,
        x: &[f32],
        weight: &[f32],
        eps: f32,
        out: &mut [ActivationBlock],
        out_stride: usize,
    ) {
        let pieces = pieces_of(x.len());
        assert_eq!(weight.len(), x.len());
        assert_blocks(out, pieces, out_stride, 1);
        unsafe {
            (self.0.rms_norm_quantise)(
                x.as_ptr(),
                weight.as_ptr(),
                pieces,
                eps,
                out.as_mut_ptr(),
                out_stride,
            )
        }
    }

    /// `x = rms_norm(x) * weight`, in place.
    ///
    /// # Panics
    ///
    /// If the lengths differ or are no multiple of 32.
    pub fn rms_norm(&self, x: &mut [f32], weight: &[f32], eps: f32) {
        assert_eq!(weight.len(), x.len());
        unsafe { (self.0.rms_norm)(x.as_mut_ptr(), weight.as_ptr(), pieces_of(x.len()), eps) }
    }

    /// One head: `out = quantise(rope(rms_norm(x) * weight))` as INT16 up to ±2047, returning the scale.
    ///
    /// `rope` holds the cosines of the position's angles, then the sines.
    ///
    /// # Panics
    ///
    /// If the lengths differ or exceed [`MAX_HEAD_DIM`].
    pub fn head_norm_rope(
        &self,
        x: Pieces<'_>,
        weight: &[f32],
        rope: &[f32],
        eps: f32,
        out: &mut [i16],
    ) -> f32 {
        let pieces = pieces_of(out.len());
        assert!(out.len() <= MAX_HEAD_DIM && x.count == pieces);
        assert!(weight.len() == out.len() && rope.len() == out.len());
        unsafe {
            (self.0.head_norm_rope)(
                x.values.as_ptr(),
                x.stride,
                weight.as_ptr(),
                rope.as_ptr(),
                pieces,
                eps,
                out.as_mut_ptr(),
            )
        }
    }

    /// `out[t] = quantise(gelu(gate[t]) * up[t])`, 32 values a token.
    ///
    /// # Panics
    ///
    /// If the lengths differ.
    pub fn gelu_multiply_quantise(&self, gate: &[f32], up: &[f32], out: &mut [ActivationBlock]) {
        assert!(gate.len() == out.len() * BLOCK && up.len() == gate.len());
        unsafe {
            (self.0.gelu_multiply_quantise)(gate.as_ptr(), up.as_ptr(), out.len(), out.as_mut_ptr())
        }
    }

    /// A plain row as INT8 of one or two terms, the blocks of a piece `out_stride` blocks apart.
    ///
    /// # Panics
    ///
    /// If the lengths do not fit.
    pub fn quantise(
        &self,
        x: &[f32],
        terms: usize,
        out: &mut [ActivationBlock],
        out_stride: usize,
    ) {
        let pieces = pieces_of(x.len());
        assert!((1..=2).contains(&terms), "one or two terms");
        assert_blocks(out, pieces, out_stride, terms);
        unsafe { (self.0.quantise)(x.as_ptr(), pieces, terms, out.as_mut_ptr(), out_stride) }
    }

    /// Softmax over `scores[range]` as integer weights, [`crate::WEIGHT_MAX`] for the largest, 0 outside the range; returns their sum.
    ///
    /// # Panics
    ///
    /// If the lengths differ, are no multiple of 16 or exceed [`MAX_KEYS`], or the range is empty or outside.
    pub fn softmax(&self, scores: &mut [f32], range: Range<usize>, out: &mut [i16]) -> i32 {
        assert!(
            scores.len() == out.len() && out.len().is_multiple_of(LANES) && out.len() <= MAX_KEYS
        );
        assert!(range.start < range.end && range.end <= scores.len());
        scores[..range.start].fill(f32::NEG_INFINITY);
        scores[range.end..].fill(f32::NEG_INFINITY);
        unsafe { (self.0.softmax)(scores.as_ptr(), scores.len(), out.as_mut_ptr()) }
    }

    /// Query times key in INT16 for rows of queries and one panel of 32 keys:
    /// `out[q][k] = f32(Σ query[q] key[k]) × key_scales[k] × query_scales[q]`.
    ///
    /// `keys` holds `dim / 2` steps of 32 lanes, a lane two neighbouring values of its key; see [`pack_keys`].
    /// Query `q` starts at `q * dim`; its 32 scores at `q * out_stride`.
    ///
    /// # Panics
    ///
    /// If the lengths do not fit.
    pub fn attention_scores(
        &self,
        queries: &[i16],
        query_scales: &[f32],
        keys: &[i32],
        key_scales: &[f32],
        out: &mut [f32],
        out_stride: usize,
    ) {
        let count = query_scales.len();
        let pairs = keys.len() / PANEL;
        assert!(2 * pairs <= MAX_HEAD_DIM && keys.len() == pairs * PANEL);
        assert!(queries.len() == count * 2 * pairs && key_scales.len() == PANEL);
        assert!(out_stride >= PANEL && fit(count, out_stride, PANEL, out.len()));
        unsafe {
            (self.0.attention)(
                queries.as_ptr(),
                2 * pairs,
                query_scales.as_ptr(),
                count,
                keys.as_ptr(),
                key_scales.as_ptr(),
                pairs,
                out.as_mut_ptr(),
                out_stride,
            )
        }
    }

    /// Packs the values of one panel of 32 channels for [`Kernels::attention_weighted_sum`].
    ///
    /// `values` is 32 values a token; `packed` takes `ceil(tokens / 2) * 32` lanes, `scales` 32 scales and 32
    /// means: the packed integers are what is left of the values without the mean of their channel.
    ///
    /// # Panics
    ///
    /// If the lengths do not fit.
    pub fn pack_values(&self, values: &[f32], packed: &mut [i32], scales: &mut [f32]) {
        let tokens = values.len() / PANEL;
        assert_eq!(values.len(), tokens * PANEL);
        assert!(packed.len() >= tokens.div_ceil(2) * PANEL && scales.len() == 2 * PANEL);
        unsafe {
            (self.0.pack_values)(
                values.as_ptr(),
                tokens,
                packed.as_mut_ptr(),
                scales.as_mut_ptr(),
            )
        }
    }

    /// Softmax weights times values for one panel of 32 channels, as they differ from their mean:
    /// `out[r][c] = f32(Σ_key weights[r][key] values[key][c]) × scales[c] × factors[r]`.
    ///
    /// Row `r` of the weights starts at `r * weight_stride` and counts `packed.len() / 32` lanes of tokens; its 32
    /// outputs start at `r * out_stride`.
    ///
    /// # Panics
    ///
    /// If the lengths do not fit.
    #[allow(clippy::too_many_arguments)]
    pub fn attention_weighted_sum(
        &self,
        weights: &[i16],
        weight_stride: usize,
        factors: &[f32],
        packed: &[i32],
        scales: &[f32],
        out: &mut [f32],
        out_stride: usize,
    ) {
        let count = factors.len();
        let steps = packed.len() / PANEL;
        let keys = 2 * steps;
        assert!(packed.len() == steps * PANEL && scales.len() == PANEL && keys <= MAX_KEYS);
        assert!(count == 0 || weight_stride >= keys);
        assert!(fit(count, weight_stride, keys, weights.len()));
        assert!(out_stride >= PANEL && fit(count, out_stride, PANEL, out.len()));
        unsafe {
            (self.0.attention)(
                weights.as_ptr(),
                weight_stride,
                factors.as_ptr(),
                count,
                packed.as_ptr(),
                scales.as_ptr(),
                steps,
                out.as_mut_ptr(),
                out_stride,
            )
        }
    }

    /// A Q8_0 row, dequantised and multiplied by `factor`.
    ///
    /// # Panics
    ///
    /// If the row is not as long as `out`.
    pub fn dequantise_q8_0(&self, row: &[u8], factor: f32, out: &mut [f32]) {
        let pieces = pieces_of(out.len());
        assert_eq!(row.len(), pieces * Q8_0_BYTES);
        unsafe { (self.0.dequantise_q8_0)(row.as_ptr(), pieces, factor, out.as_mut_ptr()) }
    }

    /// `sum += x`.
    ///
    /// # Panics
    ///
    /// If the lengths differ or are no multiple of 32.
    pub fn accumulate(&self, sum: &mut [f32], x: &[f32]) {
        assert_eq!(sum.len(), x.len());
        unsafe { (self.0.accumulate)(sum.as_mut_ptr(), x.as_ptr(), pieces_of(sum.len())) }
    }
}

/// Puts up to 32 keys of `dim` INT16 values in the order of [`Kernels::attention_scores`]; lanes beyond the last key keep
/// what they hold.
///
/// # Panics
///
/// If `keys` is not whole keys, more than 32, or `packed` is not `dim / 2 * 32` lanes.
pub fn pack_keys(keys: &[i16], dim: usize, packed: &mut [i32]) {
    assert!(
        dim > 0
            && dim.is_multiple_of(2)
            && keys.len().is_multiple_of(dim)
            && keys.len() / dim <= PANEL
    );
    assert_eq!(packed.len(), dim / 2 * PANEL);
    for (lane, key) in keys.chunks_exact(dim).enumerate() {
        for (lanes, pair) in packed.chunks_exact_mut(PANEL).zip(key.chunks_exact(2)) {
            lanes[lane] = i32::from(pair[0] as u16) | i32::from(pair[1]) << 16;
        }
    }
}
