//! Search kernels of every instruction set: integers against plain loops, floats against scalar.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use lanewise_kernels::{Kernels, Line, MAX_SEARCH_DIMS, QUERY_GROUP, QUERY_PLANES, score_stride};
use support::*;

/// Around every width of a register and of an unrolled loop, and those of real vectors.
const DIMS: [usize; 34] = [
    1, 2, 3, 4, 5, 7, 8, 12, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 96, 100, 127, 128,
    129, 191, 192, 255, 257, 384, 512, 768, 771, 1024,
];

/// Around the rows and queries of every tile.
const ROWS: [usize; 10] = [0, 1, 2, 3, 5, 8, 13, 16, 25, 40];
const QUERIES: [usize; 9] = [1, 2, 7, 16, 17, 32, 33, 48, 50];

/// The scores of `count` queries without what fills the last group.
fn of_queries<T: Copy>(out: &[T], count: usize) -> Vec<T> {
    let rows = out.chunks_exact(score_stride(count));
    rows.flat_map(|row| row[..count].iter().copied()).collect()
}

fn check_i8(dims: usize, rows: usize, count: usize, mut value: impl FnMut() -> i8) {
    let values: Vec<i8> = (0..rows * dims).map(|_| value()).collect();
    let queries: Vec<i8> = (0..count * dims).map(|_| value()).collect();
    let dot = |row: &[i8], query: &[i8]| -> i32 {
        let products = row.iter().zip(query);
        products.map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
    };
    let expected: Vec<i32> = values
        .chunks_exact(dims)
        .flat_map(|row| queries.chunks_exact(dims).map(move |query| dot(row, query)))
        .collect();
    on_each_isa(|kernels| {
        for place in PLACES {
            let what = || format!("{} {rows} x {dims} x {count}, {place:?}", kernels.isa());
            let rows_of = Guarded::new(place, &values);
            let queries = Guarded::new(place, &queries);
            let mut out = Guarded::new(place, &vec![-7; rows]);
            kernels.dot_i8(&rows_of, &queries[..dims], &mut out);
            let first: Vec<i32> = expected.iter().copied().step_by(count).collect();
            assert!(*out == first, "dot_i8 {}", what());

            let lines = vec![Line([0xa5; 64]); kernels.query_lines(dims, count)];
            let mut packed = Guarded::new(place, &lines);
            kernels.pack_queries(&queries, dims, &mut packed);
            let mut out = Guarded::new(place, &vec![-7; rows * score_stride(count)]);
            kernels.gemm_i8(&rows_of, dims, &packed, count, &mut out);
            assert!(of_queries(&out, count) == expected, "gemm_i8 {}", what());
        }
    });
}

#[test]
fn dot_products_are_exact_for_any_shape() {
    let mut random = Random(1);
    for (index, dims) in DIMS.into_iter().enumerate() {
        for rows in ROWS {
            let count = QUERIES[(index + rows) % QUERIES.len()];
            check_i8(dims, rows, count, || random.bits() as i8);
        }
    }
    for rows in 0..=40 {
        for count in 1..=50 {
            check_i8(19, rows, count, || random.bits() as i8);
        }
    }
}

#[test]
fn dot_products_do_not_overflow_at_the_largest_values() {
    let mut random = Random(2);
    for dims in [1, 63, 768, 4099] {
        for count in [1, 16, 33] {
            check_i8(dims, 13, count, || -128);
            check_i8(dims, 13, count, || 127);
            check_i8(dims, 13, count, || random.pick(&[-128, 127]));
        }
    }
    check_i8(MAX_SEARCH_DIMS, 2, 1, || -128);
    check_i8(MAX_SEARCH_DIMS, 2, 17, || random.pick(&[-128, 127]));
}

