//! The jobs of a layer of [`Forward`](super::forward::Forward), in order.

use super::Config;
use crate::engine::{ActivationShape, Batch, Job};

/// The jobs of layer `layer` for a batch that was set for `threads` threads.
pub(super) fn jobs_of_layer(
    config: &Config,
    batch: &Batch,
    threads: usize,
    layer: usize,
) -> Vec<Job> {
    let name = match (config.is_windowed(layer), &config.windows) {
        (true, _) => "attention, local",
        (false, Some(_)) => "attention, global",
        (false, None) => "attention",
    };
    Job::gated_layer(
        batch,
        threads,
        config.sizes.feed_forward,
        ActivationShape::of_stream(batch, config.attn_input_terms()),
        (config.head_shape(), config.sight(layer).reach, name),
    )
}

#[cfg(test)]
mod tests {
    use std::{env, fs, process};

    use lanewise_testkit::texts::text;
    use lanewise_testkit::tiny_pre_norm::{self, Options};

    use super::*;
    use crate::engine::{Executor, Phase};
    use crate::models;

    #[test]
    fn jobs_have_the_tasks_and_multiply_adds_of_a_pass() {
        // The norms before the layers, of which ModernBERT has one more.
        for (options, before) in [(Options::qwen3(), 1), (Options::modern_bert(), 2)] {
            let name = format!("lanewise-pre-norm-schedule-{before}-{}", process::id());
            let path = tiny_pre_norm::written(env::temp_dir().join(name), &options);
            let model = models::open(&path).unwrap();
            let (shape, layers) = (model.shape(), model.summary().layers);
            let texts = [250, 3, 96].map(|tokens| text(tokens, shape.vocabulary, 0));
            for threads in [1, 2, 7, 33] {
                let mut executor = Executor::new(Some(threads), None).unwrap();
                let mut batch = Batch::default();
                let texts = texts.each_ref().map(Vec::as_slice);
                batch.set(0, &texts, shape, threads).unwrap();
                let mut pass = model.clone().forward_pass(true).unwrap();
                pass.reserve(executor.kernels(), &batch).unwrap();
                executor.reserve(&batch, pass.longest_row()).unwrap();
                let mut out = vec![0.0; texts.len() * shape.hidden];
                pass.run(&mut executor, &batch, &mut out).unwrap();
                let jobs: Vec<Job> = (0..layers)
                    .flat_map(|layer| model.jobs_of_layer(&batch, threads, layer))
                    .collect();
                let tasks: Vec<usize> = jobs.iter().map(|job| job.tasks.len()).collect();
                // Pooling comes after the layers.
                assert_eq!(executor.jobs[before..executor.jobs.len() - 1], tasks);
                let products = jobs.iter().filter(|job| {
                    let phases = [Phase::FfnInput, Phase::FfnOutput];
                    let is_product = phases.iter().any(|phase| phase.name() == job.name);
                    is_product || job.name.starts_with("attention")
                });
                let work: u64 = products
                    .flat_map(|job| &job.tasks)
                    .map(|load| load.work)
                    .sum();
                // Of attention, the input may be of two terms, and the output has a few rows more than there
                // are tokens.
                let [heads, _] = shape.heads;
                let widths = 2 * (heads.query_width() + heads.key_width());
                let others = (layers * shape.hidden * widths) as u64;
                let expected = texts
                    .iter()
                    .map(|text| model.multiply_adds(text.len()) - others * text.len() as u64);
                assert_eq!(work, expected.sum());
            }
            fs::remove_file(path).unwrap();
        }
    }
}
