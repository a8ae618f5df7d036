//! What measures, compares, converts and checks Lanewise.

pub mod compare;
pub mod gguf_writer;
pub mod random;
pub mod roofline;
pub mod texts;
pub mod tiny_model;
pub mod work;
