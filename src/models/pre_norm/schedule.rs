//! The jobs of a layer of [`Forward`](super::forward::Forward), in order.

use super::Config;
use super::forward::{gated_input, layer_input};
use crate::engine::attention::Attention;
use crate::engine::{Batch, Job, Phase};

/// The jobs of layer `layer` for a batch that was set for `threads` threads.
pub(super) fn jobs_of_layer(
    config: &Config,
    batch: &Batch,
    threads: usize,
    layer: usize,
) -> Vec<Job> {
    let (heads, hidden) = (config.head_shape(), config.sizes.hidden);
    let feed_forward = config.sizes.feed_forward;
    let input = layer_input(batch);
    let projected = [heads.projected_width(), hidden];
    let name = match (config.is_windowed(layer), &config.windows) {
        (true, _) => "attention, local",
        (false, Some(_)) => "attention, global",
        (false, None) => "attention",
    };
    let mut jobs = vec![Job::product(Phase::AttnInput, projected, input, threads)];
    jobs.extend(Job::attention(
        batch,
        heads,
        config.sight(layer).reach,
        name,
    ));
    jobs.extend([
        Job::product(
            Phase::AttnOutput,
            [hidden, heads.query_width()],
            Attention::output_shape(batch, heads),
            threads,
        ),
        Job::norm(input),
        Job::gated([feed_forward, hidden], input, threads),
        Job::product(
            Phase::FfnOutput,
            [hidden, feed_forward],
            gated_input(config, batch.tokens()),
            threads,
        ),
        Job::norm(input),
    ]);
    jobs
}
