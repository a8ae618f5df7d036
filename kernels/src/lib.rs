//! INT8 dot-product kernels of Lanewise: scalar, AVX2 and AVX-512 VNNI.
//!
//! No threads, no I/O, no allocation: slices in, slices out. [`Kernels`] is the set of one instruction set, chosen once;
//! its functions assert shapes and are safe. The scalar set is the specification: every other set gives the same bits,
//! integers because their sums are exact, floats because each operation is correctly rounded and the order is fixed.

mod ahead;
mod isa;
mod kernels;
mod layout;
mod math;
pub mod peak;
mod rows;
mod table;
mod vector;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;

pub use ahead::{Ahead, stream};
pub use isa::{Isa, UnknownIsa};
pub use kernels::{Kernels, Pieces, pack_keys};
pub use layout::{
    ActivationBlock, Activations, BLOCK, HEAD_MAX, Line, MAX_HEAD_DIM, MAX_KEYS, PANEL, Q8_0_BYTES,
    Q8Rows, WEIGHT_MAX,
};
pub use rows::f16_to_f32;

/// The compiler that compiled these kernels, as in `rustc 1.95.0 (…)`.
pub const RUSTC: &str = env!("LANEWISE_KERNELS_RUSTC");
