//! Every kernel of every instruction set against scalar: any shape, any bytes, between unmapped
//! pages.
//!
//! The input chooses the kernel, the shape and how values are drawn. Its remaining bytes are the
//! first values; seeded ones follow, so that a short input reaches large shapes.

use lanewise_kernels::{
    Activation, ActivationBlock, ActivationChunk, BLOCK, BlockFormat, HEAD_MAX, Kernels, Line,
    PANEL, Pieces, Prefetcher, Q8_0_BYTES, Q8Rows, QUERY_PLANES, SoftmaxBlock, f16_to_f32,
    pack_keys, score_stride,
};
use libfuzzer_sys::arbitrary::Unstructured;

use crate::{byte, pick};

#[path = "../../kernels/tests/support/mod.rs"]
mod support;

use support::{
    Guarded, PLACES, Place, Random, activation, assert_same_bits, assert_same_blocks, on_each_isa,
    scalar,
};

const EPS: f32 = 1e-6;

/// Runs the target.
///
/// # Panics
/// If an instruction set gives other bits than scalar.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let kernel = byte(&mut input) % KERNELS.len() as u8;
    let mut values = Values::new(&mut input);
    KERNELS[usize::from(kernel)](&mut values);
}

const KERNELS: [fn(&mut Values); 22] = [
    gemm,
    add_rms_norm,
    add_layer_norm,
    rms_norm_quantize,
    rms_norm,
    head_norm_rope,
    head_bias,
    activate_multiply_quantize,
    bias_gelu_quantize,
    quantize,
    softmax,
    attention_scores,
    attention_weighted_sum,
    dequantize_and_accumulate,
    layer_norm,
    layer_norm_quantize,
    head_rope,
    add,
    unpack,
    search_i8,
    search_binary,
    dot_f32,
];

/// Where shapes and values come from.
struct Values<'a, 'b> {
    input: &'a mut Unstructured<'b>,
    random: Random,
    /// The largest magnitude of floats.
    bound: f32,
}

impl<'a, 'b> Values<'a, 'b> {
    fn new(input: &'a mut Unstructured<'b>) -> Self {
        let bounds = [1.0, 1e-3, 10.0, 300.0, 1e15, 1e-15, 1e-38, 1e-45];
        let bound = pick(input, &bounds);
        let random = Random(byte(input).into());
        Self {
            input,
            random,
            bound,
        }
    }

    /// From 1 to `most`.
    fn size(&mut self, most: u8) -> usize {
        usize::from(byte(self.input) % most) + 1
    }

    fn byte(&mut self) -> u8 {
        match self.input.is_empty() {
            true => self.random.bits() as u8,
            false => byte(self.input),
        }
    }

    /// A finite number up to the bound, often one that rounds or cancels.
    fn float(&mut self) -> f32 {
        match self.byte() {
            0..=15 => 0.0,
            16..=23 => -0.0,
            24..=39 => self.bound,
            40..=55 => -self.bound,
            56..=71 => self.bound / 254.0,
            72..=79 => f32::MIN_POSITIVE,
            80..=87 => 1e-45,
            _ => self.random.float(self.bound),
        }
    }

    fn floats(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.float()).collect()
    }

    fn integers(&mut self, count: usize, largest: i32) -> Vec<i16> {
        let mut integer = || match self.byte() {
            0..=31 => largest as i16,
            32..=63 => -largest as i16,
            64..=79 => 0,
            _ => (self.random.bits() % (2 * largest as u64 + 1)) as i16 - largest as i16,
        };
        (0..count).map(|_| integer()).collect()
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }

    fn blocks(&mut self, count: usize) -> Vec<ActivationBlock> {
        let mut block = || {
            let scale = self.float();
            activation(scale, || self.byte() as i8)
        };
        (0..count).map(|_| block()).collect()
    }
}

