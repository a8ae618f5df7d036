//! Every kernel once on small shapes, for Miri and other slow tools that check each memory access.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use lanewise_kernels::{
    Activation, ActivationBlock, ActivationChunk, BLOCK, BlockFormat, Kernels, Line, PANEL, Pieces,
    Prefetcher, Q8_0_BYTES, Q8Rows, SoftmaxBlock, pack_keys, score_stride,
};
use support::*;

const EPS: f32 = 1e-6;

#[test]
fn products_access_their_buffers_only() {
    let mut random = Random(1);
    let rows = q8_rows(2, || 0x2c00, || random.bits() as i8);
    on_each_isa(|kernels| {
        for (place, terms) in [(Place::Start, 1), (Place::End, 2)] {
            let bytes = Guarded::new(place, &rows);
            let lines = kernels.panel_lines(2 * BLOCK);
            let mut panel = Guarded::new(place, &vec![Line::ZERO; lines]);
            let row_bytes = 2 * Q8_0_BYTES;
            let rows = Q8Rows {
                bytes: &bytes,
                row_bytes,
            };
            let mut prefetcher = Prefetcher::new(&bytes, 5);
            kernels.pack_panel(rows, 0..2, &mut panel, &mut prefetcher);
            let tokens = 3;
            let blocks = vec![activation(0.5, || 3); 2 * tokens * terms];
            let blocks = Guarded::new(place, &blocks);
            let mut out = Guarded::new(place, &[0.0; 2 * PANEL]);
            let activations = ActivationChunk {
                blocks: &blocks,
                tokens,
                terms,
            };
            kernels.gemm(&panel, activations, 0..2, 1..3, &mut out, &mut prefetcher);
            assert!(out.iter().all(|value| value.is_finite()));
        }
    });
}

#[test]
fn row_operations_access_their_rows_only() {
    let mut random = Random(2);
    let values = random.floats(2 * BLOCK, 2.0);
    on_each_isa(|kernels| {
        for place in PLACES {
            let x = Guarded::new(place, &values);
            let weight = Guarded::new(place, &values);
            let mut row = Guarded::new(place, &values);
            kernels.rms_norm(&mut row, &weight, EPS);
            kernels.add_rms_norm(&mut row, Pieces::new(&x, BLOCK, 2), None, &weight, EPS);
            kernels.add_rms_norm(&mut row, Pieces::new(&x, BLOCK, 2), Some(&x), &weight, EPS);
            kernels.accumulate(&mut row, &x);
            let mut blocks = Guarded::new(place, &[ActivationBlock::default(); 4]);
            kernels.quantize(&x, 2, &mut blocks, 2);
            kernels.rms_norm_quantize(&x, &weight, EPS, &mut blocks, 3);
            kernels.layer_norm_quantize(&x, &weight, EPS, &mut blocks, 3);
            kernels.layer_norm(&mut row, &weight, EPS);
            for activation in Activation::ALL {
                let out = &mut blocks[2..];
                kernels.activate_multiply_quantize(activation, &x, &weight, out);
            }
            kernels.bias_gelu_quantize(&x, &weight[BLOCK..], &mut blocks[2..]);
            for base in [None, Some(&*x)] {
                let y = Pieces::new(&x, BLOCK, 2);
                kernels.add_layer_norm(&mut row, y, base, [&weight, &x], EPS);
                kernels.add(&mut row, y, base);
            }
            let q8 = Guarded::new(place, &[7; 2 * Q8_0_BYTES]);
            kernels.dequantize_q8_0(&q8, 2.0, &mut row);
            for format in BlockFormat::ALL {
                let blocks = Guarded::new(place, &vec![7; 2 * format.bytes()]);
                let bytes = 2 * format.values() / BLOCK * Q8_0_BYTES;
                kernels.unpack(format, &blocks, &mut Guarded::new(place, &vec![0; bytes]));
            }
            assert!(row.iter().all(|value| value.is_finite()));
        }
    });
}

#[test]
fn attention_accesses_its_buffers_only() {
    on_each_isa(|kernels| {
        for place in PLACES {
            attention(kernels, place);
        }
    });
}

