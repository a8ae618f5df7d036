//! What forward passes are made of, for any model: batches, matrix products, attention, threads and
//! their scratch. The order of the steps is the model's, in [`crate::models`].

pub mod attention;
mod batch;
mod buffers;
mod contention;
mod dense;
mod executor;
mod heads;
mod matmul;
mod matrix;
mod one_head;
mod packed;
mod pooling;
mod profile;
mod reach;
mod residual;
mod rope;
mod schedule;
mod scratch;
mod shape;
mod split;
mod weight_types;

pub use batch::{Batch, MEAN_TERMS};
pub use buffers::{ActivationShape, Activations, PanelBuffer};
pub use dense::dense_input;
pub use executor::Executor;
pub use matmul::Product;
pub use matrix::Matrix;
pub use packed::{PackedFile, PackedPlace};
pub use pooling::Pooling;
pub use profile::{Phase, PhaseTimes};
pub use reach::Reach;
pub use residual::{Addend, Row};
pub use rope::Rope;
pub use schedule::{Job, Load};
pub(crate) use scratch::{reserve, sized};
pub use shape::{HeadShape, Shape};
pub(crate) use weight_types::supported_types;
pub use weight_types::{WeightType, weight_type};
