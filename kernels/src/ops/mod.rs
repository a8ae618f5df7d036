//! Row operations, written once over [`Simd`] lanes and compiled for each instruction set.
//!
//! A row consists of *pieces* of [`BLOCK`] values whose starts lie `stride` values apart: [`BLOCK`]
//! in a plain row, more in one token's row of a matrix product's output, which is stored panel
//! after panel.
//!
//! All functions are `inline(always)`: `define_table!` compiles them inside functions that enable
//! an instruction set. Besides the lengths that a safety section lists, the caller guarantees that
//! the CPU supports the instruction set of `S`.

mod accumulate;
mod activation;
mod dot;
mod exp;
mod layer_norm;
mod norm;
mod pack_values;
mod quantize;
mod rope;
mod softmax;
mod threshold;
mod unpack;

pub use accumulate::{accumulate, add};
pub use activation::{
    bias_gelu_quantize, gelu_multiply_quantize, gelu_tanh_multiply_quantize, silu_multiply_quantize,
};
pub use dot::dot_f32;
pub use layer_norm::{add_layer_norm, layer_norm, layer_norm_quantize};
pub use norm::{add_rms_norm, rms_norm, rms_norm_quantize};
pub use pack_values::pack_values;
pub use quantize::{dequantize_q8_0, quantize};
pub use rope::{head_bias, head_norm_rope, head_rope};
pub use softmax::softmax;
pub use threshold::{at_least, at_most};
pub(crate) use unpack::Format;
pub use unpack::{Iq4Nl, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, unpack};

use crate::layout::BLOCK;
use crate::prefetch::prefetch;
use crate::simd::{LANES, Simd};

/// How many tokens in advance a row that is scattered over the panels of a product's output is
/// prefetched: enough to hide the latency of memory, few enough for the L1 cache.
const PREFETCH_DISTANCE: usize = 4;

/// Prefetches the row that lies [`PREFETCH_DISTANCE`] tokens after the one at `x`: no hardware
/// prefetcher follows as many streams as there are panels. Past the last token the addresses belong
/// to another panel or to nothing, which is harmless.
#[inline(always)]
fn prefetch_later_row(x: *const f32, stride: usize, pieces: usize) {
    for piece in 0..pieces {
        let later = x.wrapping_add(piece * stride + PREFETCH_DISTANCE * BLOCK);
        prefetch(later.cast());
        prefetch(later.wrapping_add(LANES).cast());
    }
}

/// Returns a function that loads the piece of a given index.
///
/// # Safety
///
/// Each index that the function is called with has [`BLOCK`] readable values at
/// `x + index * stride`. The CPU supports the instruction set of `S`.
#[inline(always)]
unsafe fn pieces_at<S: Simd>(x: *const f32, stride: usize) -> impl Fn(usize) -> (S, S) {
    // SAFETY: the caller guarantees `BLOCK` readable values at the start of each piece.
    move |piece| unsafe { load_piece(x.add(piece * stride)) }
}

/// Loads one piece.
///
/// # Safety
///
/// `from` is valid for reading [`BLOCK`] values. The CPU supports the instruction set of `S`.
#[inline(always)]
unsafe fn load_piece<S: Simd>(from: *const f32) -> (S, S) {
    // SAFETY: the two loads read the `BLOCK` values that the caller guarantees.
    unsafe { (S::load(from), S::load(from.add(LANES))) }
}

/// Loads piece `piece` of `y`, and adds that of `base` unless it is null.
///
/// Not a function that [`pieces_at`] returns: where a closure is called from several places, or is larger,
/// the compiler makes a function of it that passes vectors through memory.
///
/// # Safety
///
/// `y + piece * stride` and, unless `base` is null, `base + piece * BLOCK` are valid for reading [`BLOCK`]
/// values. The CPU supports the instruction set of `S`.
#[inline(always)]
unsafe fn load_sum<S: Simd>(
    y: *const f32,
    stride: usize,
    base: *const f32,
    piece: usize,
) -> (S, S) {
    // SAFETY: the caller guarantees both pieces.
    unsafe {
        let (low, high) = load_piece::<S>(y.add(piece * stride));
        if base.is_null() {
            return (low, high);
        }
        let (base_low, base_high) = load_piece::<S>(base.add(piece * BLOCK));
        (low.add(base_low), high.add(base_high))
    }
}

const _: () = assert!(BLOCK == 2 * LANES);
