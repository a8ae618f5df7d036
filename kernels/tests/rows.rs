//! Row operations: the same bits on every instruction set, and bounds on their error against f64.

mod support;

use lanewise_kernels::{
    Activation, ActivationBlock, BLOCK, Kernels, Pieces, Q8_0_BYTES, SoftmaxBlock,
};
use support::*;

const EPS: f32 = 1e-6;
const UNSET: f32 = -7777.0;

/// What a block holds before a kernel writes it.
fn unset_block() -> ActivationBlock {
    activation(UNSET, || 77)
}

/// Difficult rows for quantization and norms, `length` values each.
fn hard_rows(random: &mut Random, length: usize) -> Vec<Vec<f32>> {
    let mut outlier = random.floats(length, 1e-3);
    outlier[length / 2] = -1e6;
    let mut tie = vec![0.5; length];
    tie[0] = 127.0;
    let mut rows = vec![outlier, tie, vec![0.0; length], vec![-0.0; length]];
    for bound in [1.0, 1e15, 1e-15, 1e-30, 1e-36, 1e-38, 1e-40, 1e-45] {
        rows.push(random.floats(length, bound));
    }
    rows
}

/// Compares the floats that `run` returns for every instruction set and both places with scalar's.
fn check_floats(what: &str, run: impl Fn(Kernels, Place) -> Vec<f32>) -> Vec<f32> {
    let expected = run(scalar(), Place::End);
    on_each_isa(|kernels| {
        for place in PLACES {
            assert_same_bits(&run(kernels, place), &expected, || {
                format!("{} {what} {place:?}", kernels.isa())
            });
        }
    });
    expected
}

/// Like `check_floats` for blocks. Returns those of scalar.
fn check_blocks(
    what: &str,
    run: impl Fn(Kernels, Place) -> Vec<ActivationBlock>,
) -> Vec<ActivationBlock> {
    let expected = run(scalar(), Place::End);
    on_each_isa(|kernels| {
        for place in PLACES {
            assert_same_blocks(&run(kernels, place), &expected, || {
                format!("{} {what} {place:?}", kernels.isa())
            });
        }
    });
    expected
}

#[test]
fn norms_have_the_bits_of_scalar() {
    let mut random = Random(1);
    for pieces in [1, 2, 3, 8, 24, 36] {
        let length = pieces * BLOCK;
        let weight = random.floats(length, 2.0);
        for x in hard_rows(&mut random, length) {
            check_floats("rms_norm", |kernels, place| {
                let mut out = Guarded::new(place, &x);
                kernels.rms_norm(&mut out, &Guarded::new(place, &weight), EPS);
                out.to_vec()
            });
            for stride in [BLOCK, 5 * BLOCK] {
                let mut y = vec![f32::NAN; (pieces - 1) * stride + BLOCK];
                for (piece, values) in x.chunks_exact(BLOCK).enumerate() {
                    y[piece * stride..][..BLOCK].copy_from_slice(values);
                }
                let mut sum = y.clone();
                for (piece, base) in weight.chunks_exact(BLOCK).enumerate() {
                    for (y, base) in sum[piece * stride..].iter_mut().zip(base) {
                        *y += base;
                    }
                }
                for base in [None, Some(&weight)] {
                    check_floats("add_rms_norm", |kernels, place| {
                        let mut out = Guarded::new(place, &weight);
                        let (y, weight) = (Guarded::new(place, &y), Guarded::new(place, &weight));
                        let base = base.map(|base| Guarded::new(place, base));
                        let y = Pieces::new(&y, stride, pieces);
                        kernels.add_rms_norm(&mut out, y, base.as_deref(), &weight, EPS);
                        if base.is_some() {
                            let mut same = weight.to_vec();
                            let sum = Pieces::new(&sum, stride, pieces);
                            kernels.add_rms_norm(&mut same, sum, None, &weight, EPS);
                            assert_same_bits(&out, &same, || "a base is added".into());
                        }
                        out.to_vec()
                    });
                }
            }
            for stride in [1, 3] {
                let out = check_blocks("rms_norm_quantize", |kernels, place| {
                    let length = (pieces - 1) * stride + 1;
                    let mut out = Guarded::new(place, &vec![unset_block(); length]);
                    let (x, weight) = (Guarded::new(place, &x), Guarded::new(place, &weight));
                    kernels.rms_norm_quantize(&x, &weight, EPS, &mut out, stride);
                    out.to_vec()
                });
                for (at, block) in out.iter().enumerate() {
                    let gap = at % stride != 0;
                    assert_eq!(gap, *block == unset_block(), "block {at}");
                }
            }
        }
    }
}

