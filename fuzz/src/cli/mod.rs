//! The parts of the command line that read its inputs; it is no library.
#![allow(dead_code, reason = "the target uses a part")]

pub mod bulk;
#[path = "../../../src/cli/failure.rs"]
pub mod failure;
#[path = "../../../src/cli/line.rs"]
pub mod line;
