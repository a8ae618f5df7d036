//! Every kernel of every instruction set gives the bits of the scalar one, which is the specification.
//!
//! Inputs cover all tails, the extremes −128 and 127, unaligned starts and exact ends: every buffer is an exactly sized
//! slice at an odd offset, so that a kernel that reads too far shows under a sanitizer, and writes too far in guards.

use lanewise_kernels::*;

/// A small linear congruential generator (Knuth's constants): the same numbers on each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }
    fn below(&mut self, limit: usize) -> usize {
        self.next() as usize % limit
    }
    fn float(&mut self) -> f32 {
        (self.next() as i32 as f32) / (1u32 << 29) as f32
    }
    fn floats(&mut self, length: usize) -> Vec<f32> {
        (0..length).map(|_| self.float()).collect()
    }
}

fn scalar() -> Kernels {
    Kernels::for_isa(Isa::Scalar).unwrap()
}

/// The vector kernels that this CPU runs; the others are named.
fn others() -> Vec<Kernels> {
    [Isa::Avx2, Isa::Avx512]
        .into_iter()
        .filter_map(|isa| {
            let kernels = Kernels::for_isa(isa);
            if kernels.is_none() {
                println!("SKIPPED: this CPU does not support {isa}");
            }
            kernels
        })
        .collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Runs `body` on scalar and on each other set and compares what it returns.
fn same<T: PartialEq + std::fmt::Debug>(what: &str, mut body: impl FnMut(Kernels) -> T) {
    let expected = body(scalar());
    for kernels in others() {
        assert_eq!(body(kernels), expected, "{what} on {}", kernels.isa());
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Fill {
    Random,
    Lowest,
    Highest,
    /// Alternating extremes: the largest pair sums of either sign.
    Mixed,
}

const FILLS: [Fill; 4] = [Fill::Random, Fill::Lowest, Fill::Highest, Fill::Mixed];

fn byte(fill: Fill, random: &mut Random) -> i8 {
    match fill {
        Fill::Random => random.next() as i8,
        Fill::Lowest => -128,
        Fill::Highest => 127,
        Fill::Mixed => [-128, 127][random.below(2)],
    }
}

/// 32 Q8_0 rows at an odd address, with normal, subnormal, negative and zero scales among them.
fn weights(blocks: usize, fill: Fill, random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![0];
    for _ in 0..PANEL * blocks {
        let scale = [0x2c66, 0x0001, 0xa123, 0x0000, 0x3c00, 0x1234][random.below(6)] as u16;
        bytes.extend(scale.to_le_bytes());
        bytes.extend((0..BLOCK).map(|_| byte(fill, random) as u8));
    }
    bytes
}

fn activations(count: usize, fill: Fill, random: &mut Random) -> Vec<ActivationBlock> {
    (0..count)
        .map(|_| {
            let values: [i8; BLOCK] = std::array::from_fn(|_| byte(fill, random));
            ActivationBlock {
                scale: random.float(),
                correction: -128 * values.iter().map(|&value| i32::from(value)).sum::<i32>(),
                values,
            }
        })
        .collect()
}

#[test]
fn matrix_products_are_those_of_scalar() {
    let mut random = Random(1);
    for (blocks, tokens) in
        (1..=3)
            .flat_map(|b| (1..=26).map(move |t| (b, t)))
            .chain([(24, 13), (36, 7), (96, 2)])
    {
        for terms in [1, 2] {
            for (fill, other) in FILLS.into_iter().flat_map(|a| FILLS.map(|b| (a, b))) {
                let rows = weights(blocks, fill, &mut random);
                let rows = Q8Rows {
                    bytes: &rows[1..],
                    row_bytes: blocks * Q8_0_BYTES,
                };
                let blocks = activations(blocks * tokens * terms, other, &mut random);
                let activations = Activations {
                    blocks: &blocks,
                    tokens,
                    terms,
                };
                let first = random.below(tokens);
                same(
                    &format!("{fill:?} × {other:?}, {tokens} tokens, {terms} terms"),
                    |kernels| {
                        let mut panel =
                            vec![Line::ZERO; kernels.panel_lines(activations.row_blocks() * BLOCK)];
                        kernels.pack_panel(rows, &mut panel);
                        let mut out = vec![f32::NAN; (tokens - first) * PANEL + 1];
                        kernels.gemm(&panel, activations, first..tokens, &mut out[1..]);
                        bits(&out)
                    },
                );
            }
        }
    }
}

/// The specification itself, against plain arithmetic in f64 on the bytes of the file.
#[test]
fn the_scalar_product_is_the_product() {
    let mut random = Random(2);
    let (blocks, tokens) = (5, 3);
    let rows = weights(blocks, Fill::Random, &mut random);
    for terms in [1, 2] {
        let quantised = activations(blocks * tokens * terms, Fill::Random, &mut random);
        let kernels = scalar();
        let mut panel = vec![Line::ZERO; kernels.panel_lines(blocks * BLOCK)];
        kernels.pack_panel(
            Q8Rows {
                bytes: &rows[1..],
                row_bytes: blocks * Q8_0_BYTES,
            },
            &mut panel,
        );
        let mut out = vec![0.0; tokens * PANEL];
        kernels.gemm(
            &panel,
            Activations {
                blocks: &quantised,
                tokens,
                terms,
            },
            0..tokens,
            &mut out,
        );
        for (token, row) in (0..tokens).flat_map(|token| (0..PANEL).map(move |row| (token, row))) {
            let (mut expected, mut size) = (0.0, 0.0);
            for block in 0..blocks {
                let weights = &rows[1 + (row * blocks + block) * Q8_0_BYTES..][..Q8_0_BYTES];
                let scale = f64::from(f16_to_f32(u16::from_le_bytes([weights[0], weights[1]])));
                let terms = &quantised[(block * tokens + token) * terms..][..terms];
                for (k, &weight) in weights[2..].iter().enumerate() {
                    let value = terms
                        .iter()
                        .fold(0.0, |sum, term| sum * 256.0 + f64::from(term.values[k]));
                    let product =
                        scale * f64::from(weight as i8) * f64::from(terms[0].scale) * value;
                    expected += product;
                    size += product.abs();
                }
            }
            let error = (f64::from(out[token * PANEL + row]) - expected).abs();
            assert!(error <= 1e-6 * size, "row {row}: {error} of {size}");
        }
    }
}

#[test]
fn attention_products_are_those_of_scalar() {
    let mut random = Random(3);
    for dim in [32, 64, 256, 512] {
        for count in (1..=26).chain([48]) {
            let extreme = count % 3 == 0;
            let mut head = |length: usize| -> Vec<i16> {
                (0..length)
                    .map(|_| match extreme {
                        true => [-HEAD_MAX, HEAD_MAX][random.below(2)] as i16,
                        false => (random.next() as i32 % (HEAD_MAX + 1)) as i16,
                    })
                    .collect()
            };
            let (queries, keys) = (head(count * dim), head((count % PANEL + 1) * dim));
            let (query_scales, key_scales) = (random.floats(count), random.floats(PANEL));
            let mut packed = vec![0; dim / 2 * PANEL];
            pack_keys(&keys[..(count % PANEL) * dim], dim, &mut packed);
            same(&format!("scores of {count} queries of {dim}"), |kernels| {
                let mut out = vec![0.0; (count - 1) * 40 + PANEL];
                kernels.attention_scores(
                    &queries,
                    &query_scales,
                    &packed,
                    &key_scales,
                    &mut out,
                    40,
                );
                bits(&out)
            });
        }
    }
    for tokens in (1..=70).chain([513, 2048]) {
        let rows = tokens % 27 + 1;
        let values = random.floats(tokens * PANEL);
        let stride = tokens.next_multiple_of(2) + 6;
        let weights: Vec<i16> = (0..rows * stride)
            .map(|_| match tokens % 3 {
                0 => WEIGHT_MAX as i16,
                _ => (random.next() % (WEIGHT_MAX as u32 + 1)) as i16,
            })
            .collect();
        let factors = random.floats(rows);
        same(
            &format!("weighted sums of {tokens} tokens, {rows} rows"),
            |kernels| {
                let mut packed = vec![0; tokens.div_ceil(2) * PANEL];
                let mut scales = vec![0.0; 2 * PANEL];
                kernels.pack_values(&values, &mut packed, &mut scales);
                let mut out = vec![0.0; rows * PANEL];
                kernels.attention_weighted_sum(
                    &weights, stride, &factors, &packed, &scales, &mut out, PANEL,
                );
                (packed, bits(&scales), bits(&out))
            },
        );
    }
}

#[test]
fn softmax_weights_are_those_of_scalar_and_near_the_exponentials() {
    let mut random = Random(4);
    for padded in (16..=160).step_by(16) {
        for spread in [0.0, 1.0, 30.0, 1e4] {
            let scores: Vec<f32> = random
                .floats(padded)
                .iter()
                .map(|score| score * spread)
                .collect();
            let start = random.below(padded);
            let end = start + 1 + random.below(padded - start);
            same(&format!("softmax of {padded} × {spread}"), |kernels| {
                let (mut scores, mut weights) = (scores.clone(), vec![-1; padded]);
                let sum = kernels.softmax(&mut scores, start..end, &mut weights);
                (sum, weights)
            });
            let mut weights = vec![-1; padded];
            let sum = scalar().softmax(&mut scores.clone(), start..end, &mut weights);
            assert_eq!(
                sum,
                weights.iter().map(|&weight| i32::from(weight)).sum::<i32>()
            );
            let largest = scores[start..end].iter().copied().fold(f32::MIN, f32::max);
            for (at, &weight) in weights.iter().enumerate() {
                let expected = match (start..end).contains(&at) {
                    true => f64::from(scores[at] - largest).exp() * f64::from(WEIGHT_MAX),
                    false => 0.0,
                };
                assert!(
                    (f64::from(weight) - expected).abs() <= 0.51,
                    "{weight} for {expected}"
                );
            }
        }
    }
}

/// Rows that try the corners: random, zeros, one huge value, denormals.
fn rows(length: usize, random: &mut Random) -> Vec<Vec<f32>> {
    let mut outlier = random.floats(length);
    outlier[random.below(length)] = 70_000.0;
    let denormal = (0..length).map(|i| f32::from_bits(i as u32)).collect();
    vec![random.floats(length), vec![0.0; length], outlier, denormal]
}

#[test]
fn row_operations_are_those_of_scalar() {
    let mut random = Random(5);
    for pieces in (1..=9).chain([24, 36]) {
        let length = pieces * BLOCK;
        let weight = random.floats(length);
        for row in rows(length, &mut random) {
            let other = random.floats(length);
            same("add_rms_norm", |kernels| {
                let mut x = other.clone();
                kernels.add_rms_norm(&mut x, Pieces::new(&row, BLOCK, pieces), &weight, 1e-6);
                bits(&x)
            });
            same("rms_norm", |kernels| {
                let mut x = row.clone();
                kernels.rms_norm(&mut x, &weight, 1e-6);
                bits(&x)
            });
            for stride in [1, 5] {
                same("rms_norm_quantise", |kernels| {
                    let mut out = vec![ActivationBlock::default(); (pieces - 1) * stride + 1];
                    kernels.rms_norm_quantise(&row, &weight, 1e-6, &mut out, stride);
                    out
                });
            }
            for terms in [1, 2] {
                same("quantise", |kernels| {
                    let mut out = vec![ActivationBlock::default(); pieces * terms];
                    kernels.quantise(&row, terms, &mut out, terms);
                    out
                });
            }
            same("accumulate", |kernels| {
                let mut sum = other.clone();
                kernels.accumulate(&mut sum, &row);
                bits(&sum)
            });
            if length <= MAX_HEAD_DIM {
                let rope = random.floats(length);
                same("head_norm_rope", |kernels| {
                    let mut out = vec![0; length];
                    let x = Pieces::new(&row, BLOCK, pieces);
                    let scale = kernels.head_norm_rope(x, &weight, &rope, 1e-6, &mut out);
                    (scale.to_bits(), out)
                });
            }
            let gate: Vec<f32> = row.iter().map(|value| value * 3.0).collect();
            same("gelu_multiply_quantise", |kernels| {
                let mut out = vec![ActivationBlock::default(); pieces];
                kernels.gelu_multiply_quantise(&gate, &other, &mut out);
                out
            });
        }
        let bytes = weights(pieces, Fill::Random, &mut random);
        same("dequantise_q8_0", |kernels| {
            let mut out = vec![0.0; length];
            kernels.dequantise_q8_0(&bytes[1..][..pieces * Q8_0_BYTES], 27.7, &mut out);
            bits(&out)
        });
    }
}

#[test]
fn quantised_values_are_near_and_corrections_exact() {
    let mut random = Random(6);
    for row in rows(64, &mut random) {
        for (terms, unit) in [(1, 1.0), (2, 256.0)] {
            let mut out = vec![ActivationBlock::default(); 2 * terms];
            scalar().quantise(&row, terms, &mut out, terms);
            for (values, blocks) in row.chunks(BLOCK).zip(out.chunks(terms)) {
                for block in blocks {
                    let sum: i32 = block.values.iter().map(|&value| i32::from(value)).sum();
                    assert_eq!(block.correction, -128 * sum);
                }
                let scale = f64::from(blocks[0].scale);
                for (k, &value) in values.iter().enumerate() {
                    let integer = blocks
                        .iter()
                        .fold(0, |sum, block| sum * 256 + i32::from(block.values[k]));
                    let error = (scale * f64::from(integer) - f64::from(value)).abs();
                    // Half a unit, one where the second term meets its bound, and the denormal rounding of the scale.
                    assert!(
                        error <= scale * 1.01 + unit * 1e-42,
                        "{value}: {error}, scale {scale}"
                    );
                }
            }
        }
    }
}

#[test]
fn gelu_is_near_its_definition() {
    let gate: Vec<f32> = (-3200..3200).map(|i| i as f32 / 256.0).collect();
    for gate in gate.chunks(BLOCK) {
        let mut out = [ActivationBlock::default()];
        scalar().gelu_multiply_quantise(gate, &[1.0; BLOCK], &mut out);
        for (&x, &value) in gate.iter().zip(&out[0].values) {
            let x = f64::from(x);
            let expected =
                0.5 * x * (1.0 + (0.797_884_560_802_865_4 * (x + 0.044_715 * x.powi(3))).tanh());
            let error = (f64::from(value) * f64::from(out[0].scale) - expected).abs();
            assert!(
                error <= f64::from(out[0].scale) * 0.51 + 1e-6,
                "gelu({x}): {error}"
            );
        }
    }
}

#[test]
fn half_precision_is_exact() {
    for bits in 0..=u16::MAX {
        let (sign, exponent, mantissa) = (
            bits >> 15,
            i32::from(bits >> 10 & 31),
            f64::from(bits & 1023),
        );
        let magnitude = match exponent {
            0 => mantissa * 2f64.powi(-24),
            31 if mantissa == 0.0 => f64::INFINITY,
            31 => f64::NAN,
            _ => (1024.0 + mantissa) * 2f64.powi(exponent - 25),
        };
        let expected = if sign == 1 { -magnitude } else { magnitude };
        let got = f64::from(f16_to_f32(bits));
        assert!(
            got == expected && got.is_sign_negative() == (sign == 1)
                || got.is_nan() && expected.is_nan()
        );
    }
}

#[test]
#[should_panic(expected = "a panel is 32 rows")]
fn a_panel_of_another_height_is_refused() {
    scalar().pack_panel(
        Q8Rows {
            bytes: &[0; 34],
            row_bytes: 34,
        },
        &mut [Line::ZERO; 18],
    );
}
