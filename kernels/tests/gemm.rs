//! The matrix product: the same bits on every instruction set, and the results of f64 arithmetic.

mod support;

use std::ops::Range;

use half::f16;
use lanewise_kernels::{
    ActivationBlock, ActivationChunk, BLOCK, Kernels, Line, PANEL, PanelLayout, Prefetcher,
    Q8_0_BYTES, Q8Rows, f16_to_f32,
};
use support::*;

/// What outputs hold before a kernel fills them.
const UNSET: f32 = -7777.0;

/// Packs and multiplies up to `cut` blocks at a time, in buffers that start or end at unmapped
/// pages.
fn product_cut(
    kernels: Kernels,
    place: Place,
    rows: &[u8],
    activations: ActivationChunk<'_>,
    tokens: Range<usize>,
    cut: usize,
) -> Vec<f32> {
    let row_bytes = rows.len() / PANEL;
    let row_blocks = row_bytes / Q8_0_BYTES;
    let rows = Guarded::new(place, rows);
    let bytes = &*rows;
    // Nothing is mapped after these bytes: prefetching past their end must be harmless.
    let mut prefetcher = Prefetcher::new(bytes, 5);
    let blocks = Guarded::new(place, activations.blocks);
    let mut out = Guarded::new(place, &vec![UNSET; tokens.len() * PANEL]);
    let activations = ActivationChunk {
        blocks: &blocks,
        ..activations
    };
    for first in (0..row_blocks).step_by(cut) {
        let blocks = first..(first + cut).min(row_blocks);
        let lines = kernels.panel_lines(blocks.len() * BLOCK);
        let mut panel = Guarded::new(place, &vec![Line([0xa5; 64]); lines]);
        let rows = Q8Rows { bytes, row_bytes };
        kernels.pack_panel(rows, blocks.clone(), &mut panel, &mut prefetcher);
        let tokens = tokens.clone();
        kernels.gemm(
            &panel,
            activations,
            blocks,
            tokens,
            &mut out,
            &mut prefetcher,
        );
    }
    out.to_vec()
}

/// Packs and multiplies whole rows.
fn product(
    kernels: Kernels,
    place: Place,
    rows: &[u8],
    activations: ActivationChunk<'_>,
    tokens: Range<usize>,
) -> Vec<f32> {
    product_cut(kernels, place, rows, activations, tokens, usize::MAX)
}

/// Compares every supported instruction set with scalar, at both places.
fn check(rows: &[u8], activations: ActivationChunk<'_>, tokens: Range<usize>, what: &str) {
    let expected = product(scalar(), Place::End, rows, activations, tokens.clone());
    on_each_isa(|kernels| {
        for place in PLACES {
            let actual = product(kernels, place, rows, activations, tokens.clone());
            assert_same_bits(&actual, &expected, || {
                let (all, terms) = (activations.tokens, activations.terms);
                let blocks = activations.row_blocks();
                let isa = kernels.isa();
                format!(
                    "{isa} {what}: {blocks} blocks, tokens {tokens:?} of {all}, terms {terms}, {place:?}"
                )
            });
        }
    });
}

fn random_activations(random: &mut Random, count: usize) -> Vec<ActivationBlock> {
    (0..count)
        .map(|_| {
            // Every twentieth is zero, with integers that are not.
            let scale = random.float(0.01).abs() * f32::from(!random.bits().is_multiple_of(20));
            activation(scale, || random.bits() as i8)
        })
        .collect()
}

/// A positive normal f16 of the size that weight scales have.
fn ordinary_scale(random: &mut Random) -> u16 {
    f16::from_f32(random.float(0.02).abs() + 1e-4).to_bits()
}

#[test]
fn gemm_has_the_bits_of_scalar_for_every_small_shape() {
    let mut random = Random(1);
    for blocks in 1..=40 {
        let mut scales = Random(blocks as u64);
        let rows = q8_rows(
            blocks,
            || ordinary_scale(&mut scales),
            || random.bits() as i8,
        );
        for tokens in 1..=30 {
            for terms in 1..=2 {
                let values = random_activations(&mut random, blocks * tokens * terms);
                let activations = ActivationChunk {
                    blocks: &values,
                    tokens,
                    terms,
                };
                check(&rows, activations, 0..tokens, "random");
                let start = random.bits() as usize % tokens;
                let end = start + random.bits() as usize % (tokens - start + 1);
                check(&rows, activations, start..end, "sub-range");
            }
        }
    }
}

