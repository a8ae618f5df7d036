//! What `src/runtime` of the engine is to its pool.

#[path = "../../../../src/runtime/pool.rs"]
pub mod pool;
#[path = "../../../../src/runtime/split.rs"]
pub mod split;
mod sync;
pub mod threads;
