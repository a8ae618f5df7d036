//! Attention kernels of every instruction set against integer arithmetic, softmax against
//! `f64::exp`.

mod support;

use lanewise_kernels::{BLOCK, Line, PANEL, SoftmaxBlock, pack_keys};
use support::*;

const UNSET: f32 = -7777.0;

/// Compares the scores of `count` queries and `keys` keys with those of plain loops.
fn check_scores(dim: usize, count: usize, keys: usize, mut value: impl FnMut() -> i16) {
    let mut random = Random((dim * 1000 + count) as u64);
    let queries: Vec<i16> = (0..count * dim).map(|_| value()).collect();
    let key_values: Vec<i16> = (0..keys * dim).map(|_| value()).collect();
    let (query_scales, key_scales) = (random.floats(count, 0.01), random.floats(PANEL, 0.01));
    let out_stride = PANEL + count % 3 * 5;
    let mut expected = vec![UNSET; (count - 1) * out_stride + PANEL];
    for query in 0..count {
        for key in 0..PANEL {
            let integer: i64 = (0..dim)
                .filter(|_| key < keys)
                .map(|i| i64::from(queries[query * dim + i]) * i64::from(key_values[key * dim + i]))
                .sum();
            expected[query * out_stride + key] =
                integer as f32 * key_scales[key] * query_scales[query];
        }
    }
    on_each_isa(|kernels| {
        for place in PLACES {
            let mut packed = Guarded::new(place, &vec![0i32; dim / 2 * PANEL]);
            pack_keys(&Guarded::new(place, &key_values), dim, &mut packed);
            let mut out = Guarded::new(place, &vec![UNSET; expected.len()]);
            kernels.attention_scores(
                &Guarded::new(place, &queries),
                &Guarded::new(place, &query_scales),
                &packed,
                &Guarded::new(place, &key_scales),
                &mut out,
                out_stride,
            );
            assert_same_bits(&out, &expected, || {
                format!("{} dim {dim}, {count} queries, {place:?}", kernels.isa())
            });
        }
    });
}

#[test]
fn attention_scores_are_exact_integers_times_the_scales() {
    let mut random = Random(1);
    for dim in [32, 64, 96, 128, 256, 512] {
        for count in 1..=30 {
            let keys = 1 + (count * 7 + dim) % PANEL;
            check_scores(dim, count, keys, || (random.bits() % 4095) as i16 - 2047);
        }
    }
}

#[test]
fn attention_scores_do_not_overflow_at_the_largest_values() {
    let mut random = Random(2);
    for count in [1, 2, 5, 8, 13] {
        check_scores(512, count, PANEL, || 2047);
        check_scores(512, count, PANEL, || -2047);
        check_scores(512, count, PANEL, || random.pick(&[-2047, 2047]));
    }
}

/// Compares weighted sums of `tokens` values for `count` rows of weights, of one term and of two,
/// with those of plain loops.
fn check_weighted_sum(tokens: usize, count: usize, values: &[f32], mut weight: impl FnMut() -> u8) {
    for terms in 1..=2 {
        check_weighted_sum_of(terms, tokens, count, values, &mut weight);
    }
}

fn check_weighted_sum_of(
    terms: usize,
    tokens: usize,
    count: usize,
    values: &[f32],
    mut weight: impl FnMut() -> u8,
) {
    let mut random = Random((tokens * 100 + count) as u64);
    let (blocks, out_stride) = (tokens.div_ceil(BLOCK), PANEL + 7);
    let weights: Vec<SoftmaxBlock> = (0..count * blocks * terms)
        .map(|_| SoftmaxBlock {
            scale: random.float(0.01).abs(),
            values: std::array::from_fn(|_| weight()),
        })
        .collect();
    let factors = random.floats(count, 0.01);
    let mut expected = vec![UNSET; (count - 1) * out_stride + PANEL];
    // The scales, then the means.
    let mut expected_scales = vec![0.0; 2 * PANEL];
    for channel in 0..PANEL {
        let column = || values.iter().skip(channel).step_by(PANEL);
        let mean = column().fold(0.0, |sum, value| sum + value) / tokens as f32;
        let largest = column().fold(0.0f32, |largest, value| largest.max((value - mean).abs()));
        let scale = largest / 127.0;
        (expected_scales[channel], expected_scales[PANEL + channel]) = (scale, mean);
        let inverse = 127.0 / largest.max(1e-30);
        let integers: Vec<i64> = column()
            .map(|value| ((value - mean) * inverse).round_ties_even() as i64)
            .collect();
        for row in 0..count {
            let mut sum = 0.0f32;
            let weights = weights[row * blocks * terms..].chunks_exact(terms);
            for (values, weights) in integers.chunks(BLOCK).zip(weights) {
                let weight = |key: usize| {
                    let term = |sum, term: &SoftmaxBlock| 256 * sum + i64::from(term.values[key]);
                    weights.iter().fold(0, term)
                };
                let products = values.iter().enumerate();
                let integer: i64 = products.map(|(key, value)| value * weight(key)).sum();
                sum = (integer as f32).mul_add(weights[0].scale, sum);
            }
            expected[row * out_stride + channel] = sum * scale * factors[row];
        }
    }
    on_each_isa(|kernels| {
        for place in PLACES {
            let lines = vec![Line([0xa5; 64]); kernels.value_lines(tokens)];
            let mut packed = Guarded::new(place, &lines);
            let mut scales = Guarded::new(place, &[UNSET; 2 * PANEL]);
            kernels.pack_values(&Guarded::new(place, values), &mut packed, &mut scales);
            let what = || {
                format!(
                    "{} {tokens} tokens, {count} rows, {terms} terms, {place:?}",
                    kernels.isa()
                )
            };
            assert_same_bits(&scales, &expected_scales, what);
            let mut out = Guarded::new(place, &vec![UNSET; expected.len()]);
            kernels.attention_weighted_sum(
                &Guarded::new(place, &weights),
                &Guarded::new(place, &factors),
                &packed,
                &scales[..PANEL],
                &mut out,
                out_stride,
            );
            assert_same_bits(&out, &expected, what);
        }
    });
}

