//! What measures, compares, converts and checks Lanewise.

pub mod compare;
pub mod corpus;
pub mod endurance;
pub mod gguf_writer;
pub mod hostile;
pub mod neighbour;
pub mod roofline;
pub mod texts;
pub mod tiny_model;
