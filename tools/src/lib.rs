//! What measures, compares, converts and checks Lanewise.

pub mod asmcheck;
pub mod compare;
#[cfg(feature = "corpus")]
pub mod corpus;
pub mod counts;
pub mod endurance;
pub mod gguf_writer;
pub mod hostile;
pub mod icount;
pub mod instructions;
pub mod neighbour;
pub mod random;
pub mod roofline;
pub mod texts;
pub mod tiny_model;
pub mod work;
