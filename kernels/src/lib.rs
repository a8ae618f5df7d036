//! INT8 kernels of Lanewise: portable Rust, AVX2, AVX-VNNI and AVX-512 VNNI.
//!
//! Kernels take slices and write slices: no threads, no I/O, no allocation. [`Kernels`] holds the
//! kernels of one instruction set, chosen once; its methods check all shapes and are safe. The
//! scalar kernels are the specification: all others give the same bits, integers because their sums
//! are exact, floats because each operation is correctly rounded and the order is fixed.

mod activation;
mod arch;
mod block_format;
mod dispatch;
mod f16;
mod isa;
mod layout;
mod ops;
mod pack_keys;
pub mod peak;
mod pieces;
mod prefetch;
mod queries;
mod scale;
mod simd;
mod table;

pub use activation::Activation;
pub use block_format::BlockFormat;
pub use dispatch::Kernels;
pub use f16::f16_to_f32;
pub use isa::{Isa, UnknownIsa};
pub use layout::{
    ActivationBlock, ActivationChunk, BLOCK, HEAD_MAX, Line, MAX_HEAD_DIM, PANEL, PanelLayout,
    Q8_0_BYTES, Q8Rows, SoftmaxBlock,
};
pub use pack_keys::pack_keys;
pub use pieces::Pieces;
pub use prefetch::{Prefetcher, stream};
pub use queries::{MAX_SEARCH_DIMS, QUERY_GROUP, QUERY_PLANES, score_stride};
pub use scale::ActivationScale;

/// The compiler that compiled these kernels, as in `rustc 1.95.0 (…)`.
pub const RUSTC: &str = env!("LANEWISE_KERNELS_RUSTC");