fn check_hamming(bytes: usize, rows: usize, count: usize, mut byte: impl FnMut() -> u8) {
    let values: Vec<u8> = (0..rows * bytes).map(|_| byte()).collect();
    let queries: Vec<u8> = (0..count * bytes).map(|_| byte()).collect();
    let distance = |row: &[u8], query: &[u8]| -> u32 {
        row.iter()
            .zip(query)
            .map(|(a, b)| (a ^ b).count_ones())
            .sum()
    };
    let expected: Vec<u32> = values
        .chunks_exact(bytes)
        .flat_map(|row| {
            let queries = queries.chunks_exact(bytes);
            queries.map(move |query| distance(row, query))
        })
        .collect();
    let planes: Vec<u8> = queries
        .iter()
        .copied()
        .cycle()
        .take(QUERY_PLANES * bytes)
        .collect();
    let weighted = values.chunks_exact(bytes).map(|row| {
        let planes = planes.chunks_exact(bytes).enumerate();
        planes
            .map(|(plane, code)| distance(row, code) << plane)
            .sum()
    });
    let weighted: Vec<u32> = weighted.collect();
    on_each_isa(|kernels| {
        for place in PLACES {
            let what = || format!("{} {rows} x {bytes} x {count}, {place:?}", kernels.isa());
            let rows_of = Guarded::new(place, &values);
            let queries = Guarded::new(place, &queries);
            let mut out = Guarded::new(place, &vec![7; rows]);
            kernels.hamming(&rows_of, &queries[..bytes], &mut out);
            let first: Vec<u32> = expected.iter().copied().step_by(count).collect();
            assert!(*out == first, "hamming {}", what());
            let planes = Guarded::new(place, &planes);
            kernels.hamming_planes(&rows_of, &planes, &mut out);
            assert!(*out == weighted, "hamming_planes {}", what());

            let lines = vec![Line([0xa5; 64]); kernels.binary_query_lines(bytes, count)];
            let mut packed = Guarded::new(place, &lines);
            kernels.pack_binary_queries(&queries, bytes, &mut packed);
            let mut out = Guarded::new(place, &vec![7; rows * score_stride(count)]);
            kernels.hamming_many(&rows_of, bytes, &packed, count, &mut out);
            assert!(
                of_queries(&out, count) == expected,
                "hamming_many {}",
                what()
            );
        }
    });
}

#[test]
fn hamming_distances_are_exact_for_any_shape() {
    let mut random = Random(3);
    for (index, bytes) in DIMS.into_iter().enumerate() {
        for rows in ROWS {
            let count = QUERIES[(index + rows) % QUERIES.len()];
            check_hamming(bytes, rows, count, || random.bits() as u8);
        }
    }
    for rows in 0..=40 {
        for count in 1..=50 {
            check_hamming(13, rows, count, || random.bits() as u8);
        }
    }
}

#[test]
fn hamming_distances_do_not_overflow_where_all_bits_differ() {
    for bytes in [1, 96, 4099, MAX_SEARCH_DIMS] {
        let mut index = 0;
        // Two rows of zeros, then a query of ones.
        check_hamming(bytes, 2, 1, || {
            index += 1;
            if index <= 2 * bytes { 0 } else { 255 }
        });
    }
}

/// Bit `query % 16` of the mask of a row and of a group of queries, where `is_set(row, query)`.
fn masks(rows: usize, stride: usize, is_set: impl Fn(usize, usize) -> bool) -> Vec<u16> {
    let bit = |row, query| u16::from(is_set(row, query)) << (query % QUERY_GROUP);
    (0..rows)
        .flat_map(|row| {
            (0..stride)
                .step_by(QUERY_GROUP)
                .map(move |first| (row, first))
        })
        .map(|(row, first)| (first..first + QUERY_GROUP).fold(0, |mask, q| mask | bit(row, q)))
        .collect()
}

