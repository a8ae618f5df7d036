//! Attention kernels of every instruction set against integer arithmetic, softmax against
//! `f64::exp`.

mod support;

use lanewise_kernels::{MAX_KEYS, PANEL, WEIGHT_MAX, pack_keys};
use support::*;

const UNSET: f32 = -7777.0;
const LARGEST: i16 = WEIGHT_MAX as i16;

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

/// Compares weighted sums of `tokens` values for `count` rows of weights with those of plain loops.
fn check_weighted_sum(
    tokens: usize,
    count: usize,
    values: &[f32],
    mut weight: impl FnMut() -> i16,
) {
    let mut random = Random((tokens * 100 + count) as u64);
    let keys = tokens.next_multiple_of(2);
    let (weight_stride, out_stride) = (keys + 3, PANEL + 7);
    let weights: Vec<i16> = (0..(count - 1) * weight_stride + keys)
        .map(|_| weight())
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
        for row in 0..count {
            let integer: i64 = std::iter::zip(column(), &weights[row * weight_stride..])
                .map(|(value, weight)| {
                    ((value - mean) * inverse).round_ties_even() as i64 * i64::from(*weight)
                })
                .sum();
            expected[row * out_stride + channel] = integer as f32 * scale * factors[row];
        }
    }
    on_each_isa(|kernels| {
        for place in PLACES {
            let mut packed = Guarded::new(place, &vec![-1i32; keys / 2 * PANEL]);
            let mut scales = Guarded::new(place, &[UNSET; 2 * PANEL]);
            kernels.pack_values(&Guarded::new(place, values), &mut packed, &mut scales);
            let what = || format!("{} {tokens} tokens, {count} rows, {place:?}", kernels.isa());
            assert_same_bits(&scales, &expected_scales, what);
            let mut out = Guarded::new(place, &vec![UNSET; expected.len()]);
            kernels.attention_weighted_sum(
                &Guarded::new(place, &weights),
                weight_stride,
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
            check_weighted_sum(tokens, count, &values, || (random.bits() % 4096) as i16);
        }
    }
}

#[test]
fn weighted_sums_do_not_overflow_at_the_largest_values() {
    let mut random = Random(4);
    for tokens in [1, 2, 3, 4, 63, 64, 70, MAX_KEYS] {
        // One value far from all others; then as many on one side of the mean as on the other.
        for side in [1, 2] {
            let value = |at: usize| if at / PANEL % 2 < side - 1 { -1.5 } else { 1.5 };
            let mut values: Vec<f32> = (0..tokens * PANEL).map(value).collect();
            values[..PANEL].fill(-1.5);
            check_weighted_sum(tokens, 7, &values, || LARGEST);
            check_weighted_sum(tokens, 7, &values, || 0);
            check_weighted_sum(tokens, 7, &values, || random.pick(&[0, LARGEST]));
            // All weight on values of one sign gives the largest sums.
            let mut at = 0;
            let stride = tokens.next_multiple_of(2) + 3;
            check_weighted_sum(tokens, 3, &values, || {
                at += 1;
                if (at - 1) % stride % 2 == 0 {
                    LARGEST
                } else {
                    0
                }
            });
        }
        check_weighted_sum(tokens, 3, &vec![0.0; tokens * PANEL], || LARGEST);
        check_weighted_sum(tokens, 3, &random.floats(tokens * PANEL, 1e-40), || LARGEST);
    }
}

#[test]
fn softmax_weights_are_rounded_exponentials() {
    let mut random = Random(5);
    for (case, padded) in (16..=512).step_by(16).cycle().take(200).enumerate() {
        let start = random.bits() as usize % padded;
        let end = start + 1 + random.bits() as usize % (padded - start);
        let spread = [0.0, 1e-3, 1.0, 10.0, 300.0, 1e30][case % 6];
        let mut scores = random.floats(padded, spread);
        // The contents outside the range must not matter.
        scores[..start].fill(f32::NAN);
        scores[end..].fill(f32::INFINITY);
        let inside = &scores[start..end];
        let largest = inside.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        on_each_isa(|kernels| {
            for place in PLACES {
                let mut out = Guarded::new(place, &vec![1i16; padded]);
                let mut read = Guarded::new(place, &scores);
                let sum = kernels.softmax(&mut read, start..end, &mut out);
                let isa = kernels.isa();
                assert_eq!(
                    sum,
                    out.iter().map(|weight| i32::from(*weight)).sum::<i32>()
                );
                assert!(
                    out[..start]
                        .iter()
                        .chain(&out[end..])
                        .all(|weight| *weight == 0)
                );
                for (weight, score) in out[start..end].iter().zip(inside) {
                    let exact = f64::from(LARGEST) * (f64::from(*score) - f64::from(largest)).exp();
                    // 1/2 for rounding to an integer, 1/200 for computing the exponential in f32.
                    let error = (f64::from(*weight) - exact).abs();
                    assert!(error <= 0.505, "{isa}: {weight} for {exact}");
                }
                let mut expected = vec![1i16; padded];
                scalar().softmax(&mut scores.clone(), start..end, &mut expected);
                assert_eq!(*out, expected, "{isa} {start}..{end} of {padded}");
            }
        });
    }
}

#[test]
fn softmax_of_equal_scores_is_the_largest_weight_everywhere() {
    on_each_isa(|kernels| {
        for score in [0.0, -1e30, 1e30, 1e-40] {
            let mut out = [0; 48];
            let sum = kernels.softmax(&mut [score; 48], 0..48, &mut out);
            assert_eq!((out, sum), ([LARGEST; 48], 48 * WEIGHT_MAX));
        }
    });
}
