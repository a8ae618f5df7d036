//! Threads and scratch: what the forward pass runs on.

pub mod pool;
pub mod split;
pub mod threads;
