//! The figures of the engine that Lanewise replaces, as it published them.

use lanewise::internals::models::Family;
use serde::Serialize;

/// Published figures for the ids 2 9259 1902 1.
#[derive(Debug, Serialize)]
pub struct GoEngine {
    /// The machine that they were measured on.
    pub machine: &'static str,
    /// *Forward INT8*, nanoseconds a pass.
    pub ns_per_op: u64,
    /// *Memory usage*, in units of 10⁶ bytes.
    pub memory_mb: f64,
    /// *INT8 accuracy*: the cosine of its INT8 path to its f32 path.
    pub cosine: f64,
    /// The largest difference of the two; exactly zero, which two paths of different arithmetic
    /// cannot give.
    pub largest_difference: f64,
}

/// The figures to compare those of a model of this family with: the engine knows EmbeddingGemma only.
pub fn published(family: &Family) -> Option<GoEngine> {
    (family.architecture == "gemma-embedding").then_some(PUBLISHED)
}

/// As published.
const PUBLISHED: GoEngine = GoEngine {
    machine: "12-core Ryzen 9 7900",
    ns_per_op: 42_440_100,
    memory_mb: 412.86,
    cosine: 1.0,
    largest_difference: 0.0,
};
