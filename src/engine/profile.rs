//! Where a forward pass spends its time: one stopwatch a thread, off by default.

use std::time::{Duration, Instant};

/// What a thread is doing, in the order of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Phase {
    /// Rows of the embedding table, dequantized.
    Embed,
    /// The residual addition, both norms beside it, and the quantized input of the next product.
    Norm,
    /// Panels of weights, transposed from the mapped file.
    Pack,
    /// Products with `attn_q`, `attn_k` and `attn_v`.
    AttnInput,
    /// Norm, RoPE and quantization of queries and keys, and packing of keys.
    Heads,
    /// Quantization and packing of values.
    Values,
    /// Queries times keys.
    Scores,
    /// Softmax over the scores.
    Softmax,
    /// Softmax weights times values.
    WeightedSum,
    /// The output of attention, quantized.
    Quantize,
    /// Product with `attn_output`.
    AttnOutput,
    /// Products with `ffn_gate` and `ffn_up`.
    FfnInput,
    /// GELU of the gate times the other half, quantized.
    Gelu,
    /// Product with `ffn_down`.
    FfnOutput,
    /// Last norm and mean over the tokens.
    Pool,
    /// The two dense heads, and the unit length.
    Dense,
    /// Between two tasks: waiting for the other threads, and entering and leaving jobs.
    Wait,
}

impl Phase {
    /// All of them, in order.
    pub const ALL: [Phase; 17] = [
        Phase::Embed,
        Phase::Norm,
        Phase::Pack,
        Phase::AttnInput,
        Phase::Heads,
        Phase::Values,
        Phase::Scores,
        Phase::Softmax,
        Phase::WeightedSum,
        Phase::Quantize,
        Phase::AttnOutput,
        Phase::FfnInput,
        Phase::Gelu,
        Phase::FfnOutput,
        Phase::Pool,
        Phase::Dense,
        Phase::Wait,
    ];

    /// What it is called in a table.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Embed => "embed",
            Phase::Norm => "norm",
            Phase::Pack => "pack weights",
            Phase::AttnInput => "attn_q, k, v",
            Phase::Heads => "norm, rope of heads",
            Phase::Values => "pack values",
            Phase::Scores => "attention scores",
            Phase::Softmax => "softmax",
            Phase::WeightedSum => "weighted sum",
            Phase::Quantize => "quantize",
            Phase::AttnOutput => "attn_output",
            Phase::FfnInput => "ffn_gate, up",
            Phase::Gelu => "gelu",
            Phase::FfnOutput => "ffn_down",
            Phase::Pool => "pool",
            Phase::Dense => "dense heads",
            Phase::Wait => "wait",
        }
    }
}

/// Time a phase, of one thread.
pub type PhaseTimes = [Duration; Phase::ALL.len()];

/// The stopwatch of one thread: each lap is counted for a phase, so that together they are the
/// whole time. While it is off a lap costs one branch.
#[derive(Debug, Default)]
pub(crate) struct Stopwatch {
    last: Option<Instant>,
    spent: PhaseTimes,
}

impl Stopwatch {
    /// Begins at zero.
    pub fn start(&mut self, now: Instant) {
        *self = Stopwatch {
            last: Some(now),
            spent: PhaseTimes::default(),
        };
    }

    /// Counts the time since the last lap for `phase`.
    #[inline]
    pub fn lap(&mut self, phase: Phase) {
        if let Some(last) = &mut self.last {
            let now = Instant::now();
            self.spent[phase as usize] += now - *last;
            *last = now;
        }
    }

    /// The last lap is waiting for the end; goes off.
    pub fn stop(&mut self) -> PhaseTimes {
        self.lap(Phase::Wait);
        self.last = None;
        self.spent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_listed_in_order_under_names_of_their_own() {
        for (index, phase) in Phase::ALL.into_iter().enumerate() {
            assert_eq!(phase as usize, index);
            let same = Phase::ALL.into_iter().filter(|p| p.name() == phase.name());
            assert_eq!(same.count(), 1, "{}", phase.name());
        }
    }

    #[test]
    fn laps_add_up_to_the_whole_time_and_cost_nothing_while_off() {
        let mut stopwatch = Stopwatch::default();
        stopwatch.lap(Phase::Norm);
        assert_eq!(stopwatch.stop(), PhaseTimes::default());
        let start = Instant::now();
        stopwatch.start(start);
        for phase in [Phase::Norm, Phase::Pack, Phase::Norm] {
            std::thread::sleep(Duration::from_millis(1));
            stopwatch.lap(phase);
        }
        let spent = stopwatch.stop();
        assert!(spent[Phase::Norm as usize] >= Duration::from_millis(2));
        assert!(spent.iter().sum::<Duration>() <= start.elapsed());
    }
}