#[test]
fn rms_norm_is_near_the_f64_result() {
    let mut random = Random(2);
    let (x, weight) = (random.floats(768, 5.0), random.floats(768, 2.0));
    let squares: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum();
    let scale = 1.0 / (squares / 768.0 + f64::from(EPS)).sqrt();
    let mut out = x.clone();
    scalar().rms_norm(&mut out, &weight, EPS);
    for ((out, x), weight) in out.iter().zip(&x).zip(&weight) {
        let exact = f64::from(*x) * scale * f64::from(*weight);
        // Every addition of the sum of 768 squares rounds; the square root halves the error.
        assert!((f64::from(*out) - exact).abs() <= 3e-6 * exact.abs());
    }
}

#[test]
fn layer_norm_has_the_bits_of_scalar() {
    let mut random = Random(8);
    for pieces in [1, 2, 3, 12, 24, 32] {
        let length = pieces * BLOCK;
        let [weight, bias, base] = [2.0, 0.5, 1.0].map(|bound| random.floats(length, bound));
        let start = random.floats(length, 3.0);
        for x in hard_rows(&mut random, length) {
            for stride in [BLOCK, 5 * BLOCK] {
                let mut y = vec![f32::NAN; (pieces - 1) * stride + BLOCK];
                for (piece, values) in x.chunks_exact(BLOCK).enumerate() {
                    y[piece * stride..][..BLOCK].copy_from_slice(values);
                }
                for base in [None, Some(&base)] {
                    let run = |kernels: Kernels, place| {
                        let mut out = Guarded::new(place, &start);
                        let [y, weight, bias] =
                            [&y, &weight, &bias].map(|row| Guarded::new(place, row));
                        let base = base.map(|base| Guarded::new(place, base));
                        let y = Pieces::new(&y, stride, pieces);
                        let base = base.as_deref();
                        kernels.add_layer_norm(&mut out, y, base, [&weight, &bias], EPS);
                        out.to_vec()
                    };
                    check_floats("add_layer_norm", run);
                }
            }
        }
    }
}

#[test]
fn layer_norms_without_bias_have_the_bits_of_scalar() {
    let mut random = Random(12);
    for pieces in [1, 2, 3, 12, 24, 32] {
        let weight = random.floats(pieces * BLOCK, 2.0);
        for x in hard_rows(&mut random, pieces * BLOCK) {
            let normed = check_floats("layer_norm", |kernels, place| {
                let mut out = Guarded::new(place, &x);
                kernels.layer_norm(&mut out, &Guarded::new(place, &weight), EPS);
                out.to_vec()
            });
            let (zeros, y) = (vec![0.0; x.len()], Pieces::new(&x, BLOCK, pieces));
            let mut same = zeros.clone();
            scalar().add_layer_norm(&mut same, y, None, [&weight, &zeros], EPS);
            assert_eq!(normed, same, "as after an addition");
            let mut expected = vec![unset_block(); pieces];
            scalar().quantize(&normed, 1, &mut expected, 1);
            for stride in [1, 3] {
                let out = check_blocks("layer_norm_quantize", |kernels, place| {
                    let length = (pieces - 1) * stride + 1;
                    let mut out = Guarded::new(place, &vec![unset_block(); length]);
                    let (x, weight) = (Guarded::new(place, &x), Guarded::new(place, &weight));
                    kernels.layer_norm_quantize(&x, &weight, EPS, &mut out, stride);
                    out.to_vec()
                });
                for (at, block) in out.iter().enumerate() {
                    let expected = match at % stride {
                        0 => expected[at / stride],
                        _ => unset_block(),
                    };
                    assert_eq!(*block, expected, "block {at}");
                }
            }
        }
    }
}

