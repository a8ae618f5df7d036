//! What measures, compares, converts and checks Lanewise.

pub mod asmcheck;
pub mod compare;
pub mod corpus;
pub mod endurance;
pub mod hostile;
pub mod icount;
pub mod instructions;
pub mod neighbor;
pub mod roofline;
pub mod schedule;
pub mod search_bench;
pub mod tiny_model;
