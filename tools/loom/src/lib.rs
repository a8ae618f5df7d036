//! The engine's pool, its own source, on the types of a model checker.
#![allow(dead_code, reason = "the pool uses a part of what it stands on here")]

#[path = "../../../src/error.rs"]
mod error;
pub mod runtime;

use error::{Error, Result};
