//! The jobs of a layer of [`Forward`](super::forward::Forward), in order.

use super::Config;
use super::forward::{feed_forward_input, layer_input};
use crate::engine::attention::Attention;
use crate::engine::{Batch, Job, Phase};

/// The jobs of a layer for a batch that was set for `threads` threads: all layers have the same.
pub(super) fn jobs_of_layer(config: &Config, batch: &Batch, threads: usize) -> Vec<Job> {
    let (hidden, feed_forward) = (config.hidden, config.feed_forward);
    let input = layer_input(batch);
    let mut jobs = vec![Job::product(
        Phase::AttnInput,
        [3 * hidden, hidden],
        input,
        threads,
    )];
    jobs.extend(Job::attention(batch, batch.longest(), "attention"));
    jobs.extend([
        Job::product(
            Phase::AttnOutput,
            [hidden, hidden],
            Attention::output_shape(batch),
            threads,
        ),
        Job::norm(input),
        Job::gelu([feed_forward, hidden], input, threads),
        Job::product(
            Phase::FfnOutput,
            [hidden, feed_forward],
            feed_forward_input(config, batch.tokens()),
            threads,
        ),
        Job::norm(input),
    ]);
    jobs
}
