//! The jobs of a layer of [`Forward`](super::forward::Forward), in order.

use super::forward::{attn_input, ffn_down_input, ffn_input};
use super::{Config, Variant};
use crate::engine::attention::Attention;
use crate::engine::{Batch, Job, Phase, Reach};

/// The jobs of a layer for a batch that was set for `threads` threads.
pub(super) fn jobs_of_layer(
    config: &Config,
    batch: &Batch,
    threads: usize,
    layer: usize,
) -> Vec<Job> {
    let (hidden, feed_forward) = (config.hidden, config.feed_forward);
    let input = ffn_input(batch);
    let activated = match config.variant {
        Variant::Bert => Job::gelu,
        Variant::Nomic { .. } => Job::gated,
    };
    let mut jobs = vec![Job::product(
        Phase::AttnInput,
        [3 * hidden, hidden],
        attn_input(config, batch, layer),
        threads,
    )];
    jobs.extend(Job::attention(
        batch,
        config.head_shape(),
        Reach::ALL,
        "attention",
    ));
    jobs.extend([
        Job::product(
            Phase::AttnOutput,
            [hidden, hidden],
            Attention::output_shape(batch, config.head_shape()),
            threads,
        ),
        Job::norm(input),
        activated([feed_forward, hidden], input, threads),
        Job::product(
            Phase::FfnOutput,
            [hidden, feed_forward],
            ffn_down_input(config, batch.tokens()),
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
    use lanewise_testkit::tiny_bert::{self, Options};

    use super::super::{Bert, FAMILY};
    use super::*;
    use crate::engine::Executor;
    use crate::gguf::Gguf;
    use crate::models::keys::Keys;
    use crate::models::{Model, OpenOptions};

    #[test]
    fn jobs_have_the_tasks_and_multiply_adds_of_a_pass() {
        check("bert", Options::default(), Variant::Bert);
        let nomic = Variant::Nomic { rope_base: 1000.0 };
        check("nomic-bert", Options::nomic(), nomic);
    }

    fn check(architecture: &'static str, options: Options, variant: Variant) {
        let name = format!("lanewise-{architecture}-schedule-{}.gguf", process::id());
        let path = tiny_bert::written(env::temp_dir().join(name), &options);
        let gguf = Arc::new(Gguf::open(&path).unwrap());
        let keys = Keys {
            gguf: &gguf,
            architecture,
        };
        let config = Config::of_variant(&keys, &OpenOptions::default(), variant).unwrap();
        let model = Bert::from_gguf(Arc::clone(&gguf), config, &FAMILY).unwrap();
        let model = Arc::new(model);
        let (config, shape) = (model.config(), model.shape());
        // The last of them is short enough that a head of it is a task.
        for (lengths, threads) in [
            (&[250, 3, 96][..], 1),
            (&[250, 3, 96], 2),
            (&[250, 3, 96], 7),
            (&[250, 3, 96], 33),
            (&[16], 1),
            (&[16], 2),
        ] {
            let texts: Vec<Vec<u32>> = lengths
                .iter()
                .map(|&tokens| text(tokens, shape.vocabulary, 0))
                .collect();
            let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
            let mut executor = Executor::new(Some(threads), None).unwrap();
            let mut batch = Batch::default();
            batch.set(0, &texts, shape, threads).unwrap();
            let mut pass = Arc::clone(&model).forward_pass(true).unwrap();
            pass.reserve(executor.kernels(), &batch).unwrap();
            executor.reserve(&batch, pass.longest_row()).unwrap();
            let mut out = vec![0.0; texts.len() * shape.hidden];
            pass.run(&mut executor, &batch, &mut out).unwrap();
            let layers = 0..config.layers;
            let jobs: Vec<Job> = layers
                .flat_map(|layer| jobs_of_layer(config, &batch, threads, layer))
                .collect();
            // The norm of the embeddings comes before the layers, pooling after them.
            let tasks: Vec<usize> = jobs.iter().map(|job| job.tasks.len()).collect();
            assert_eq!(executor.jobs[1..executor.jobs.len() - 1], tasks);
            let attention = jobs.iter().filter(|job| job.name == "attention");
            let work: u64 = attention
                .flat_map(|job| &job.tasks)
                .map(|load| load.work)
                .sum();
            let pairs = texts
                .iter()
                .map(|text| config.attention_multiply_adds(text.len()));
            assert_eq!(work, pairs.sum());
        }
        fs::remove_file(path).unwrap();
    }
}
