//! The jobs of a layer and what each of their tasks has to do, cut as a pass cuts them but without
//! running them: a forecast of how well threads share the work.

use lanewise_kernels::PANEL;
use lanewise_pool::thread_loads;

use super::attention::Attention;
use super::batch::Batch;
use super::buffers::ActivationShape;
use super::profile::Phase;
use super::reach::Reach;
use super::shape::HeadShape;
use super::split::{PACKING, Split};

/// What a value of a norm, RoPE, GELU or quantization takes, in INT8 multiply-adds: on one thread of
/// a Zen 4 a text of 512 tokens takes 285 ms for the 52 G of its products, 16.5 ms for the 19 M
/// values of the norms and 9.8 ms for the 13 M of the heads, which is 159 and 142 for each.
const VALUE: u64 = 150;

/// What an INT16 multiply-add of attention takes in INT8 ones.
const INT16: u64 = 2;

/// What a task does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Multiply-adds, or values in jobs that have none.
    pub work: u64,
    /// The time that all of it takes, packing of panels included, in INT8 multiply-adds.
    pub time: u64,
}

/// A job: tasks that the threads share. The next job begins when all of them are done.
#[derive(Clone, Debug)]
pub struct Job {
    /// What it is called in a table.
    pub name: &'static str,
    /// Its tasks, in order.
    pub tasks: Vec<Load>,
}

impl Job {
    /// The mean work of the threads divided by the most of any: 1 if all have as much.
    pub fn balance(&self, threads: usize) -> f64 {
        let work: Vec<u64> = self.tasks.iter().map(|load| load.work).collect();
        let most = thread_loads(&work, threads).into_iter().max().unwrap_or(0);
        work.iter().sum::<u64>() as f64 / threads as f64 / most.max(1) as f64
    }

    /// The time until the last thread is done, in INT8 multiply-adds, without what starting and
    /// ending a job takes.
    pub fn time(&self, threads: usize) -> u64 {
        let times: Vec<u64> = self.tasks.iter().map(|load| load.time).collect();
        thread_loads(&times, threads).into_iter().max().unwrap_or(0)
    }