/// Compares the floats that `run` returns for every instruction set and both places with scalar's.
fn check_floats(what: &str, run: impl Fn(Kernels, Place) -> Vec<f32>) {
    let expected = run(scalar(), Place::End);
    on_each_isa(|kernels| {
        for place in PLACES {
            assert_same_bits(&run(kernels, place), &expected, || {
                format!("{} {what} {place:?}", kernels.isa())
            });
        }
    });
}

/// Like `check_floats` for blocks.
fn check_blocks(what: &str, run: impl Fn(Kernels, Place) -> Vec<ActivationBlock>) {
    let expected = run(scalar(), Place::End);
    on_each_isa(|kernels| {
        for place in PLACES {
            assert_same_blocks(&run(kernels, place), &expected, || {
                format!("{} {what} {place:?}", kernels.isa())
            });
        }
    });
}

/// The bytes of the weights may be anything, because they come from a file.
fn gemm(values: &mut Values) {
    let (blocks, tokens, terms) = (values.size(24), values.size(30), values.size(2));
    let start = values.size(tokens as u8) - 1;
    let end = start + values.size((tokens - start) as u8);
    let cut = values.size(blocks as u8);
    let row_bytes = blocks * Q8_0_BYTES;
    let activations = values.blocks(blocks * tokens * terms);
    let rows = values.bytes(PANEL * row_bytes);
    check_floats("gemm", |kernels, place| {
        let bytes = Guarded::new(place, &rows);
        let lines = kernels.panel_lines(blocks * BLOCK);
        let mut panel = Guarded::new(place, &vec![Line([0xa5; 64]); lines]);
        let rows = Q8Rows {
            bytes: &bytes,
            row_bytes,
        };
        let mut prefetcher = Prefetcher::new(&bytes, 5);
        kernels.pack_panel(rows, 0..cut, &mut panel, &mut prefetcher);
        let values = Guarded::new(place, &activations);
        let mut out = Guarded::new(place, &vec![0.0; (end - start) * PANEL]);
        let activations = ActivationChunk {
            blocks: &values,
            tokens,
            terms,
        };
        kernels.gemm(
            &panel,
            activations,
            0..cut,
            start..end,
            &mut out,
            &mut prefetcher,
        );
        if cut < blocks {
            kernels.pack_panel(rows, cut..blocks, &mut panel, &mut prefetcher);
            kernels.gemm(
                &panel,
                activations,
                cut..blocks,
                start..end,
                &mut out,
                &mut prefetcher,
            );
        }
        out.to_vec()
    });
}

fn add_rms_norm(values: &mut Values) {
    let (pieces, stride) = (values.size(36), BLOCK * values.size(3));
    let x = values.floats(pieces * BLOCK);
    let weight = values.floats(pieces * BLOCK);
    let y = values.floats((pieces - 1) * stride + BLOCK);
    let base = (values.size(2) == 2).then(|| values.floats(pieces * BLOCK));
    check_floats("add_rms_norm", |kernels, place| {
        let mut x = Guarded::new(place, &x);
        let y = Guarded::new(place, &y);
        let y = Pieces::new(&y, stride, pieces);
        let base = base.as_ref().map(|base| Guarded::new(place, base));
        let weight = Guarded::new(place, &weight);
        kernels.add_rms_norm(&mut x, y, base.as_deref(), &weight, EPS);
        x.to_vec()
    });
}

fn add_layer_norm(values: &mut Values) {
    let (pieces, stride) = (values.size(36), BLOCK * values.size(3));
    let rows = [0; 3].map(|_| values.floats(pieces * BLOCK));
    let y = values.floats((pieces - 1) * stride + BLOCK);
    let base = (values.size(2) == 2).then(|| values.floats(pieces * BLOCK));
    check_floats("add_layer_norm", |kernels, place| {
        let [mut x, weight, bias] = rows.each_ref().map(|row| Guarded::new(place, row));
        let y = Guarded::new(place, &y);
        let y = Pieces::new(&y, stride, pieces);
        let base = base.as_ref().map(|base| Guarded::new(place, base));
        kernels.add_layer_norm(&mut x, y, base.as_deref(), [&weight, &bias], EPS);
        x.to_vec()
    });
}

