//! What measures, compares, converts and checks Lanewise.

pub mod asmcheck;
pub mod compare;
pub mod counts;
pub mod gguf_writer;
pub mod icount;
pub mod instructions;
pub mod random;
pub mod roofline;
pub mod texts;
pub mod tiny_model;
pub mod work;