#[test]
fn weighted_sums_are_exact_integers_times_the_scales() {
    let mut random = Random(3);
    for tokens in 1..=70 {
        for count in [1, 2, 3, 4, 5, 7, 8, 11, 30] {
            let values = random.floats(tokens * PANEL, 3.0);
            check_weighted_sum(tokens, count, &values, || random.bits() as u8);
        }
    }
}

#[test]
fn weighted_sums_do_not_overflow_at_the_largest_values() {
    let mut random = Random(4);
    for tokens in [1, 2, 3, 4, 63, 64, 70, 2048] {
        // One value far from all others; then as many on one side of the mean as on the other.
        for side in [1, 2] {
            let value = |at: usize| if at / PANEL % 2 < side - 1 { -1.5 } else { 1.5 };
            let mut values: Vec<f32> = (0..tokens * PANEL).map(value).collect();
            values[..PANEL].fill(-1.5);
            check_weighted_sum(tokens, 7, &values, || 255);
            check_weighted_sum(tokens, 7, &values, || 0);
            check_weighted_sum(tokens, 7, &values, || random.pick(&[0, 255]));
            // All weight on values of one sign gives the largest sums.
            let mut at = 0;
            check_weighted_sum(tokens, 3, &values, || {
                at += 1;
                if at % 2 == 0 { 255 } else { 0 }
            });
        }
        check_weighted_sum(tokens, 3, &vec![0.0; tokens * PANEL], || 255);
        check_weighted_sum(tokens, 3, &random.floats(tokens * PANEL, 1e-40), || 255);
    }
}

/// Softmax weights as floats.
fn floats(weights: &[SoftmaxBlock], terms: usize) -> Vec<f64> {
    let block = |terms: &[SoftmaxBlock]| {
        let value = |key: usize| {
            let term = |sum, term: &SoftmaxBlock| 256.0 * sum + f64::from(term.values[key]);
            f64::from(terms[0].scale) * terms.iter().fold(0.0, term)
        };
        (0..BLOCK).map(value).collect::<Vec<_>>()
    };
    weights.chunks_exact(terms).flat_map(block).collect()
}

#[test]
fn softmax_weights_are_rounded_exponentials() {
    let mut random = Random(5);
    for (case, blocks) in (1..=16).cycle().take(200).enumerate() {
        let (keys, stride, terms) = (blocks * BLOCK, BLOCK + case % 3 * 7, 1 + case % 2);
        let start = random.bits() as usize % keys;
        let end = start + 1 + random.bits() as usize % (keys - start);
        let spread = [0.0, 1e-3, 1.0, 10.0, 300.0, 1e30][case % 6];
        let mut scores = random.floats((blocks - 1) * stride + BLOCK, spread);
        let at = |key: usize| key / BLOCK * stride + key % BLOCK;
        // The contents outside the range must not matter.
        (0..start).for_each(|key| scores[at(key)] = f32::NAN);
        (end..keys).for_each(|key| scores[at(key)] = f32::INFINITY);
        let inside = (start..end).map(|key| f64::from(scores[at(key)]));
        let largest = inside.fold(f64::NEG_INFINITY, f64::max);
        let unset = SoftmaxBlock {
            scale: UNSET,
            values: [1; BLOCK],
        };
        let mut expected = vec![unset; blocks * terms];
        let sum = scalar().softmax(
            &mut scores.clone(),
            stride,
            start..end,
            terms,
            &mut expected,
        );
        let exact_sum: f64 = floats(&expected, terms).iter().sum();
        assert!((f64::from(sum) - exact_sum).abs() <= 1e-6 * exact_sum);
        for (key, weight) in floats(&expected, terms).into_iter().enumerate() {
            if !(start..end).contains(&key) {
                assert_eq!(weight, 0.0, "key {key}, outside {start}..{end}");
                continue;
            }
            let exact = (f64::from(scores[at(key)]) - largest).exp();
            // Half a unit for rounding to an integer, and 2⁻²⁰ for computing the exponential.
            let unit = f64::from(expected[key / BLOCK * terms].scale);
            let bound = 0.5001 * unit + 2f64.powi(-20) * exact + 1e-20;
            assert!((weight - exact).abs() <= bound, "{weight} for {exact}");
        }
        on_each_isa(|kernels| {
            for place in PLACES {
                let mut out = Guarded::new(place, &vec![unset; blocks * terms]);
                let mut read = Guarded::new(place, &scores);
                let actual = kernels.softmax(&mut read, stride, start..end, terms, &mut out);
                let isa = kernels.isa();
                assert_eq!(
                    actual.to_bits(),
                    sum.to_bits(),
                    "{isa} {start}..{end} of {keys}"
                );
                assert_eq!(*out, expected, "{isa} {start}..{end} of {keys}");
            }
        });
    }
}

#[test]
fn softmax_of_equal_scores_is_the_largest_weight_everywhere() {
    on_each_isa(|kernels| {
        for score in [0.0, -1e30, 1e30, 1e-40] {
            let mut out = [SoftmaxBlock::default(); 2];
            kernels.softmax(&mut [score; 64], BLOCK, 0..48, 1, &mut out);
            assert_eq!((out[0].values, out[0].scale), ([255; BLOCK], 1.0 / 255.0));
            let (seen, unseen) = out[1].values.split_at(16);
            assert!(seen == [255; 16] && unseen == [0; 16]);
        }
    });
}
