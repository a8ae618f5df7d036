//! The signal that each layer of EmbeddingGemma 2 adds: made of the embeddings of the tokens, and gated by the
//! residual stream.
//!
//! ```text
//! signal = rms_norm(Wmodel e / sqrt(hidden)), e = the embeddings
//! output = Wproj (gelu(Wgate x) * signal)
//! ```

use std::collections::TryReserveError;

use lanewise_kernels::{Activation, BLOCK, PANEL};

use super::Config;
use super::inputs::signal_input;
use super::weights::SignalLayer;
use crate::engine::{
    ActivationShape, Activations, Batch, Executor, Matrix, PanelBuffer, Phase, Product, sized,
};

/// What the signal needs from layer to layer, and within one.
#[derive(Default)]
pub(super) struct Signal {
    /// The embeddings, quantized.
    embedded: Activations,
    /// The signal before its norm.
    signal: PanelBuffer,
    /// The gate before its activation.
    gate: PanelBuffer,
    /// The quantized input of `proj`.
    gated: Activations,
}

impl Signal {
    /// Makes room for a batch and signals of `width` values.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn reserve(&mut self, batch: &Batch, width: usize) -> Result<(), TryReserveError> {
        let values = PanelBuffer::values(width, batch.tokens());
        self.embedded.reserve(signal_input(batch).blocks())?;
        self.signal.reserve(values)?;
        self.gate.reserve(values)?;
        self.gated.reserve(gated_input(batch, width).blocks())
    }

    /// Takes the embeddings, `[token][hidden]`.
    pub fn set_embeddings(&mut self, executor: &mut Executor, batch: &Batch, x: &[f32]) {
        let (kernels, hidden) = (executor.kernels(), batch.shape().hidden);
        let shape = signal_input(batch);
        let terms = shape.terms;
        self.embedded.reshape(shape);
        executor.for_each_part(self.embedded.chunks_mut(), |chunk, out, worker| {
            let rows = x[chunk * batch.chunk() * hidden..].chunks_exact(hidden);
            let count = out.len() / (hidden / BLOCK * terms);
            for (index, x) in rows.take(count).enumerate() {
                kernels.quantize(x, terms, &mut out[index * terms..], count * terms);
            }
            worker.stopwatch.lap(Phase::Embed);
        });
    }

    /// `out = Wproj (gelu(Wgate input) * signal)`; `norm` is that of the signals, `next` the product after it.
    pub fn run(
        &mut self,
        executor: &mut Executor,
        batch: &Batch,
        config: &Config,
        (layer, norm): (&SignalLayer, &[f32]),
        (input, out): (&Activations, &mut PanelBuffer),
        next: &[&Matrix],
    ) {
        let product = |phase, matrix, next| Product {
            phase,
            matrices: matrix,
            next,
        };
        let matrices = layer.matrices();
        let [model_proj, inp_gate, proj] = [0, 1, 2].map(|at| &matrices[at..=at]);
        let of_signal = product(Phase::FfnInput, model_proj, inp_gate);
        executor.multiply(of_signal, &self.embedded, &mut self.signal);
        let of_gate = product(Phase::FfnInput, inp_gate, proj);
        executor.multiply(of_gate, input, &mut self.gate);
        self.apply_gate(executor, batch, config, norm);
        executor.multiply(product(Phase::FfnOutput, proj, next), &self.gated, out);
    }

    /// `gated = quantize(gelu(gate) * rms_norm(signal / sqrt(hidden)) * norm)`.
    fn apply_gate(
        &mut self,
        executor: &mut Executor,
        batch: &Batch,
        config: &Config,
        norm: &[f32],
    ) {
        let (kernels, blocks) = (executor.kernels(), norm.len() / BLOCK);
        // RMSNorm of x / f is that of x with an epsilon of f² times as much.
        let eps = config.rms_norm_eps * config.hidden as f32;
        let (signal, gate) = (&self.signal, &self.gate);
        self.gated.reshape(gated_input(batch, norm.len()));
        executor.for_each_part(self.gated.chunks_mut(), |chunk, out, worker| {
            let count = out.len() / blocks;
            let row = sized(&mut worker.row, norm.len());
            for index in 0..count {
                let token = chunk * batch.chunk() + index;
                signal.copy_row(token, row);
                kernels.rms_norm(row, norm, eps);
                for (block, signal) in row.chunks_exact(BLOCK).enumerate() {
                    let gate = &gate.panel(block)[token * PANEL..][..PANEL];
                    let out = &mut out[block * count + index..][..1];
                    kernels.activate_multiply_quantize(Activation::GeluTanh, gate, signal, out);
                }
            }
            worker.stopwatch.lap(Phase::Gelu);
        });
    }
}

/// The shape of the input of `proj`.
pub(super) fn gated_input(batch: &Batch, width: usize) -> ActivationShape {
    ActivationShape {
        tokens: batch.tokens(),
        columns: width,
        chunk: batch.chunk(),
        terms: 1,
    }
}
