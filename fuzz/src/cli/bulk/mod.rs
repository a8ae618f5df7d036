//! The readers of input files.

#[path = "../../../../src/cli/bulk/input/mod.rs"]
pub mod input;
#[path = "../../../../src/cli/bulk/row.rs"]
pub mod row;
