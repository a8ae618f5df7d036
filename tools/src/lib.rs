//! What measures, compares, converts and checks Lanewise.

pub mod compare;
pub mod endurance;
pub mod gguf_writer;
pub mod neighbour;
pub mod roofline;
pub mod texts;
pub mod tiny_model;
