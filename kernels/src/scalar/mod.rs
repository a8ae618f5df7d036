//! Plain Rust: the specification, and the way on a CPU without AVX2.

mod attention;
mod gemm;
mod vector;

use crate::Isa;
pub(crate) use vector::Lanes;

crate::table::define_table!(Isa::Scalar;);