fn rms_norm_quantize(values: &mut Values) {
    let (pieces, stride) = (values.size(36), values.size(3));
    let x = values.floats(pieces * BLOCK);
    let weight = values.floats(pieces * BLOCK);
    check_blocks("rms_norm_quantize", |kernels, place| {
        let out = vec![ActivationBlock::default(); (pieces - 1) * stride + 1];
        let mut out = Guarded::new(place, &out);
        let (x, weight) = (Guarded::new(place, &x), Guarded::new(place, &weight));
        kernels.rms_norm_quantize(&x, &weight, EPS, &mut out, stride);
        out.to_vec()
    });
}

fn rms_norm(values: &mut Values) {
    let length = values.size(36) * BLOCK;
    let (x, weight) = (values.floats(length), values.floats(length));
    check_floats("rms_norm", |kernels, place| {
        let mut x = Guarded::new(place, &x);
        kernels.rms_norm(&mut x, &Guarded::new(place, &weight), EPS);
        x.to_vec()
    });
}

fn head_norm_rope(values: &mut Values) {
    let (pieces, stride) = (values.size(16), BLOCK * values.size(3));
    let x = values.floats((pieces - 1) * stride + BLOCK);
    let weight = values.floats(pieces * BLOCK);
    let mut rope = values.floats(pieces * BLOCK);
    rope.iter_mut().for_each(|angle| *angle = angle.sin());
    check_floats("head_norm_rope", |kernels, place| {
        let mut out = Guarded::new(place, &vec![0; pieces * BLOCK]);
        let x = Guarded::new(place, &x);
        let scale = kernels.head_norm_rope(
            Pieces::new(&x, stride, pieces),
            &Guarded::new(place, &weight),
            &Guarded::new(place, &rope),
            EPS,
            &mut out,
        );
        let integers = out.iter().map(|value| f32::from(*value));
        std::iter::once(scale).chain(integers).collect()
    });
}

fn head_bias(values: &mut Values) {
    let (pieces, stride) = (values.size(16), BLOCK * values.size(3));
    let x = values.floats((pieces - 1) * stride + BLOCK);
    let bias = (values.size(2) == 2).then(|| values.floats(pieces * BLOCK));
    check_floats("head_bias", |kernels, place| {
        let mut out = Guarded::new(place, &vec![0; pieces * BLOCK]);
        let x = Guarded::new(place, &x);
        let bias = bias.as_ref().map(|bias| Guarded::new(place, bias));
        let pieces = Pieces::new(&x, stride, pieces);
        let scale = kernels.head_bias(pieces, bias.as_deref(), &mut out);
        let integers = out.iter().map(|value| f32::from(*value));
        std::iter::once(scale).chain(integers).collect()
    });
}

fn bias_gelu_quantize(values: &mut Values) {
    let tokens = values.size(40);
    let (x, bias) = (values.floats(tokens * BLOCK), values.floats(BLOCK));
    check_blocks("bias_gelu_quantize", |kernels, place| {
        let mut out = Guarded::new(place, &vec![ActivationBlock::default(); tokens]);
        let (x, bias) = (Guarded::new(place, &x), Guarded::new(place, &bias));
        kernels.bias_gelu_quantize(&x, &bias, &mut out);
        out.to_vec()
    });
}

fn activate_multiply_quantize(values: &mut Values) {
    let tokens = values.size(40);
    let (gate, up) = (values.floats(tokens * BLOCK), values.floats(tokens * BLOCK));
    let activation = Activation::ALL[values.size(3) - 1];
    check_blocks("activate_multiply_quantize", |kernels, place| {
        let mut out = Guarded::new(place, &vec![ActivationBlock::default(); tokens]);
        let (gate, up) = (Guarded::new(place, &gate), Guarded::new(place, &up));
        kernels.activate_multiply_quantize(activation, &gate, &up, &mut out);
        out.to_vec()
    });
}

