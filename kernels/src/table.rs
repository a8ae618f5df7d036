//! The function table of an instruction set, and the macro that fills it.

use crate::Isa;
use crate::layout::{ActivationBlock, Line};
use crate::prefetch::Prefetcher;

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

/// The signature of `gemm_i16` in `arch::scalar::attention`, whose safety section holds for all of
/// them.
pub type GemmI16 =
    unsafe fn(*const i16, usize, *const f32, usize, *const i32, *const f32, usize, *mut f32, usize);

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
    /// Query times key, and softmax weight times value.
    pub gemm_i16: GemmI16,
    pub add_rms_norm: unsafe fn(*mut f32, *const f32, usize, *const f32, *const f32, usize, f32),
    pub rms_norm_quantize:
        unsafe fn(*const f32, *const f32, usize, f32, *mut ActivationBlock, usize),
    pub rms_norm: unsafe fn(*mut f32, *const f32, usize, f32),
    pub head_norm_rope:
        unsafe fn(*const f32, usize, *const f32, *const f32, usize, f32, *mut i16) -> f32,
    pub gelu_multiply_quantize: unsafe fn(*const f32, *const f32, usize, *mut ActivationBlock),
    pub quantize: unsafe fn(*const f32, usize, usize, *mut ActivationBlock, usize),
    pub softmax: unsafe fn(*const f32, usize, *mut i16) -> i32,
    pub pack_values: unsafe fn(*const f32, usize, *mut i32, *mut f32),
    pub dequantize_q8_0: unsafe fn(*const u8, usize, f32, *mut f32),
    pub accumulate: unsafe fn(*mut f32, *const f32, usize),
}

/// Defines `TABLE`, the functions of the instruction set in whose directory it stands: its `gemm`
/// for one term and for two, `attention` of that directory, and the row operations on its `Lanes`, compiled with the given
/// target features.
macro_rules! define_table {
    ($isa:expr, $gemm:expr; $(#[$features:meta])*) => {
        use crate::layout::ActivationBlock;
        use crate::ops;
        use crate::table::Functions;

        $crate::table::row_functions! {
            $(#[$features])*;
            add_rms_norm(x: *mut f32, y: *const f32, stride: usize, base: *const f32, weight: *const f32, pieces: usize, eps: f32) -> (), Lanes;
            rms_norm_quantize(x: *const f32, weight: *const f32, pieces: usize, eps: f32, out: *mut ActivationBlock, out_stride: usize) -> (), Lanes;
            rms_norm(x: *mut f32, weight: *const f32, pieces: usize, eps: f32) -> (), Lanes;
            head_norm_rope(x: *const f32, stride: usize, weight: *const f32, rope: *const f32, pieces: usize, eps: f32, out: *mut i16) -> f32, Lanes;
            gelu_multiply_quantize(gate: *const f32, up: *const f32, tokens: usize, out: *mut ActivationBlock) -> (), Lanes;
            quantize(x: *const f32, pieces: usize, terms: usize, out: *mut ActivationBlock, out_stride: usize) -> (), Lanes;
            softmax(scores: *const f32, padded: usize, out: *mut i16) -> i32, Lanes;
            pack_values(values: *const f32, tokens: usize, packed: *mut i32, scales: *mut f32) -> (), Lanes;
            dequantize_q8_0(row: *const u8, pieces: usize, factor: f32, out: *mut f32) -> (), Lanes;
            accumulate(sum: *mut f32, x: *const f32, pieces: usize) -> (), Lanes;
        }

        /// Every kernel of this instruction set.
        pub(crate) static TABLE: Functions = Functions {
            isa: $isa,
            panel_lines: gemm::PANEL_LINES,
            pack_panel: gemm::pack_panel,
            gemm: $gemm,
            gemm_i16: attention::gemm_i16,
            add_rms_norm,
            rms_norm_quantize,
            rms_norm,
            head_norm_rope,
            gelu_multiply_quantize,
            quantize,
            softmax,
            pack_values,
            dequantize_q8_0,
            accumulate,
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
        unsafe fn $name($($argument: $type),*) -> $result {
            // SAFETY: the caller guarantees what the function of the same name requires.
            unsafe { ops::$name::<$lanes>($($argument),*) }
        }
        $crate::table::row_functions! { $(#[$features])*; $($rest)* }
    };
}

pub(crate) use {define_table, row_functions};