#[test]
fn layer_norm_is_near_the_f64_result() {
    let mut random = Random(9);
    let length = 384;
    let [x, y, base] = [5.0, 1.0, 0.3].map(|bound| random.floats(length, bound));
    let [weight, bias] = [2.0, 0.7].map(|bound| random.floats(length, bound));
    for offset in [0.0, 100.0] {
        let shifted: Vec<f32> = x.iter().map(|x| x + offset).collect();
        let sum = |at: usize| f64::from(shifted[at] + (y[at] + base[at]));
        let mean = (0..length).map(sum).sum::<f64>() / length as f64;
        let squares = (0..length).map(|at| (sum(at) - mean).powi(2));
        let variance = squares.sum::<f64>() / length as f64;
        let mut out = shifted.clone();
        let pieces = Pieces::new(&y, BLOCK, length / BLOCK);
        scalar().add_layer_norm(&mut out, pieces, Some(&base), [&weight, &bias], 1e-12);
        for (at, out) in out.iter().enumerate() {
            let normed = (sum(at) - mean) / (variance + 1e-12).sqrt();
            let exact = normed * f64::from(weight[at]) + f64::from(bias[at]);
            // The mean is off by a few roundings of the values' size.
            let bound = 3e-6 + 4e-7 * f64::from(offset);
            assert!(
                (f64::from(*out) - exact).abs() <= bound,
                "{out} is not {exact}"
            );
        }
    }
}

#[test]
fn equal_values_have_a_layer_norm_of_their_bias() {
    let (weight, bias) = ([2.0; BLOCK], [0.25; BLOCK]);
    let mut x = [3.0; BLOCK];
    let y = [1.0; BLOCK];
    let pieces = Pieces::new(&y, BLOCK, 1);
    scalar().add_layer_norm(&mut x, pieces, None, [&weight, &bias], 1e-12);
    assert_eq!(x, bias);
}

#[test]
fn head_bias_has_the_bits_of_scalar() {
    let mut random = Random(10);
    for dim in [32, 64, 96, 512] {
        let pieces = dim / BLOCK;
        let bias = random.floats(dim, 2.0);
        for x in hard_rows(&mut random, dim) {
            for bias in [None, Some(&bias)] {
                let run = |kernels: Kernels, place| {
                    let mut out = Guarded::new(place, &vec![7i16; dim]);
                    let x = Guarded::new(place, &x);
                    let bias = bias.map(|bias| Guarded::new(place, bias));
                    let x = Pieces::new(&x, BLOCK, pieces);
                    let scale = kernels.head_bias(x, bias.as_deref(), &mut out);
                    let mut all = vec![scale];
                    all.extend(out.iter().map(|value| f32::from(*value)));
                    all
                };
                check_floats("head_bias", run);
                let out = run(scalar(), Place::End);
                for (at, integer) in out[1..].iter().enumerate() {
                    let value = x[at] + bias.map_or(0.0, |bias| bias[at]);
                    let error = (out[0] * integer - value).abs();
                    assert!(error <= 0.501 * out[0] + 1e-30, "{value:e}");
                }
            }
        }
    }
}

#[test]
fn head_rope_is_head_norm_rope_without_the_norm() {
    let mut random = Random(13);
    for dim in [32, 64, 96, 128, 256, 512] {
        let pieces = dim / BLOCK;
        let mut rope = vec![0.0; dim];
        for i in 0..dim / 2 {
            let angle = random.float(3.0);
            (rope[i], rope[dim / 2 + i]) = (angle.cos(), angle.sin());
        }
        for x in hard_rows(&mut random, dim) {
            let run = |kernels: Kernels, place| {
                let mut out = Guarded::new(place, &vec![7i16; dim]);
                let (x, rope) = (Guarded::new(place, &x), Guarded::new(place, &rope));
                let scale = kernels.head_rope(Pieces::new(&x, BLOCK, pieces), &rope, &mut out);
                let integers = out.iter().map(|value| f32::from(*value));
                std::iter::once(scale).chain(integers).collect::<Vec<f32>>()
            };
            let out = check_floats("head_rope", run);
            for at in 0..dim / 2 {
                let [a, b] = [x[at], x[at + dim / 2]].map(f64::from);
                let [cosine, sine] = [rope[at], rope[at + dim / 2]].map(f64::from);
                for (at, exact) in [
                    (at, a * cosine - b * sine),
                    (at + dim / 2, b * cosine + a * sine),
                ] {
                    let error = (f64::from(out[0] * out[1 + at]) - exact).abs();
                    assert!(error <= 0.501 * f64::from(out[0]) + 1e-30, "{exact:e}");
                }
            }
        }
    }
}

#[test]
fn bias_gelu_quantize_has_the_bits_of_scalar() {
    let mut random = Random(11);
    for tokens in [1, 2, 3, 8, 17] {
        for bound in [1e-40, 1e-20, 1.0, 10.0, 1e3, 1e20] {
            let x = random.floats(tokens * BLOCK, bound);
            let bias = random.floats(BLOCK, 1.0);
            check_blocks("bias_gelu_quantize", |kernels, place| {
                let mut out = Guarded::new(place, &vec![unset_block(); tokens]);
                let (x, bias) = (Guarded::new(place, &x), Guarded::new(place, &bias));
                kernels.bias_gelu_quantize(&x, &bias, &mut out);
                out.to_vec()
            });
        }
    }
}