fn layer_norm(values: &mut Values) {
    let length = values.size(36) * BLOCK;
    let (x, weight) = (values.floats(length), values.floats(length));
    check_floats("layer_norm", |kernels, place| {
        let mut x = Guarded::new(place, &x);
        kernels.layer_norm(&mut x, &Guarded::new(place, &weight), EPS);
        x.to_vec()
    });
}

fn layer_norm_quantize(values: &mut Values) {
    let (pieces, stride) = (values.size(36), values.size(3));
    let x = values.floats(pieces * BLOCK);
    let weight = values.floats(pieces * BLOCK);
    check_blocks("layer_norm_quantize", |kernels, place| {
        let out = vec![ActivationBlock::default(); (pieces - 1) * stride + 1];
        let mut out = Guarded::new(place, &out);
        let (x, weight) = (Guarded::new(place, &x), Guarded::new(place, &weight));
        kernels.layer_norm_quantize(&x, &weight, EPS, &mut out, stride);
        out.to_vec()
    });
}

fn head_rope(values: &mut Values) {
    let (pieces, stride) = (values.size(16), BLOCK * values.size(3));
    let x = values.floats((pieces - 1) * stride + BLOCK);
    let mut rope = values.floats(pieces * BLOCK);
    rope.iter_mut().for_each(|angle| *angle = angle.sin());
    check_floats("head_rope", |kernels, place| {
        let mut out = Guarded::new(place, &vec![0; pieces * BLOCK]);
        let (x, rope) = (Guarded::new(place, &x), Guarded::new(place, &rope));
        let scale = kernels.head_rope(Pieces::new(&x, stride, pieces), &rope, &mut out);
        let integers = out.iter().map(|value| f32::from(*value));
        std::iter::once(scale).chain(integers).collect()
    });
}

fn add(values: &mut Values) {
    let (pieces, stride) = (values.size(36), BLOCK * values.size(3));
    let y = values.floats((pieces - 1) * stride + BLOCK);
    let x = values.floats(pieces * BLOCK);
    let base = (values.size(2) == 2).then(|| values.floats(pieces * BLOCK));
    check_floats("add", |kernels, place| {
        let (mut x, y) = (Guarded::new(place, &x), Guarded::new(place, &y));
        let base = base.as_ref().map(|base| Guarded::new(place, base));
        kernels.add(&mut x, Pieces::new(&y, stride, pieces), base.as_deref());
        x.to_vec()
    });
}

fn quantize(values: &mut Values) {
    let (pieces, terms) = (values.size(36), values.size(2));
    let stride = terms - 1 + values.size(4);
    let x = values.floats(pieces * BLOCK);
    check_blocks("quantize", |kernels, place| {
        let out = vec![ActivationBlock::default(); (pieces - 1) * stride + terms];
        let mut out = Guarded::new(place, &out);
        kernels.quantize(&Guarded::new(place, &x), terms, &mut out, stride);
        out.to_vec()
    });
}

fn softmax(values: &mut Values) {
    let (blocks, terms) = (values.size(20), values.size(2));
    let stride = BLOCK - 1 + values.size(40);
    let start = values.size(255) % (blocks * BLOCK);
    let end = start + 1 + values.size(255) % (blocks * BLOCK - start);
    let scores = values.floats((blocks - 1) * stride + BLOCK);
    check_floats("softmax", |kernels, place| {
        let mut scores = Guarded::new(place, &scores);
        let mut out = Guarded::new(place, &vec![SoftmaxBlock::default(); blocks * terms]);
        let sum = kernels.softmax(&mut scores, stride, start..end, terms, &mut out);
        let weights = out.iter().flat_map(|block| block.values.map(f32::from));
        let scales = out.iter().map(|block| block.scale);
        weights.chain(scales).chain([sum]).collect()
    });
}

