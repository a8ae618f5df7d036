//! Every kernel once on small shapes, so that Miri and other slow tools can watch each access.

mod support;

use lanewise_kernels::{
    ActivationBlock, Activations, BLOCK, Kernels, Line, PANEL, Pieces, Q8_0_BYTES, Q8Rows,
    pack_keys,
};
use support::*;

const EPS: f32 = 1e-6;

#[test]
fn products_touch_their_panel_activations_and_outputs_only() {
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
            kernels.pack_panel(rows, &mut panel);
            let tokens = 3;
            let blocks = vec![activation(0.5, || 3); 2 * tokens * terms];
            let blocks = Guarded::new(place, &blocks);
            let mut out = Guarded::new(place, &[0.0; 2 * PANEL]);
            let activations = Activations {
                blocks: &blocks,
                tokens,
                terms,
            };
            kernels.gemm(&panel, activations, 1..3, &mut out);
            assert!(out.iter().all(|value| value.is_finite()));
        }
    });
}

#[test]
fn row_operations_touch_their_rows_only() {
    let mut random = Random(2);
    let values = random.floats(2 * BLOCK, 2.0);
    on_each_isa(|kernels| {
        for place in PLACES {
            let x = Guarded::new(place, &values);
            let weight = Guarded::new(place, &values);
            let mut row = Guarded::new(place, &values);
            kernels.rms_norm(&mut row, &weight, EPS);
            kernels.add_rms_norm(&mut row, Pieces::new(&x, BLOCK, 2), &weight, EPS);
            kernels.accumulate(&mut row, &x);
            let mut blocks = Guarded::new(place, &[ActivationBlock::default(); 4]);
            kernels.quantise(&x, 2, &mut blocks, 2);
            kernels.rms_norm_quantise(&x, &weight, EPS, &mut blocks, 3);
            kernels.gelu_multiply_quantise(&x, &weight, &mut blocks[2..]);
            let q8 = Guarded::new(place, &[7; 2 * Q8_0_BYTES]);
            kernels.dequantise_q8_0(&q8, 2.0, &mut row);
            assert!(row.iter().all(|value| value.is_finite()));
        }
    });
}

#[test]
fn attention_touches_its_queries_keys_weights_and_values_only() {
    on_each_isa(|kernels| {
        for place in PLACES {
            attention(kernels, place);
        }
    });
}

fn attention(kernels: Kernels, place: Place) {
    let (dim, count, tokens) = (BLOCK, 3, 5);
    let mut random = Random(3);
    let x = Guarded::new(place, &random.floats(dim, 1.0));
    let rope = Guarded::new(place, &[0.5; BLOCK]);
    let mut head = Guarded::new(place, &[0; BLOCK]);
    let pieces = Pieces::new(&x, BLOCK, 1);
    let scale = kernels.head_norm_rope(pieces, &x, &rope, EPS, &mut head);
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

    let mut weights = Guarded::new(place, &[0; 16]);
    let mut row = Guarded::new(place, &scores[..16]);
    let sum = kernels.softmax(&mut row, 1..tokens + 1, &mut weights);
    assert!(sum > 0);
    let values = Guarded::new(place, &random.floats(tokens * PANEL, 1.0));
    let mut packed = Guarded::new(place, &[0; 3 * PANEL]);
    let mut scales = Guarded::new(place, &[0.0; 2 * PANEL]);
    kernels.pack_values(&values, &mut packed, &mut scales);
    let mut out = Guarded::new(place, &[0.0; PANEL]);
    kernels.attention_weighted_sum(&weights, 16, &[1e-3], &packed, &scales, &mut out, PANEL);
    assert!(out.iter().all(|value| value.is_finite()));
}
