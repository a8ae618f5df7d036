//! The macro that compiles the row operations for one instruction set and lists all its kernels.

/// Defines `TABLE`, the functions of the instruction set in whose folder it stands: `gemm` and `attention` of the folder,
/// and the row operations on the folder's `Lanes`, compiled with the given features.
macro_rules! define_table {
    ($isa:expr; $(#[$features:meta])*) => {
        use crate::kernels::Functions;
        use crate::layout::ActivationBlock;
        use crate::rows;

        $crate::table::row_functions! {
            $(#[$features])*;
            add_rms_norm(x: *mut f32, y: *const f32, stride: usize, base: *const f32, weight: *const f32, pieces: usize, eps: f32) -> (), Lanes;
            rms_norm_quantise(x: *const f32, weight: *const f32, pieces: usize, eps: f32, out: *mut ActivationBlock, out_stride: usize) -> (), Lanes;
            rms_norm(x: *mut f32, weight: *const f32, pieces: usize, eps: f32) -> (), Lanes;
            head_norm_rope(x: *const f32, stride: usize, weight: *const f32, rope: *const f32, pieces: usize, eps: f32, out: *mut i16) -> f32, Lanes;
            gelu_multiply_quantise(gate: *const f32, up: *const f32, tokens: usize, out: *mut ActivationBlock) -> (), Lanes;
            quantise(x: *const f32, pieces: usize, terms: usize, out: *mut ActivationBlock, out_stride: usize) -> (), Lanes;
            softmax(scores: *const f32, padded: usize, out: *mut i16) -> i32, Lanes;
            pack_values(values: *const f32, tokens: usize, packed: *mut i32, scales: *mut f32) -> (), Lanes;
            dequantise_q8_0(row: *const u8, pieces: usize, factor: f32, out: *mut f32) -> (), Lanes;
            accumulate(sum: *mut f32, x: *const f32, pieces: usize) -> (), Lanes;
        }

        /// Every kernel of this instruction set.
        pub(crate) static TABLE: Functions = Functions {
            isa: $isa,
            panel_lines: gemm::PANEL_LINES,
            pack_panel: gemm::pack_panel,
            gemm: [gemm::gemm::<1>, gemm::gemm::<2>],
            attention: attention::product,
            add_rms_norm,
            rms_norm_quantise,
            rms_norm,
            head_norm_rope,
            gelu_multiply_quantise,
            quantise,
            softmax,
            pack_values,
            dequantise_q8_0,
            accumulate,
        };
    };
}

/// One function a row operation, with the instruction set enabled.
macro_rules! row_functions {
    ($(#[$features:meta])*; ) => {};
    ($(#[$features:meta])*; $name:ident($($argument:ident: $type:ty),*) -> $result:ty, $lanes:ty; $($rest:tt)*) => {
        $(#[$features])*
        unsafe fn $name($($argument: $type),*) -> $result {
            // SAFETY: what `rows` asks for is what the caller of the table vouches for.
            unsafe { rows::$name::<$lanes>($($argument),*) }
        }
        $crate::table::row_functions! { $(#[$features])*; $($rest)* }
    };
}

pub(crate) use {define_table, row_functions};