    /// The jobs of a layer whose feed-forward half is gated, of `feed_forward` values between its products:
    /// norms and products, the norm of the first being before the layer. `attn_input` is the input of
    /// queries, keys and values; `attention` is the heads, which keys tokens see, and the name of the job
    /// that multiplies them.
    pub fn gated_layer(
        batch: &Batch,
        threads: usize,
        feed_forward: usize,
        attn_input: ActivationShape,
        (heads, reach, name): (HeadShape, Reach, &'static str),
    ) -> Vec<Self> {
        let (hidden, input) = (batch.shape().hidden, ActivationShape::of_stream(batch, 1));
        let projected = [heads.projected_width(), hidden];
        let mut jobs = vec![Self::product(
            Phase::AttnInput,
            projected,
            attn_input,
            threads,
        )];
        jobs.extend(Self::attention(batch, heads, reach, name));
        jobs.extend([
            Self::product(
                Phase::AttnOutput,
                [hidden, heads.query_width()],
                Attention::output_shape(batch, heads),
                threads,
            ),
            Self::norm(input),
            Self::gated([feed_forward, hidden], input, threads),
            Self::product(
                Phase::FfnOutput,
                [hidden, feed_forward],
                ActivationShape::of_feed_forward(batch, feed_forward),
                threads,
            ),
            Self::norm(input),
        ]);
        jobs
    }

    /// [`Executor::multiply`](super::Executor::multiply) with a matrix of these rows and columns.
    pub fn product(
        phase: Phase,
        [rows, columns]: [usize; 2],
        input: ActivationShape,
        threads: usize,
    ) -> Self {
        let tasks = panels(1, [rows, columns], input, threads);
        Job {
            name: phase.name(),
            tasks: tasks.map(|(_, load)| load).collect(),
        }
    }

    /// [`Executor::multiply_gated`](super::Executor::multiply_gated) with two matrices of these
    /// rows and columns.
    pub fn gated(shape: [usize; 2], input: ActivationShape, threads: usize) -> Self {
        Self::activated(2, shape, input, threads)
    }

    /// [`Executor::multiply_gelu`](super::Executor::multiply_gelu) with a matrix of these rows and
    /// columns.
    pub fn gelu(shape: [usize; 2], input: ActivationShape, threads: usize) -> Self {
        Self::activated(1, shape, input, threads)
    }

    fn activated(
        matrices: usize,
        shape: [usize; 2],
        input: ActivationShape,
        threads: usize,
    ) -> Self {
        let tasks = panels(matrices, shape, input, threads).map(|(tokens, load)| Load {
            time: load.time + (tokens * PANEL) as u64 * VALUE,
            ..load
        });
        Job {
            name: Phase::FfnInput.name(),
            tasks: tasks.collect(),
        }
    }

    /// A pass over the rows of the residual stream, one task a chunk of quantized activations.
    pub fn norm(shape: ActivationShape) -> Self {
        rows(Phase::Norm, shape)
    }

    /// The jobs of [`Attention::run`], for a layer of these heads whose tokens see the keys within `reach`;
    /// `name` is that of the one which multiplies, the only one where a head is a task.
    pub fn attention(
        batch: &Batch,
        shape: HeadShape,
        reach: Reach,
        name: &'static str,
    ) -> Vec<Self> {
        let heads = batch.panels.iter().map(|panel| {
            let values = panel.tokens.len() * (shape.query_width() + shape.key_width());
            values_of(values)
        });
        let value_panels = shape.key_width() / PANEL;
        let values = (0..batch.texts().len() * value_panels)
            .map(|task| values_of(batch.texts()[task / value_panels].len() * PANEL));
        let tiles = batch.tiles.iter().map(|tile| {
            let text = &batch.texts()[tile.text];
            let seen = |token: usize| reach.seen(token - text.start, text.len()).len();
            let pairs: usize = tile.tokens.clone().map(seen).sum();
            let product = (pairs * shape.query_width()) as u64;
            Load {
                work: 2 * product,
                time: product * INT16 + product,
            }
        });
        let job = |name, tasks| Job { name, tasks };
        if batch.heads_are_tasks() {
            let all: Vec<Load> = tiles.collect();
            let share =
                |of: fn(&Load) -> u64| all.iter().map(of).sum::<u64>() / shape.kv_heads as u64;
            let head = Load {
                work: share(|load| load.work),
                time: share(|load| load.time),
            };
            return vec![job(name, vec![head; shape.kv_heads])];
        }
        vec![
            job(Phase::Heads.name(), heads.collect()),
            job(Phase::Values.name(), values.collect()),
            job(name, tiles.collect()),
            rows(Phase::Quantize, Attention::output_shape(batch, shape)),
        ]
    }
}

/// The tasks of a product of `matrices` matrices of the same shape with one input, each with the
/// number of its tokens.
fn panels(
    matrices: usize,
    [rows, columns]: [usize; 2],
    input: ActivationShape,
    threads: usize,
) -> impl Iterator<Item = (usize, Load)> {
    let split = Split::new(rows / PANEL, input.tokens, input.chunk, threads);
    let a_token = (matrices * PANEL * columns * input.terms) as u64;
    (0..split.tasks()).map(move |task| {
        let tokens = split.tokens(task).len();
        let load = Load {
            work: tokens as u64 * a_token,
            time: (tokens + PACKING) as u64 * a_token,
        };
        (tokens, load)
    })
}

/// A job with one task for each chunk of rows.
fn rows(phase: Phase, shape: ActivationShape) -> Job {
    let chunks = (0..shape.tokens).step_by(shape.chunk.max(1));
    let tasks = chunks.map(|first| {
        let count = shape.chunk.min(shape.tokens - first);
        values_of(count * shape.columns)
    });
    Job {
        name: phase.name(),
        tasks: tasks.collect(),
    }
}

fn values_of(values: usize) -> Load {
    Load {
        work: values as u64,
        time: values as u64 * VALUE,
    }
}