fn attention(kernels: Kernels, place: Place) {
    let (dim, count, tokens) = (BLOCK, 3, 37usize);
    let mut random = Random(3);
    let x = Guarded::new(place, &random.floats(dim, 1.0));
    let rope = Guarded::new(place, &[0.5; BLOCK]);
    let mut head = Guarded::new(place, &[0; BLOCK]);
    let pieces = Pieces::new(&x, BLOCK, 1);
    let scale = kernels.head_norm_rope(pieces, &x, &rope, EPS, &mut head);
    let head_of_bias = &mut Guarded::new(place, &[0; BLOCK]);
    for bias in [None, Some(&*x)] {
        kernels.head_bias(pieces, bias, head_of_bias);
    }
    kernels.head_rope(pieces, &rope, head_of_bias);
    let queries = Guarded::new(place, &head.repeat(count));
    let query_scales = Guarded::new(place, &[scale; 3]);
    let mut keys = Guarded::new(place, &[0; BLOCK / 2 * PANEL]);
    pack_keys(&queries[..2 * dim], dim, &mut keys);
    let key_scales = Guarded::new(place, &[scale; PANEL]);
    let mut scores = Guarded::new(place, &[0.0; 3 * PANEL]);
    kernels.attention_scores(
        &queries,
        &query_scales,
        &keys,
        &key_scales,
        &mut scores,
        PANEL,
    );

    let blocks = tokens.div_ceil(BLOCK);
    let mut weights = Guarded::new(place, &vec![SoftmaxBlock::default(); count * blocks]);
    for weights in weights.chunks_exact_mut(blocks) {
        let mut scores = Guarded::new(place, &random.floats(blocks * BLOCK, 1.0));
        let sum = kernels.softmax(&mut scores, BLOCK, 1..tokens, 1, weights);
        assert!(sum > 0.0);
    }
    let values = Guarded::new(place, &random.floats(tokens * PANEL, 1.0));
    let mut packed = Guarded::new(place, &vec![Line::ZERO; kernels.value_lines(tokens)]);
    let mut scales = Guarded::new(place, &[0.0; 2 * PANEL]);
    kernels.pack_values(&values, &mut packed, &mut scales);
    let mut out = Guarded::new(place, &vec![0.0; count * PANEL]);
    kernels.attention_weighted_sum(
        &weights,
        &vec![1e-3; count],
        &packed,
        &scales[..PANEL],
        &mut out,
        PANEL,
    );
    assert!(out.iter().all(|value| value.is_finite()));
}

#[test]
fn search_accesses_its_buffers_only() {
    let mut random = Random(4);
    let (dims, rows, count) = (77, 19, 17);
    let bytes: Vec<u8> = (0..rows * dims).map(|_| random.bits() as u8).collect();
    let values: Vec<i8> = bytes.iter().map(|byte| *byte as i8).collect();
    let floats = random.floats(rows * dims, 1.0);
    on_each_isa(|kernels| {
        for place in PLACES {
            let rows_of = Guarded::new(place, &values);
            let queries = Guarded::new(place, &values[..count * dims]);
            let mut scores = Guarded::new(place, &vec![0; rows]);
            kernels.dot_i8(&rows_of, &queries[..dims], &mut scores);
            let lines = vec![Line::ZERO; kernels.query_lines(dims, count)];
            let mut packed = Guarded::new(place, &lines);
            kernels.pack_queries(&queries, dims, &mut packed);
            let mut scores = Guarded::new(place, &vec![0; rows * score_stride(count)]);
            kernels.gemm_i8(&rows_of, dims, &packed, count, &mut scores);

            let rows_of = Guarded::new(place, &bytes);
            let queries = Guarded::new(place, &bytes[..count * dims]);
            let mut distances = Guarded::new(place, &vec![0; rows]);
            kernels.hamming(&rows_of, &queries[..dims], &mut distances);
            kernels.hamming_planes(&rows_of, &queries[..3 * dims], &mut distances);
            let lines = vec![Line::ZERO; kernels.binary_query_lines(dims, count)];
            let mut packed = Guarded::new(place, &lines);
            kernels.pack_binary_queries(&queries, dims, &mut packed);
            let mut distances = Guarded::new(place, &vec![0; rows * score_stride(count)]);
            kernels.hamming_many(&rows_of, dims, &packed, count, &mut distances);
            assert_eq!(distances[0], 0, "the first query is the first row");

            let rows_of = Guarded::new(place, &floats);
            let mut products = Guarded::new(place, &vec![0.0; rows]);
            kernels.dot_f32(&rows_of, &rows_of[..dims], &mut products);
            assert!(products.iter().all(|product| product.is_finite()));
        }
    });
}

#[test]
fn sizes_whose_product_overflows_panic() {
    let blocks = [ActivationBlock::default(); 4];
    let huge = usize::MAX / 2 + 2;
    on_each_isa(|kernels| {
        let refused = |run: &dyn Fn()| assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
        refused(&|| kernels.quantize(&[0.0; 3 * BLOCK], 1, &mut blocks.clone(), huge));
        refused(&|| {
            let rows = Q8Rows {
                bytes: &[],
                row_bytes: Q8_0_BYTES << 59,
            };
            kernels.pack_panel(rows, 0..1, &mut [], &mut Prefetcher::default());
        });
        refused(&|| {
            let activations = ActivationChunk {
                blocks: &blocks,
                tokens: huge,
                terms: 2,
            };
            let (last, mut out) = (huge - 1..huge, [0.0; PANEL]);
            kernels.gemm(
                &[Line::ZERO; 64],
                activations,
                0..1,
                last,
                &mut out,
                &mut Prefetcher::default(),
            );
        });
        refused(&|| {
            let (keys, mut out) = ([0; PANEL], [0.0; 2 * PANEL]);
            let (queries, scales) = ([0; 6], [0.0; PANEL]);
            kernels.attention_scores(&queries, &[1.0; 3], &keys, &scales, &mut out, huge);
        });
        refused(&|| {
            let (lines, mut out) = (kernels.value_lines(1), [0.0; 3 * PANEL]);
            let (weights, scales) = ([SoftmaxBlock::default(); 3], [0.0; PANEL]);
            let packed = vec![Line::ZERO; lines];
            kernels.attention_weighted_sum(&weights, &[1.0; 3], &packed, &scales, &mut out, huge);
        });
        refused(&|| {
            let mut out = [SoftmaxBlock::default(); 2];
            kernels.softmax(&mut [0.0; 64], huge, 0..1, 1, &mut out);
        });
    });
}
