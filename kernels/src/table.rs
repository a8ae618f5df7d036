//! The function table of an instruction set, and the macro that fills it.

use crate::Isa;
use crate::block_format::BlockFormat;
use crate::layout::{ActivationBlock, Line, SoftmaxBlock};
use crate::prefetch::Prefetcher;
use crate::queries::QueryLayout;

/// The signature of `gemm` in `arch::scalar::gemm`, whose safety section holds for all of them.
pub type Gemm = unsafe fn(
    *const Line,
    usize,
    *const ActivationBlock,
    usize,
    usize,
    bool,
    *mut f32,
    &mut Prefetcher<'_>,
);

/// The signature of `scores` in `arch::scalar::scores`, whose safety section holds for all of
/// them.
pub type Scores =
    unsafe fn(*const i16, usize, *const f32, usize, *const i32, *const f32, usize, *mut f32, usize);

/// The signature of `weighted_sum` in `arch::scalar::weighted_sum`, whose safety section holds for all
/// of them.
pub type WeightedSum = unsafe fn(
    *const SoftmaxBlock,
    usize,
    *const f32,
    usize,
    *const Line,
    *const f32,
    usize,
    *mut f32,
    usize,
);

/// The signature of `gemm_i8` in `arch::scalar::gemm_i8`, whose safety section holds for all of them.
pub type GemmI8 = unsafe fn(*const i8, usize, usize, *const Line, usize, *mut i32);

/// The signature of `hamming_many` in `arch::scalar::hamming`, whose safety section holds for all of
/// them.
pub type HammingMany = unsafe fn(*const u8, usize, usize, *const Line, usize, *mut u32);

