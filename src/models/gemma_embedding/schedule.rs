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
    let shape = config.shape();
    let input = layer_input(batch);
    let projected = [shape.query_width() + 2 * shape.key_width(), shape.hidden];
    let name = match config.is_global(layer) {
        true => "attention, global",
        false => "attention, local",
    };
    let mut jobs = vec![Job::product(Phase::AttnInput, projected, input, threads)];
    jobs.extend(Job::attention(batch, config.reach(layer), name));
    jobs.extend([
        Job::product(
            Phase::AttnOutput,
            [shape.hidden, shape.query_width()],
            Attention::output_shape(batch),
            threads,
        ),
        Job::norm(input),
        Job::gated([config.feed_forward, shape.hidden], input, threads),
        Job::product(
            Phase::FfnOutput,
            [shape.hidden, config.feed_forward],
            gated_input(config, batch.tokens()),
            threads,
        ),
        Job::norm(input),
    ]);
    jobs
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::{env, fs, process};

    use lanewise_testkit::texts::text;
    use lanewise_testkit::tiny_model::{self, Options};

    use super::super::GemmaEmbedding;
    use super::*;
    use crate::engine::Executor;
    use crate::gguf::Gguf;
    use crate::models::Model;

    /// EmbeddingGemma-300M.
    fn config() -> Config {
        Config {
            layers: 24,
            hidden: 768,
            feed_forward: 1152,
            heads: 3,
            kv_heads: 1,
            head_dim: 256,
            value_dim: 256,
            context: 2048,
            rms_norm_eps: 1e-6,
            sliding_window: 512,
            sliding_window_pattern: 6,
            rope_base_global: 1e6,
            rope_base_local: 1e4,
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
            let attention = (0..config.layers).flat_map(|layer| jobs(tokens, threads, layer));
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
        let path = env::temp_dir().join(format!("lanewise-schedule-{}.gguf", process::id()));
        let path = tiny_model::written(path, &Options::default());
        let gguf = Arc::new(Gguf::open(&path).unwrap());
        let model = Arc::new(GemmaEmbedding::from_gguf(gguf).unwrap());
        let config = model.config();
        let texts = [250, 3, 96].map(|tokens| text(tokens, config.vocabulary, 0));
        for threads in [1, 2, 7, 33] {
            let mut executor = Executor::new(Some(threads), None).unwrap();
            let mut batch = Batch::default();
            let texts = texts.each_ref().map(Vec::as_slice);
            batch.set(0, &texts, config.shape(), threads).unwrap();
            let mut pass = Arc::clone(&model).forward_pass(false).unwrap();
            pass.reserve(executor.kernels(), &batch).unwrap();
            executor.reserve(&batch, pass.longest_row()).unwrap();
            let mut out = vec![0.0; texts.len() * config.hidden];
            pass.run(&mut executor, &batch, &mut out).unwrap();
            let expected: Vec<usize> = (0..config.layers)
                .flat_map(|layer| jobs_of_layer(config, &batch, threads, layer))
                .map(|job| job.tasks.len())
                .collect();
            // The first norm comes before the layers, the mean over the tokens after them.
            assert_eq!(executor.jobs[1..executor.jobs.len() - 1], expected);
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