fn attention_scores(values: &mut Values) {
    let (dim, count, keys) = (
        2 * values.size(255),
        values.size(40),
        values.size(PANEL as u8),
    );
    let stride = PANEL - 1 + values.size(40);
    let queries = values.integers(count * dim, HEAD_MAX);
    let key_values = values.integers(keys * dim, HEAD_MAX);
    let (query_scales, key_scales) = (values.floats(count), values.floats(PANEL));
    check_floats("attention_scores", |kernels, place| {
        let mut packed = Guarded::new(place, &vec![0; dim / 2 * PANEL]);
        pack_keys(&Guarded::new(place, &key_values), dim, &mut packed);
        let mut out = Guarded::new(place, &vec![0.0; (count - 1) * stride + PANEL]);
        kernels.attention_scores(
            &Guarded::new(place, &queries),
            &Guarded::new(place, &query_scales),
            &packed,
            &Guarded::new(place, &key_scales),
            &mut out,
            stride,
        );
        out.to_vec()
    });
}

fn attention_weighted_sum(values: &mut Values) {
    let (tokens, count, terms) = (values.size(100), values.size(20), values.size(2));
    let out_stride = PANEL - 1 + values.size(40);
    let channels = values.floats(tokens * PANEL);
    let weights: Vec<_> = (0..count * tokens.div_ceil(BLOCK) * terms)
        .map(|_| SoftmaxBlock {
            scale: values.float(),
            values: std::array::from_fn(|_| values.byte()),
        })
        .collect();
    let factors = values.floats(count);
    check_floats("attention_weighted_sum", |kernels, place| {
        let lines = vec![Line::ZERO; kernels.value_lines(tokens)];
        let mut packed = Guarded::new(place, &lines);
        let mut scales = Guarded::new(place, &[0.0; 2 * PANEL]);
        kernels.pack_values(&Guarded::new(place, &channels), &mut packed, &mut scales);
        let mut out = Guarded::new(place, &vec![0.0; (count - 1) * out_stride + PANEL]);
        kernels.attention_weighted_sum(
            &Guarded::new(place, &weights),
            &Guarded::new(place, &factors),
            &packed,
            &scales[..PANEL],
            &mut out,
            out_stride,
        );
        out.iter().chain(scales.iter()).copied().collect()
    });
}

/// Blocks of any bytes, whose scales may be infinite or not a number.
fn unpack(values: &mut Values) {
    let format = BlockFormat::ALL[values.size(BlockFormat::ALL.len() as u8) - 1];
    let (blocks, shift) = (values.size(12), values.size(64) - 1);
    let row = values.bytes(shift + blocks * format.bytes());
    check_floats("unpack", |kernels, place| {
        let bytes = blocks * format.values() / BLOCK * Q8_0_BYTES;
        let mut out = Guarded::new(place, &vec![0; bytes]);
        kernels.unpack(format, &Guarded::new(place, &row)[shift..], &mut out);
        let (out, _) = out.as_chunks::<Q8_0_BYTES>();
        let values = out.iter().flat_map(|[low, high, integers @ ..]| {
            let scale = f16_to_f32(u16::from_le_bytes([*low, *high]));
            // Integers beside a scale that is no number are unspecified.
            let integer = move |integer: &u8| match scale.is_finite() {
                true => f32::from(integer.cast_signed()),
                false => 0.0,
            };
            std::iter::once(scale).chain(integers.iter().map(integer))
        });
        values.collect()
    });
}

/// Rows of a table may start at odd addresses.
fn dequantize_and_accumulate(values: &mut Values) {
    let (pieces, shift) = (values.size(36), values.size(64) - 1);
    let factor = values.float();
    let sum = values.floats(pieces * BLOCK);
    let row = values.bytes(shift + pieces * Q8_0_BYTES);
    check_floats("dequantize_q8_0, accumulate", |kernels, place| {
        let mut out = Guarded::new(place, &vec![0.0; pieces * BLOCK]);
        kernels.dequantize_q8_0(&Guarded::new(place, &row)[shift..], factor, &mut out);
        let mut sum = Guarded::new(place, &sum);
        kernels.accumulate(&mut sum, &out);
        out.iter().chain(sum.iter()).copied().collect()
    });
}