#[test]
fn head_norm_rope_has_the_bits_of_scalar() {
    let mut random = Random(3);
    for dim in [32, 64, 96, 256, 512] {
        let weight = random.floats(dim, 2.0);
        let mut rope = vec![0.0; dim];
        for i in 0..dim / 2 {
            let angle = random.float(3.0);
            (rope[i], rope[dim / 2 + i]) = (angle.cos(), angle.sin());
        }
        let pieces = dim / BLOCK;
        for x in hard_rows(&mut random, dim) {
            for eps in [EPS, 1.0] {
                let run = |kernels: Kernels, place| {
                    let mut out = Guarded::new(place, &vec![7i16; dim]);
                    let x = Guarded::new(place, &x);
                    let scale = kernels.head_norm_rope(
                        Pieces::new(&x, BLOCK, pieces),
                        &Guarded::new(place, &weight),
                        &Guarded::new(place, &rope),
                        eps,
                        &mut out,
                    );
                    let mut all = vec![scale];
                    all.extend(out.iter().map(|value| f32::from(*value)));
                    all
                };
                check_floats("head_norm_rope", run);
                assert!(
                    run(scalar(), Place::End)[1..]
                        .iter()
                        .all(|v| v.abs() <= 2047.0)
                );
            }
        }
    }
}

#[test]
fn quantized_rows_are_within_half_a_unit_of_the_values() {
    let mut random = Random(4);
    for pieces in [1, 2, 5, 36] {
        for x in hard_rows(&mut random, pieces * BLOCK) {
            for (terms, stride) in [(1, 1), (2, 2), (1, 4), (2, 7)] {
                let out = check_blocks("quantize", |kernels, place| {
                    let length = (pieces - 1) * stride + terms;
                    let mut out = Guarded::new(place, &vec![unset_block(); length]);
                    kernels.quantize(&Guarded::new(place, &x), terms, &mut out, stride);
                    out.to_vec()
                });
                for (piece, values) in x.chunks_exact(BLOCK).enumerate() {
                    assert_dequantized(&out[piece * stride..][..terms], values);
                }
            }
        }
    }
}

/// Checks that the blocks of one piece represent `values` and hold the right corrections.
fn assert_dequantized(terms: &[ActivationBlock], values: &[f32]) {
    for term in terms {
        let sum: i32 = term.values.iter().map(|value| i32::from(*value)).sum();
        assert_eq!(term.correction, -128 * sum);
    }
    let scale = f64::from(terms[0].scale.factor());
    // Multiplying by the inverse scale rounds twice, which adds to the half unit; a second term of
    // 128 becomes 127. Rows below 1e-30 become zeros, see `inverse_scale`.
    let units = if terms.len() == 2 { 1.02 } else { 0.5001 };
    let tiny = 1e-30;
    for (at, value) in values.iter().enumerate() {
        let integer = terms
            .iter()
            .fold(0.0, |sum, term| 256.0 * sum + f64::from(term.values[at]));
        let error = (scale * integer - f64::from(*value)).abs();
        assert!(
            error <= units * scale + tiny,
            "{value:e} became {:e}",
            scale * integer
        );
    }
}

#[test]
fn rows_that_are_not_finite_do_not_panic() {
    for value in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX] {
        for count in [1, BLOCK] {
            let mut x = [1.0; BLOCK];
            x[..count].fill(value);
            on_each_isa(|kernels| {
                for terms in 1..=2 {
                    kernels.quantize(&x, terms, &mut [unset_block(); 2], 2);
                }
                let mut out = [unset_block()];
                kernels.rms_norm_quantize(&x, &x, EPS, &mut out, 1);
                kernels.layer_norm_quantize(&x, &x, EPS, &mut out, 1);
                for activation in Activation::ALL {
                    kernels.activate_multiply_quantize(activation, &x, &x, &mut out);
                }
                let pieces = Pieces::new(&x, BLOCK, 1);
                kernels.head_rope(pieces, &x, &mut [0; BLOCK]);
                kernels.head_norm_rope(pieces, &x, &x, EPS, &mut [0; BLOCK]);
                kernels.head_bias(pieces, Some(&x), &mut [0; BLOCK]);
                kernels.bias_gelu_quantize(&x, &x, &mut out);
                kernels.add_layer_norm(&mut x.clone(), pieces, Some(&x), [&x, &x], EPS);
                let weights = &mut [SoftmaxBlock::default()];
                kernels.softmax(&mut x.clone(), BLOCK, 0..BLOCK, 1, weights);
            });
        }
    }
}

