//! What the pool synchronizes with: the types of the standard library or, with `--cfg loom`,
//! those of the model checker.

#[cfg(loom)]
mod model_checked;
#[cfg(not(loom))]
mod standard;

#[cfg(loom)]
pub(crate) use model_checked::*;
#[cfg(not(loom))]
pub(crate) use standard::*;