/// One query, then several of which it is the first.
fn search_i8(values: &mut Values) {
    let (dims, rows, count) = (values.size(255), values.size(60), values.size(40));
    let [matrix, queries] = [rows, count].map(|vectors| {
        let bytes = values.bytes(vectors * dims);
        bytes.into_iter().map(|byte| byte as i8).collect::<Vec<_>>()
    });
    check_scores("dot_i8, gemm_i8", |kernels, place| {
        let (matrix, queries) = (Guarded::new(place, &matrix), Guarded::new(place, &queries));
        let mut one = Guarded::new(place, &vec![0; rows]);
        kernels.dot_i8(&matrix, &queries[..dims], &mut one);
        let lines = vec![Line([0xa5; 64]); kernels.query_lines(dims, count)];
        let mut packed = Guarded::new(place, &lines);
        kernels.pack_queries(&queries, dims, &mut packed);
        let mut many = Guarded::new(place, &vec![0; rows * score_stride(count)]);
        kernels.gemm_i8(&matrix, dims, &packed, count, &mut many);
        scores(&one, &many, count)
    });
}

fn search_binary(values: &mut Values) {
    let (bytes, rows, count) = (values.size(255), values.size(60), values.size(40));
    let [matrix, queries] = [rows, count].map(|vectors| values.bytes(vectors * bytes));
    let planes: Vec<u8> = queries
        .iter()
        .copied()
        .cycle()
        .take(QUERY_PLANES * bytes)
        .collect();
    check_scores("hamming_planes", |kernels, place| {
        let (matrix, planes) = (Guarded::new(place, &matrix), Guarded::new(place, &planes));
        let mut out = Guarded::new(place, &vec![0; rows]);
        kernels.hamming_planes(&matrix, &planes, &mut out);
        out.to_vec()
    });
    check_scores("hamming, hamming_many", |kernels, place| {
        let (matrix, queries) = (Guarded::new(place, &matrix), Guarded::new(place, &queries));
        let mut one = Guarded::new(place, &vec![0; rows]);
        kernels.hamming(&matrix, &queries[..bytes], &mut one);
        let lines = vec![Line([0xa5; 64]); kernels.binary_query_lines(bytes, count)];
        let mut packed = Guarded::new(place, &lines);
        kernels.pack_binary_queries(&queries, bytes, &mut packed);
        let mut many = Guarded::new(place, &vec![0; rows * score_stride(count)]);
        kernels.hamming_many(&matrix, bytes, &packed, count, &mut many);
        scores(&one, &many, count)
    });
}

/// The scores of one query, then those of `count` without what fills the last group. The query is the first
/// of them, so its scores must be the same.
fn scores<T: Copy + PartialEq + std::fmt::Debug>(one: &[T], many: &[T], count: usize) -> Vec<T> {
    let rows = many.chunks_exact(score_stride(count));
    assert!(rows.clone().map(|row| &row[0]).eq(one));
    rows.flat_map(|row| &row[..count]).copied().collect()
}

/// Compares the integers that `run` returns for every instruction set and both places with scalar's.
fn check_scores<T: PartialEq + std::fmt::Debug>(
    what: &str,
    run: impl Fn(Kernels, Place) -> Vec<T>,
) {
    let expected = run(scalar(), Place::End);
    on_each_isa(|kernels| {
        for place in PLACES {
            let actual = run(kernels, place);
            assert!(actual == expected, "{} {what} {place:?}", kernels.isa());
        }
    });
}

fn dot_f32(values: &mut Values) {
    let (dims, rows) = (values.size(255), values.size(20));
    let (matrix, query) = (values.floats(rows * dims), values.floats(dims));
    check_floats("dot_f32", |kernels, place| {
        let mut out = Guarded::new(place, &vec![0.0; rows]);
        kernels.dot_f32(
            &Guarded::new(place, &matrix),
            &Guarded::new(place, &query),
            &mut out,
        );
        out.to_vec()
    });
}
