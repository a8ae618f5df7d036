//! The jobs of a layer of [`Forward`](super::forward::Forward), in order.

use super::Config;
use super::inputs::{attn_terms, signal_input};
use super::{Version, signal};
use crate::engine::{ActivationShape, Batch, Job, Phase};

/// The jobs of layer `layer` for a batch that was set for `threads` threads.
pub(super) fn jobs_of_layer(
    config: &Config,
    batch: &Batch,
    threads: usize,
    layer: usize,
) -> Vec<Job> {
    let (kind, hidden) = (config.kind(layer), config.hidden);
    let name = match config.global_layers[layer] {
        true => "attention, global",
        false => "attention, local",
    };
    let mut jobs = Job::gated_layer(
        batch,
        threads,
        config.feed_forward,
        ActivationShape::of_stream(batch, attn_terms(config)),
        (kind.heads, kind.reach, name),
    );
    if let Version::Second { signal: width, .. } = config.version {
        let input = signal_input(batch);
        let gated = signal::gated_input(batch, width);
        jobs.extend([
            Job::product(Phase::FfnInput, [width, hidden], input, threads),
            Job::product(Phase::FfnInput, [width, hidden], input, threads),
            Job::norm(gated),
            Job::product(Phase::FfnOutput, [hidden, width], gated, threads),
            Job::norm(ActivationShape::of_stream(batch, 1)),
        ]);
    }
    jobs
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::{env, fs, process};

    use lanewise_testkit::texts::text;
    use lanewise_testkit::{tiny_gemma2, tiny_model};

    use super::super::LayerKind;
    use super::*;
    use crate::engine::{Executor, HeadShape, Reach};
    use crate::models;

    /// EmbeddingGemma-300M.
    fn config() -> Config {
        let global = LayerKind {
            heads: HeadShape {
                heads: 3,
                kv_heads: 1,
                head_dim: 256,
            },
            scale: 1.0 / 16.0,
            rope_base: 1e6,
            reach: Reach::ALL,
        };
        Config {
            version: Version::First,
            hidden: 768,
            feed_forward: 1152,
            global,
            local: LayerKind {
                rope_base: 1e4,
                reach: Reach::within(256),
                ..global
            },
            global_layers: (0..24).map(|layer| layer % 6 == 5).collect(),
            context: 2048,
            rms_norm_eps: 1e-6,
            sliding_window: 512,
            vocabulary: 262_144,
        }
    }

    fn jobs(tokens: usize, threads: usize, layer: usize) -> Vec<Job> {
        let mut batch = Batch::default();
        let text = vec![0; tokens];
        batch.set(0, &[&text], config().shape(), threads).unwrap();
        jobs_of_layer(&config(), &batch, threads, layer)
    }

    #[test]
    fn multiply_adds_of_jobs_are_those_of_the_layer() {
        let config = config();
        for (tokens, threads) in [(5, 1), (512, 32), (2048, 96)] {
            let attention = (0..config.layers()).flat_map(|layer| jobs(tokens, threads, layer));
            let sum: u64 = attention
                .filter(|job| job.name.starts_with("attention"))
                .flat_map(|job| job.tasks)
                .map(|load| load.work)
                .sum();
            assert_eq!(sum, config.attention_multiply_adds(tokens));
            let products = jobs(tokens, threads, 0);
            let sum: u64 = [0, 7, 8]
                .into_iter()
                .flat_map(|job| &products[job].tasks)
                .map(|load| load.work)
                .sum();
            let weights = 768 * (768 + 2 * 256) + 3 * 768 * 1152;
            assert_eq!(sum, (weights * tokens) as u64);
        }
    }

    #[test]
    fn jobs_have_the_tasks_of_a_pass() {
        let path = |name: &str| {
            env::temp_dir().join(format!("lanewise-{name}-schedule-{}.gguf", process::id()))
        };
        // The first norm comes before the layers, the mean over the tokens after them.
        let first = tiny_model::written(path("gemma"), &tiny_model::Options::default());
        check_jobs(&first, 1, 1);
        // The embeddings are quantized as well, and a matrix follows the mean.
        let second = tiny_gemma2::written(path("gemma2"), &tiny_gemma2::Options::default());
        check_jobs(&second, 2, 2);
    }

    /// Checks the tasks of a pass but for those of the jobs before and after the layers.
    fn check_jobs(path: &Path, before: usize, after: usize) {
        let model = models::open(path).unwrap();
        let shape = model.shape();
        let texts = [250, 3, 96].map(|tokens| text(tokens, shape.vocabulary, 0));
        for threads in [1, 2, 7, 33] {
            let mut executor = Executor::new(Some(threads), None).unwrap();
            let mut batch = Batch::default();
            let texts = texts.each_ref().map(Vec::as_slice);
            batch.set(0, &texts, shape, threads).unwrap();
            let mut pass = Arc::clone(&model).forward_pass(false).unwrap();
            pass.reserve(executor.kernels(), &batch).unwrap();
            executor.reserve(&batch, pass.longest_row()).unwrap();
            let mut out = vec![0.0; texts.len() * shape.width];
            pass.run(&mut executor, &batch, &mut out).unwrap();
            let expected: Vec<usize> = (0..model.summary().layers)
                .flat_map(|layer| model.jobs_of_layer(&batch, threads, layer))
                .map(|job| job.tasks.len())
                .collect();
            assert_eq!(executor.jobs[before..executor.jobs.len() - after], expected);
        }
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn every_thread_of_32_has_work_from_512_tokens_on() {
        for tokens in [512, 700, 1024, 1500, 2048] {
            for job in [0, 5].into_iter().flat_map(|layer| jobs(tokens, 32, layer)) {
                let balance = job.balance(32);
                // Limits of the cut of attention's inputs: panels of 32 keys, and of 32 channels.
                let exceptions = [Phase::Heads.name(), Phase::Values.name()];
                let least = if exceptions.contains(&job.name) {
                    0.0
                } else {
                    0.9
                };
                assert!(balance >= least, "{tokens} tokens, {}: {balance}", job.name);
            }
        }
    }
}