#[test]
fn a_product_in_pieces_has_the_bits_of_the_whole() {
    let (mut random, mut scales) = (Random(10), Random(11));
    for (blocks, tokens) in [(1, 1), (2, 6), (7, 3), (24, 13), (36, 8)] {
        let rows = q8_rows(
            blocks,
            || ordinary_scale(&mut scales),
            || random.bits() as i8,
        );
        for terms in 1..=2 {
            let values = random_activations(&mut random, blocks * tokens * terms);
            let activations = ActivationChunk {
                blocks: &values,
                tokens,
                terms,
            };
            let whole = product(scalar(), Place::End, &rows, activations, 0..tokens);
            on_each_isa(|kernels| {
                for (place, cut) in [(Place::Start, 1), (Place::End, 5), (Place::End, 8)] {
                    let pieces = product_cut(kernels, place, &rows, activations, 0..tokens, cut);
                    assert_same_bits(&pieces, &whole, || {
                        format!("{}: {blocks} blocks, {cut} at a time", kernels.isa())
                    });
                }
            });
        }
    }
}

#[test]
fn gemm_is_exact_at_the_extremes_of_both_operands() {
    for (weight, value) in [(-128, -128), (-128, 127), (127, -128), (127, 127)] {
        for (blocks, tokens) in [(1, 1), (3, 7), (24, 13)] {
            let rows = q8_rows(blocks, || f16::ONE.to_bits(), || weight);
            for terms in 1..=2 {
                let values = vec![activation(1.0, || value); blocks * tokens * terms];
                let activations = ActivationChunk {
                    blocks: &values,
                    tokens,
                    terms,
                };
                check(&rows, activations, 0..tokens, "extremes");
                let unit = if terms == 2 { 257 } else { 1 };
                let exact = (blocks * BLOCK) as i64 * i64::from(weight) * i64::from(value) * unit;
                let out = product(scalar(), Place::End, &rows, activations, 0..tokens);
                if exact.abs() < 1 << 24 {
                    assert!(out.iter().all(|out| *out == exact as f32));
                }
            }
        }
    }
    let mut random = Random(2);
    let mut extreme = Random(3);
    let rows = q8_rows(9, || f16::ONE.to_bits(), || random.pick(&[-128, 127]));
    for terms in 1..=2 {
        let values: Vec<_> = (0..9 * 11 * terms)
            .map(|_| activation(0.5, || extreme.pick(&[-128, 127, 0])))
            .collect();
        let activations = ActivationChunk {
            blocks: &values,
            tokens: 11,
            terms,
        };
        check(&rows, activations, 0..11, "mixed extremes");
    }
}

#[test]
fn gemm_agrees_on_every_kind_of_weight_scale() {
    // Zeros, subnormals, the smallest and largest normals, infinities, quiet and signaling NaNs.
    const SCALES: [u16; 16] = [
        0x0000, 0x8000, 0x0001, 0x8001, 0x03ff, 0x83ff, 0x0400, 0x8400, 0x7bff, 0xfbff, 0x7c00,
        0xfc00, 0x7c01, 0x7e00, 0xfe00, 0xffff,
    ];
    let (mut random, mut kinds) = (Random(4), Random(5));
    for kind in SCALES {
        for terms in 1..=2 {
            let scale = || {
                if kinds.bits().is_multiple_of(4) {
                    kind
                } else {
                    0x2c00
                }
            };
            let rows = q8_rows(5, scale, || random.bits() as i8);
            let values = random_activations(&mut random, 5 * 8 * terms);
            let activations = ActivationChunk {
                blocks: &values,
                tokens: 8,
                terms,
            };
            check(&rows, activations, 0..8, &format!("scale {kind:#06x}"));
        }
    }
}

#[test]
fn rows_may_start_at_odd_addresses() {
    let (mut random, mut scales) = (Random(6), Random(7));
    let rows = q8_rows(3, || ordinary_scale(&mut scales), || random.bits() as i8);
    let row_bytes = 3 * Q8_0_BYTES;
    on_each_isa(|kernels| {
        let pack = |bytes: &[u8]| {
            let mut panel = vec![Line::ZERO; kernels.panel_lines(3 * BLOCK)];
            kernels.pack_panel(
                Q8Rows { bytes, row_bytes },
                0..3,
                &mut panel,
                &mut Prefetcher::default(),
            );
            panel
        };
        let expected = pack(&rows);
        for shift in 1..64 {
            let mut shifted = vec![0; shift];
            shifted.extend(&rows);
            // The buffer starts at a page, so the shift is the alignment of the rows.
            let shifted = Guarded::new(Place::Start, &shifted);
            let same = std::iter::zip(&expected, pack(&shifted[shift..]));
            assert!(same.into_iter().all(|(a, b)| a.0 == b.0), "shift {shift}");
        }
    });
}