#[test]
fn scores_reach_thresholds_as_rounded_products_do() {
    let mut random = Random(5);
    for rows in ROWS {
        for stride in [16, 48, 256] {
            let sums: Vec<i32> = (0..rows * stride)
                .map(|_| random.bits() as i32 >> (random.bits() % 31))
                .collect();
            let row_scales = random.floats(rows, 1e-2);
            let query_scales = random.floats(stride, 1e-2);
            let score = |row: usize, query: usize| {
                sums[row * stride + query] as f32 * row_scales[row] * query_scales[query]
            };
            // Scores that occur, their neighbors, all, none, and no number.
            let thresholds: Vec<f32> = (0..stride)
                .map(|query| match (query % 7, rows) {
                    (0, _) | (_, 0) => f32::NEG_INFINITY,
                    (1, _) => f32::INFINITY,
                    (2, _) => f32::NAN,
                    (3, _) => score(rows / 2, query).next_up(),
                    (4, _) => score(rows / 2, query).next_down(),
                    _ => score(rows / 2, query),
                })
                .collect();
            let expected = masks(rows, stride, |row, query| {
                score(row, query) >= thresholds[query]
            });
            on_each_isa(|kernels| {
                for place in PLACES {
                    let mut out = Guarded::new(place, &vec![0xa5a5; expected.len()]);
                    let any = kernels.at_least(
                        &Guarded::new(place, &sums),
                        &Guarded::new(place, &row_scales),
                        &Guarded::new(place, &query_scales),
                        &Guarded::new(place, &thresholds),
                        &mut out,
                    );
                    assert!(*out == expected, "{} {rows} x {stride}", kernels.isa());
                    assert_eq!(any, expected.iter().any(|mask| *mask != 0));
                }
            });
        }
    }
}

#[test]
fn distances_are_within_limits_up_to_the_longest_codes() {
    let mut random = Random(6);
    let most = 8 * MAX_SEARCH_DIMS;
    for rows in ROWS {
        for stride in [16, 48, 256] {
            let distances: Vec<u32> = (0..rows * stride)
                .map(|_| (random.below(most + 1) >> random.below(20)) as u32)
                .collect();
            let limits: Vec<f32> = (0..stride)
                .map(|query| match (query % 4, rows) {
                    (0, _) | (_, 0) => -1.0,
                    (1, _) => most as f32,
                    (2, _) => distances[query] as f32 - 1.0,
                    _ => distances[query] as f32,
                })
                .collect();
            let expected = masks(rows, stride, |row, query| {
                f64::from(distances[row * stride + query]) <= f64::from(limits[query])
            });
            on_each_isa(|kernels| {
                for place in PLACES {
                    let mut out = Guarded::new(place, &vec![0xa5a5; expected.len()]);
                    let (distances, limits) = (
                        Guarded::new(place, &distances),
                        Guarded::new(place, &limits),
                    );
                    let any = kernels.at_most(&distances, &limits, &mut out);
                    assert!(*out == expected, "{} {rows} x {stride}", kernels.isa());
                    assert_eq!(any, expected.iter().any(|mask| *mask != 0));
                }
            });
        }
    }
}

#[test]
fn float_dot_products_have_one_order_on_every_instruction_set() {
    let mut random = Random(4);
    for (index, dims) in DIMS.into_iter().enumerate() {
        for rows in ROWS {
            let values = random.floats(rows * dims, if index % 2 == 0 { 1.0 } else { 1e19 });
            let query = random.floats(dims, 1e3);
            let expected: Vec<f32> = values
                .chunks_exact(dims)
                .map(|row| {
                    let mut sums = [0.0f32; 16];
                    for (at, (a, b)) in row.iter().zip(&query).enumerate() {
                        sums[at % 16] += a * b;
                    }
                    for width in [8, 4, 2, 1] {
                        for lane in 0..width {
                            sums[lane] += sums[lane + width];
                        }
                    }
                    sums[0]
                })
                .collect();
            on_each_isa(|kernels| {
                for place in PLACES {
                    let mut out = Guarded::new(place, &vec![-7.0; rows]);
                    let rows_of = Guarded::new(place, &values);
                    kernels.dot_f32(&rows_of, &Guarded::new(place, &query), &mut out);
                    assert_same_bits(&out, &expected, || {
                        format!("{} {rows} x {dims}, {place:?}", kernels.isa())
                    });
                }
            });
        }
    }
}

