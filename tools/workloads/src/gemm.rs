//! Packing of weights, and matrix products.

use lanewise_kernels::{
    ActivationBlock, ActivationChunk, BLOCK, Kernels, Line, PANEL, Prefetcher, Q8_0_BYTES, Q8Rows,
};
use lanewise_testkit::random::Random;

use super::weights::{Temperature, Weights};
use super::{Amount, Bits, Prepared, Work};

/// Tokens of the matrix products measured.
pub const TOKENS: [usize; 6] = [1, 4, 12, 16, 64, 512];

/// Tokens a chunk of activations, as in the forward pass.
const CHUNK: usize = 48;

/// The shape of a weight matrix, and the number of INT8 terms of its input.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Length of the output; a multiple of [`PANEL`].
    pub rows: usize,
    /// Length of the input; a multiple of [`BLOCK`].
    pub columns: usize,
    /// 1 or 2.
    pub terms: usize,
}

impl Shape {
    const fn new(rows: usize, columns: usize, terms: usize) -> Self {
        Shape {
            rows,
            columns,
            terms,
        }
    }

    fn row_bytes(self) -> usize {
        self.columns / BLOCK * Q8_0_BYTES
    }
}

/// The matrices of EmbeddingGemma-300M.
pub const SHAPES: [Shape; 7] = [
    Shape::new(768, 768, 1),  // attn_q
    Shape::new(256, 768, 1),  // attn_k, attn_v
    Shape::new(768, 768, 2),  // attn_output
    Shape::new(1152, 768, 1), // ffn_gate, ffn_up
    Shape::new(768, 1152, 1), // ffn_down
    Shape::new(3072, 768, 2), // dense_2
    Shape::new(768, 3072, 2), // dense_3
];

/// Packs every panel of a matrix, one after the other, into the same buffer. The throughput counts
/// the bytes of the file.
pub fn pack_panel(kernels: Kernels, shape: Shape, temperature: Temperature) -> Work {
    Work::new(
        format!("pack_panel/q8_0/{}x{}", shape.rows, shape.columns),
        Amount::Bytes((shape.rows * shape.row_bytes()) as u64),
        move || {
            let mut weights = Weights::new(shape.rows, shape.columns, temperature);
            let lines = kernels.panel_lines(shape.columns);
            let packed = Packed {
                kernels,
                shape,
                panel: vec![Line::ZERO; lines],
            };
            Prepared::new(packed, move |packed| {
                for bytes in weights.next().chunks_exact(PANEL * shape.row_bytes()) {
                    let row_bytes = shape.row_bytes();
                    kernels.pack_panel(
                        Q8Rows { bytes, row_bytes },
                        0..shape.columns / BLOCK,
                        &mut packed.panel,
                        &mut Prefetcher::default(),
                    );
                }
            })
        },
    )
}

/// A packed panel, which is compared by its products.
struct Packed {
    kernels: Kernels,
    shape: Shape,
    panel: Vec<Line>,
}

impl Bits for Packed {
    fn bits(&self) -> Vec<u32> {
        let inputs = Inputs::new(Shape::new(PANEL, self.shape.columns, 1), 3);
        let mut out = vec![0.0; 3 * PANEL];
        inputs.multiply(self.kernels, &self.panel, &mut out);
        out.bits()
    }
}