#[test]
fn gated_activations_have_the_bits_of_scalar() {
    let mut random = Random(5);
    for tokens in [1, 2, 3, 8, 17] {
        for bound in [1e-40, 1e-20, 1.0, 10.0, 1e3, 1e20] {
            let gate = random.floats(tokens * BLOCK, bound);
            let up = random.floats(tokens * BLOCK, 3.0);
            for activation in Activation::ALL {
                check_blocks("activate_multiply_quantize", |kernels, place| {
                    let mut out = Guarded::new(place, &vec![unset_block(); tokens]);
                    let (gate, up) = (Guarded::new(place, &gate), Guarded::new(place, &up));
                    kernels.activate_multiply_quantize(activation, &gate, &up, &mut out);
                    out.to_vec()
                });
            }
        }
    }
}

#[test]
fn dequantize_q8_0_gives_the_numbers_of_the_file() {
    let mut random = Random(6);
    for pieces in [1, 2, 24] {
        for kind in [0x0000, 0x8001, 0x03ff, 0x2c00, 0x7bff, 0x7c00, 0x7e00] {
            let rows = q8_rows(pieces, || kind, || random.bits() as i8);
            for (shift, factor) in [(0, 1.0), (1, 27.712_812)] {
                // At even and odd addresses.
                let row = &rows[..pieces * Q8_0_BYTES];
                let padded = [&rows[..shift], row].concat();
                let run = |kernels: Kernels, place| {
                    let mut out = Guarded::new(place, &vec![UNSET; pieces * BLOCK]);
                    let padded = Guarded::new(place, &padded);
                    kernels.dequantize_q8_0(&padded[shift..], factor, &mut out);
                    out.to_vec()
                };
                check_floats("dequantize_q8_0", run);
                let expected: Vec<f32> = row
                    .chunks_exact(Q8_0_BYTES)
                    .flat_map(|block| {
                        let scale = half::f16::from_le_bytes([block[0], block[1]]).to_f32();
                        block[2..]
                            .iter()
                            .map(move |v| f32::from(*v as i8) * scale * factor)
                    })
                    .collect();
                let actual = run(scalar(), Place::End);
                assert_same_bits(&actual, &expected, || format!("scale {kind:#06x}"));
            }
        }
    }
}

#[test]
fn accumulate_adds_value_by_value() {
    let mut random = Random(7);
    for pieces in [1, 2, 3, 24] {
        for x in hard_rows(&mut random, pieces * BLOCK) {
            let start = random.floats(x.len(), 1.0);
            let run = |kernels: Kernels, place| {
                let mut sum = Guarded::new(place, &start);
                kernels.accumulate(&mut sum, &Guarded::new(place, &x));
                sum.to_vec()
            };
            check_floats("accumulate", run);
            let expected: Vec<f32> = start.iter().zip(&x).map(|(sum, x)| sum + x).collect();
            assert_same_bits(&run(scalar(), Place::End), &expected, || {
                "accumulate".into()
            });
        }
    }
}

#[test]
fn add_is_value_by_value() {
    let mut random = Random(14);
    for pieces in [1, 2, 3, 24] {
        for y in hard_rows(&mut random, pieces * BLOCK) {
            let [start, base] = [3.0, 0.5].map(|bound| random.floats(y.len(), bound));
            for stride in [BLOCK, 5 * BLOCK] {
                let mut scattered = vec![f32::NAN; (pieces - 1) * stride + BLOCK];
                for (piece, values) in y.chunks_exact(BLOCK).enumerate() {
                    scattered[piece * stride..][..BLOCK].copy_from_slice(values);
                }
                for base in [None, Some(&base)] {
                    let out = check_floats("add", |kernels, place| {
                        let mut x = Guarded::new(place, &start);
                        let y = Guarded::new(place, &scattered);
                        let base = base.map(|base| Guarded::new(place, base));
                        kernels.add(&mut x, Pieces::new(&y, stride, pieces), base.as_deref());
                        x.to_vec()
                    });
                    let sum = |at: usize| match base {
                        Some(base) => start[at] + (y[at] + base[at]),
                        None => start[at] + y[at],
                    };
                    let expected: Vec<f32> = (0..y.len()).map(sum).collect();
                    assert_same_bits(&out, &expected, || "add".into());
                }
            }
        }
    }
}