#[test]
fn float_dot_products_keep_infinities_and_nan() {
    on_each_isa(|kernels| {
        for dims in [1, 16, 20, 768] {
            for at in [0, dims - 1] {
                for (value, expected) in [(f32::INFINITY, f32::INFINITY), (f32::NAN, f32::NAN)] {
                    let mut rows = vec![1.0; 5 * dims];
                    rows[2 * dims + at] = value;
                    let mut out = [0.0; 5];
                    kernels.dot_f32(&rows, &vec![1.0; dims], &mut out);
                    let [.., plain, last] = out;
                    let expected = [dims as f32, dims as f32, expected, plain, last];
                    assert_same_bits(&out, &expected, || format!("{} {dims}", kernels.isa()));
                }
            }
        }
    });
}

#[test]
fn shapes_that_do_not_fit_panic() {
    on_each_isa(|kernels| {
        let refused = |run: &dyn Fn(Kernels)| {
            assert!(catch_unwind(AssertUnwindSafe(|| run(kernels))).is_err());
        };
        let lines = &[Line::ZERO; 64];
        refused(&|k| k.dot_i8(&[0; 8], &[0; 4], &mut [0; 3]));
        refused(&|k| k.dot_i8(&[0; 7], &[0; 4], &mut [0; 1]));
        refused(&|k| k.dot_i8(&[], &[], &mut []));
        let long = MAX_SEARCH_DIMS + 1;
        refused(&|k| k.dot_i8(&vec![0; long], &vec![0; long], &mut [0]));
        refused(&|k| k.dot_f32(&[0.0; 8], &[0.0; 4], &mut [0.0; 3]));
        refused(&|k| k.hamming(&[0; 8], &[0; 4], &mut [0; 3]));
        refused(&|k| k.hamming_planes(&[0; 8], &[0; 12], &mut [0; 3]));
        refused(&|k| k.hamming_planes(&[0; 8], &[0; 13], &mut [0; 2]));
        refused(&|k| k.pack_queries(&[0; 7], 4, &mut [Line::ZERO; 64]));
        refused(&|k| k.pack_queries(&[0; 8], 4, &mut []));
        refused(&|k| k.pack_binary_queries(&[0; 8], 8, &mut []));
        refused(&|k| k.gemm_i8(&[0; 8], 4, lines, 1, &mut [0; 2]));
        refused(&|k| k.gemm_i8(&[0; 8], 4, &[], 1, &mut [0; 2 * QUERY_GROUP]));
        refused(&|k| k.gemm_i8(&[0; 8], 0, lines, 1, &mut [0; 2 * QUERY_GROUP]));
        refused(&|k| k.gemm_i8(&[0; 8], 4, lines, usize::MAX, &mut []));
        refused(&|k| k.gemm_i8(&[], 4, lines, usize::MAX / 2, &mut []));
        refused(&|k| k.hamming_many(&[0; 8], 8, lines, 1, &mut [0; 2]));
        refused(&|k| k.hamming_many(&[0; 8], 8, &[], 1, &mut [0; QUERY_GROUP]));
        refused(&|k| k.hamming_many(&[0; 8], 8, lines, usize::MAX, &mut []));
        let [one, group, two] = [&[1.0; 1][..], &[1.0; 16], &[1.0; 32]];
        refused(&|k| _ = k.at_least(&[0; 16], one, group, group, &mut [0; 2]));
        refused(&|k| _ = k.at_least(&[0; 15], one, group, group, &mut [0]));
        refused(&|k| _ = k.at_least(&[0; 32], one, group, group, &mut [0; 2]));
        refused(&|k| _ = k.at_least(&[0; 32], one, group, two, &mut [0; 2]));
        refused(&|k| _ = k.at_least(&[], one, &[], &[], &mut []));
        refused(&|k| _ = k.at_most(&[0; 16], one, &mut [0]));
        refused(&|k| _ = k.at_most(&[0; 32], group, &mut [0]));
        refused(&|k| _ = k.at_most(&[0; 16], two, &mut [0]));
    });
}