/// All kernels of an instruction set.
///
/// Every function requires that the CPU supports [`isa`](Functions::isa). Beyond that, each row
/// operation requires what its namesake in [`crate::ops`] lists, and the others what their
/// namesakes in `arch::scalar` list.
#[allow(clippy::type_complexity)]
pub struct Functions {
    pub isa: Isa,
    /// Lines of one packed block of a panel.
    pub panel_lines: usize,
    pub pack_panel: unsafe fn(*const u8, usize, usize, *mut Line, &mut Prefetcher<'_>),
    /// For activations of one term and of two.
    pub gemm: [Gemm; 2],
    /// Query times key.
    pub scores: Scores,
    /// Softmax weight times value, for weights of one term and of two.
    pub weighted_sum: [WeightedSum; 2],
    /// Lines of the packed values of [`BLOCK`](crate::BLOCK) tokens.
    pub value_lines: usize,
    pub add_rms_norm: unsafe fn(*mut f32, *const f32, usize, *const f32, *const f32, usize, f32),
    pub rms_norm_quantize:
        unsafe fn(*const f32, *const f32, usize, f32, *mut ActivationBlock, usize),
    pub rms_norm: unsafe fn(*mut f32, *const f32, usize, f32),
    pub head_norm_rope:
        unsafe fn(*const f32, usize, *const f32, *const f32, usize, f32, *mut i16) -> f32,
    pub head_bias: unsafe fn(*const f32, usize, *const f32, usize, *mut i16) -> f32,
    pub head_rope: unsafe fn(*const f32, usize, *const f32, usize, *mut i16) -> f32,
    pub gelu_multiply_quantize: unsafe fn(*const f32, *const f32, usize, *mut ActivationBlock),
    pub gelu_tanh_multiply_quantize: unsafe fn(*const f32, *const f32, usize, *mut ActivationBlock),
    pub silu_multiply_quantize: unsafe fn(*const f32, *const f32, usize, *mut ActivationBlock),
    pub bias_gelu_quantize: unsafe fn(*const f32, *const f32, usize, *mut ActivationBlock),
    pub add_layer_norm:
        unsafe fn(*mut f32, *const f32, usize, *const f32, *const f32, *const f32, usize, f32),
    pub layer_norm: unsafe fn(*mut f32, *const f32, usize, f32),
    pub layer_norm_quantize:
        unsafe fn(*const f32, *const f32, usize, f32, *mut ActivationBlock, usize),
    pub quantize: unsafe fn(*const f32, usize, usize, *mut ActivationBlock, usize),
    pub softmax: unsafe fn(*const f32, usize, usize, usize, *mut SoftmaxBlock) -> f32,
    pub pack_values: unsafe fn(*const f32, usize, *mut i32, *mut f32),
    pub dequantize_q8_0: unsafe fn(*const u8, usize, f32, *mut f32),
    /// Of each format, in the order of [`BlockFormat::ALL`].
    pub unpack: [unsafe fn(*const u8, usize, *mut u8); BlockFormat::ALL.len()],
    pub accumulate: unsafe fn(*mut f32, *const f32, usize),
    pub add: unsafe fn(*mut f32, *const f32, usize, *const f32, usize),
    pub dot_i8: unsafe fn(*const i8, usize, usize, *const i8, *mut i32),
    /// How INT8 queries are packed.
    pub queries: QueryLayout,
    pub gemm_i8: GemmI8,
    pub hamming: unsafe fn(*const u8, usize, usize, *const u8, *mut u32),
    pub hamming_planes: unsafe fn(*const u8, usize, usize, *const u8, *mut u32),
    pub hamming_many: HammingMany,
    pub dot_f32: unsafe fn(*const f32, usize, usize, *const f32, *mut f32),
    pub at_least:
        unsafe fn(*const i32, usize, usize, *const f32, *const f32, *const f32, *mut u16) -> bool,
    pub at_most: unsafe fn(*const u32, usize, usize, *const f32, *mut u16) -> bool,
}

/// Defines `TABLE`, the functions of the instruction set in whose directory it stands: its `gemm`
/// for one term and for two, `attention` of that directory, and the row operations on its `Lanes`, compiled with the given
/// target features.
macro_rules! define_table {
    ($isa:expr, $gemm:expr; $(#[$features:meta])*) => {
        use crate::layout::{ActivationBlock, SoftmaxBlock};
        use crate::ops;
        use crate::table::Functions;

        $crate::table::row_functions! {
            $(#[$features])*;
            add_rms_norm(x: *mut f32, y: *const f32, stride: usize, base: *const f32, weight: *const f32, pieces: usize, eps: f32) -> (), Lanes;
            rms_norm_quantize(x: *const f32, weight: *const f32, pieces: usize, eps: f32, out: *mut ActivationBlock, out_stride: usize) -> (), Lanes;
            rms_norm(x: *mut f32, weight: *const f32, pieces: usize, eps: f32) -> (), Lanes;
            head_norm_rope(x: *const f32, stride: usize, weight: *const f32, rope: *const f32, pieces: usize, eps: f32, out: *mut i16) -> f32, Lanes;
            head_bias(x: *const f32, stride: usize, bias: *const f32, pieces: usize, out: *mut i16) -> f32, Lanes;
            head_rope(x: *const f32, stride: usize, rope: *const f32, pieces: usize, out: *mut i16) -> f32, Lanes;
            gelu_multiply_quantize(gate: *const f32, up: *const f32, tokens: usize, out: *mut ActivationBlock) -> (), Lanes;
            gelu_tanh_multiply_quantize(gate: *const f32, up: *const f32, tokens: usize, out: *mut ActivationBlock) -> (), Lanes;
            silu_multiply_quantize(gate: *const f32, up: *const f32, tokens: usize, out: *mut ActivationBlock) -> (), Lanes;
            bias_gelu_quantize(x: *const f32, bias: *const f32, tokens: usize, out: *mut ActivationBlock) -> (), Lanes;
            add_layer_norm(x: *mut f32, y: *const f32, stride: usize, base: *const f32, weight: *const f32, bias: *const f32, pieces: usize, eps: f32) -> (), Lanes;
            layer_norm(x: *mut f32, weight: *const f32, pieces: usize, eps: f32) -> (), Lanes;
            layer_norm_quantize(x: *const f32, weight: *const f32, pieces: usize, eps: f32, out: *mut ActivationBlock, out_stride: usize) -> (), Lanes;
            quantize(x: *const f32, pieces: usize, terms: usize, out: *mut ActivationBlock, out_stride: usize) -> (), Lanes;
            softmax(scores: *const f32, stride: usize, blocks: usize, terms: usize, out: *mut SoftmaxBlock) -> f32, Lanes;
            dequantize_q8_0(row: *const u8, pieces: usize, factor: f32, out: *mut f32) -> (), Lanes;
            accumulate(sum: *mut f32, x: *const f32, pieces: usize) -> (), Lanes;
            add(x: *mut f32, y: *const f32, stride: usize, base: *const f32, pieces: usize) -> (), Lanes;
            dot_f32(rows: *const f32, dims: usize, count: usize, query: *const f32, out: *mut f32) -> (), Lanes;
            at_least(sums: *const i32, rows: usize, groups: usize, row_scales: *const f32, query_scales: *const f32, thresholds: *const f32, masks: *mut u16) -> bool, Lanes;
            at_most(distances: *const u32, rows: usize, groups: usize, limits: *const f32, masks: *mut u16) -> bool, Lanes;
        }

        /// # Safety
        ///
        /// As for the function of the same name in [`crate::ops`].
        $(#[$features])*
        unsafe fn pack_values(values: *const f32, tokens: usize, packed: *mut i32, scales: *mut f32) {
            /// Whether a lane of packed values is two words instead of four bytes.
            const WORDS: bool = $crate::arch::has_values_in_words(weighted_sum::VALUE_LINES);
            // SAFETY: the caller guarantees what the function of the same name requires.
            unsafe { ops::pack_values::<Lanes, WORDS>(values, tokens, packed, scales) }
        }

        /// # Safety
        ///
        /// As for the function of the same name in [`crate::ops`].
        $(#[$features])*
        unsafe fn unpack<F: ops::Format>(row: *const u8, blocks: usize, out: *mut u8) {
            // SAFETY: the caller guarantees what the function of the same name requires.
            unsafe { ops::unpack::<Lanes, F>(row, blocks, out) }
        }

        /// Every kernel of this instruction set.
        pub(crate) static TABLE: Functions = Functions {
            isa: $isa,
            panel_lines: gemm::PANEL_LINES,
            pack_panel: gemm::pack_panel,
            gemm: $gemm,
            scores: scores::scores,
            weighted_sum: [
                weighted_sum::weighted_sum::<1>,
                weighted_sum::weighted_sum::<2>,
            ],
            value_lines: weighted_sum::VALUE_LINES,
            add_rms_norm,
            rms_norm_quantize,
            rms_norm,
            head_norm_rope,
            head_bias,
            head_rope,
            gelu_multiply_quantize,
            gelu_tanh_multiply_quantize,
            silu_multiply_quantize,
            bias_gelu_quantize,
            add_layer_norm,
            layer_norm,
            layer_norm_quantize,
            quantize,
            softmax,
            pack_values,
            dequantize_q8_0,
            unpack: $crate::block_format::each_format!(unpack),
            accumulate,
            add,
            dot_i8: dot_i8::dot_i8,
            queries: gemm_i8::QUERIES,
            gemm_i8: gemm_i8::gemm_i8,
            hamming: hamming::hamming,
            hamming_planes: hamming::hamming_planes,
            hamming_many: hamming::hamming_many,
            dot_f32,
            at_least,
            at_most,
        };
    };
}

/// One function for each row operation, with the instruction set enabled.
macro_rules! row_functions {
    ($(#[$features:meta])*; ) => {};
    ($(#[$features:meta])*; $name:ident($($argument:ident: $type:ty),*) -> $result:ty, $lanes:ty; $($rest:tt)*) => {
        /// # Safety
        ///
        /// As for the function of the same name in [`crate::ops`].
        $(#[$features])*
        #[allow(clippy::too_many_arguments)]
        unsafe fn $name($($argument: $type),*) -> $result {
            // SAFETY: the caller guarantees what the function of the same name requires.
            unsafe { ops::$name::<$lanes>($($argument),*) }
        }
        $crate::table::row_functions! { $(#[$features])*; $($rest)* }
    };
}

pub(crate) use {define_table, row_functions};