/// The layout that AVX-VNNI and AVX-512 share, so that one packed file serves both.
#[test]
fn instruction_sets_with_vpdpbusd_pack_the_same_bytes() {
    let (mut random, mut scales) = (Random(12), Random(13));
    let rows = q8_rows(3, || ordinary_scale(&mut scales), || random.bits() as i8);
    let row_bytes = 3 * Q8_0_BYTES;
    let mut expected = Vec::new();
    for block in 0..3 {
        let row = |row: usize| &rows[row * row_bytes + block * Q8_0_BYTES..][..Q8_0_BYTES];
        for step in 0..BLOCK / 4 {
            for bytes in (0..PANEL).map(row) {
                expected.extend(bytes[2 + 4 * step..][..4].iter().map(|byte| byte ^ 0x80));
            }
        }
        for bytes in (0..PANEL).map(row) {
            expected.extend(&bytes[..2]);
        }
    }
    on_each_isa(|kernels| {
        if kernels.panel_layout() == PanelLayout::Vnni {
            let mut panel = vec![Line::ZERO; kernels.panel_lines(3 * BLOCK)];
            let rows = Q8Rows {
                bytes: &rows,
                row_bytes,
            };
            kernels.pack_panel(rows, 0..3, &mut panel, &mut Prefetcher::default());
            let packed: Vec<u8> = panel.iter().flat_map(|line| line.0).collect();
            assert!(packed == expected, "{}", kernels.isa());
        }
    });
}

#[test]
fn scalar_gemm_is_the_product_of_the_dequantized_numbers() {
    let (mut random, mut scales) = (Random(8), Random(9));
    for (blocks, tokens, terms) in [(1, 1, 1), (24, 5, 1), (36, 4, 2), (7, 3, 2)] {
        let rows = q8_rows(
            blocks,
            || ordinary_scale(&mut scales),
            || random.bits() as i8,
        );
        let values = random_activations(&mut random, blocks * tokens * terms);
        let activations = ActivationChunk {
            blocks: &values,
            tokens,
            terms,
        };
        let out = product(scalar(), Place::End, &rows, activations, 0..tokens);
        for token in 0..tokens {
            for row in 0..PANEL {
                let (mut sum, mut magnitude) = (0.0f64, 0.0f64);
                for block in 0..blocks {
                    let weights = &rows[(row * blocks + block) * Q8_0_BYTES..][..Q8_0_BYTES];
                    let scale = f16::from_le_bytes([weights[0], weights[1]]).to_f64();
                    let terms = &values[(block * tokens + token) * terms..][..terms];
                    for (k, weight) in weights[2..].iter().enumerate() {
                        let integer = terms
                            .iter()
                            .fold(0.0, |sum, term| 256.0 * sum + f64::from(term.values[k]));
                        let value = integer * f64::from(terms[0].scale.factor());
                        let term = scale * f64::from(*weight as i8) * value;
                        sum += term;
                        magnitude += term.abs();
                    }
                }
                // One rounding for each block of the sum; three for the scale, the integer and
                // their product.
                let bound = (blocks + 3) as f64 * 2f64.powi(-24) * magnitude;
                let error = (f64::from(out[token * PANEL + row]) - sum).abs();
                assert!(error <= bound, "{blocks} blocks: {error:e} above {bound:e}");
            }
        }
    }
}

#[test]
fn f16_to_f32_is_exact_for_all_65536_values() {
    for bits in 0..=u16::MAX {
        let (actual, expected) = (f16_to_f32(bits), f16::from_bits(bits).to_f32());
        assert!(
            actual.to_bits() == expected.to_bits() || actual.is_nan() && expected.is_nan(),
            "{bits:#06x}: {actual:e}, expected {expected:e}"
        );
    }
}

#[test]
#[should_panic(expected = "a panel is 32 rows")]
fn a_panel_of_another_height_is_refused() {
    let rows = Q8Rows {
        bytes: &[0; Q8_0_BYTES],
        row_bytes: Q8_0_BYTES,
    };
    Kernels::detect().pack_panel(
        rows,
        0..1,
        &mut [Line::ZERO; 64],
        &mut Prefetcher::default(),
    );
}