/// Multiplies packed panels by the activations of `tokens`.
pub fn gemm(kernels: Kernels, shape: Shape, tokens: usize) -> Work {
    Work::new(
        name("gemm", shape, tokens),
        multiply_adds(shape, tokens),
        move || {
            let inputs = Inputs::new(shape, tokens);
            let lines = kernels.panel_lines(shape.columns);
            let mut panels = vec![Line::ZERO; shape.rows / PANEL * lines];
            let mut weights = Weights::new(shape.rows, shape.columns, Temperature::Warm);
            let row_bytes = shape.row_bytes();
            let rows = weights.next().chunks_exact(PANEL * row_bytes);
            for (bytes, panel) in rows.zip(panels.chunks_exact_mut(lines)) {
                let (rows, blocks) = (Q8Rows { bytes, row_bytes }, 0..shape.columns / BLOCK);
                kernels.pack_panel(rows, blocks, panel, &mut Prefetcher::default());
            }
            Prepared::new(vec![0.0; shape.rows * tokens], move |out| {
                let outs = out.chunks_exact_mut(PANEL * tokens);
                for (panel, out) in panels.chunks_exact(lines).zip(outs) {
                    inputs.multiply(kernels, panel, out);
                }
            })
        },
    )
}

/// Packs each panel and multiplies it.
pub fn pack_gemm(kernels: Kernels, shape: Shape, tokens: usize, temperature: Temperature) -> Work {
    Work::new(
        name("pack_gemm", shape, tokens),
        multiply_adds(shape, tokens),
        move || {
            let inputs = Inputs::new(shape, tokens);
            let mut panel = vec![Line::ZERO; kernels.panel_lines(shape.columns)];
            let mut weights = Weights::new(shape.rows, shape.columns, temperature);
            Prepared::new(vec![0.0; shape.rows * tokens], move |out| {
                let row_bytes = shape.row_bytes();
                let rows = weights.next().chunks_exact(PANEL * row_bytes);
                for (bytes, out) in rows.zip(out.chunks_exact_mut(PANEL * tokens)) {
                    kernels.pack_panel(
                        Q8Rows { bytes, row_bytes },
                        0..shape.columns / BLOCK,
                        &mut panel,
                        &mut Prefetcher::default(),
                    );
                    inputs.multiply(kernels, &panel, out);
                }
            })
        },
    )
}

fn name(operation: &str, shape: Shape, tokens: usize) -> String {
    let input = ["i8", "2xi8"][shape.terms - 1];
    let Shape { rows, columns, .. } = shape;
    format!("{operation}/{input}xq8_0/{rows}x{columns}x{tokens}")
}

/// INT8 multiply-adds: one for each weight, token and term.
fn multiply_adds(shape: Shape, tokens: usize) -> Amount {
    Amount::MultiplyAdds((shape.rows * shape.columns * tokens * shape.terms) as u64)
}

/// Quantized activations in chunks of tokens.
struct Inputs {
    terms: usize,
    chunks: Vec<(usize, Vec<ActivationBlock>)>,
}

impl Inputs {
    fn new(shape: Shape, tokens: usize) -> Self {
        let kernels = super::rows::scalar();
        let mut random = Random(2);
        let chunk = |first: usize| {
            let tokens = CHUNK.min(tokens - first);
            let count = shape.columns / BLOCK * tokens * shape.terms;
            let mut blocks = vec![ActivationBlock::default(); count];
            for token in 0..tokens {
                let row = random.floats(shape.columns, 3.0);
                let out = &mut blocks[token * shape.terms..];
                kernels.quantize(&row, shape.terms, out, tokens * shape.terms);
            }
            (tokens, blocks)
        };
        Inputs {
            terms: shape.terms,
            chunks: (0..tokens).step_by(CHUNK).map(chunk).collect(),
        }
    }

    /// `out[token][32]`: one panel times all tokens. Inlined, so that counts are of the kernel.
    #[inline(always)]
    fn multiply(&self, kernels: Kernels, panel: &[Line], out: &mut [f32]) {
        let mut rest = out;
        for (tokens, blocks) in &self.chunks {
            let (out, after) = rest.split_at_mut(tokens * PANEL);
            rest = after;
            let activations = ActivationChunk {
                blocks,
                tokens: *tokens,
                terms: self.terms,
            };
            let blocks = 0..activations.row_blocks();
            kernels.gemm(
                panel,
                activations,
                blocks,
                0..*tokens,
                out,
                &mut Prefetcher::default(),
            );
        }
    }
}
