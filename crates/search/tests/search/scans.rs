//! Results, whatever the files, threads and instruction sets are.

use std::ops::ControlFlow;

use lanewise_kernels::Isa;
use lanewise_search::{
    CancelToken, Error, Filter, Hit, Index, OpenOptions, Pair, Precision, RowSet, Search, Where,
};

use crate::fixture::{best, open, score, space, vector, write, write_in};

const DIMS: usize = 48;

fn pairs(hits: &[Hit]) -> Vec<(u64, f32)> {
    hits.iter().map(|hit| (hit.row, hit.score)).collect()
}

fn queries() -> Vec<Vec<f32>> {
    // Rows themselves, which have ties, and vectors that are no row's.
    (0..40)
        .map(|number| vector(DIMS, number * 37 + 5))
        .collect()
}

#[test]
fn hits_are_those_of_a_brute_force_ties_included() {
    let directory = tempfile::tempdir().unwrap();
    for (name, precision) in [("i8", Precision::I8), ("binary", Precision::Binary)] {
        let path = write(directory.path(), &format!("{name}.arrow"), name, 0..5000);
        let index = Index::open(&path).unwrap();
        assert_eq!((index.rows(), index.dims()), (5000, DIMS));
        assert!(index.files().all(|file| file.is_mapped));
        for query in queries() {
            let scores = (0..5000).map(|row| score(precision, &vector(DIMS, row), &query));
            let expected = best(scores, 30);
            assert_eq!(
                pairs(&index.search(&query, 30).unwrap()),
                expected,
                "{name}"
            );
        }
    }
}

#[test]
fn hits_have_the_same_bits_however_they_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let all = ["i8", "binary", "f32", "f16"];
    for precision in all {
        let directory = directory.path();
        let whole = [write(
            directory,
            &format!("{precision}.arrow"),
            precision,
            0..4000,
        )];
        let parts: Vec<_> = [0..1500, 1500..1500, 1500..2600, 2600..4000]
            .into_iter()
            .enumerate()
            .map(|(at, rows)| {
                write(
                    directory,
                    &format!("{precision}{at}.arrow"),
                    precision,
                    rows,
                )
            })
            .collect();
        let queries = queries();
        let search = Search::exact(25);
        let expected = open(&whole, 1).search_batch(&queries, &search).unwrap();
        assert_eq!(expected.len(), queries.len());
        for threads in [1, 2, 5] {
            for paths in [&whole[..], &parts] {
                let index = open(paths, threads);
                let found = index.search_batch(&queries, &search).unwrap();
                assert_eq!(found, expected, "{precision} {threads} {}", paths.len());
                for (query, expected) in queries.iter().zip(&expected) {
                    assert_eq!(&index.search(query, 25).unwrap(), expected, "{precision}");
                }
            }
        }
        for isa in Isa::ALL.iter().copied().filter(|isa| isa.is_supported()) {
            let options = OpenOptions {
                threads: Some(2),
                isa: Some(isa),
            };
            let index = Index::open_all(&parts, &options).unwrap();
            let found = index.search_batch(&queries, &search).unwrap();
            assert_eq!(found, expected, "{precision} {}", isa.name());
        }
    }
}

#[test]
fn threads_share_an_index() {
    let directory = tempfile::tempdir().unwrap();
    let index = open(&[write(directory.path(), "a.arrow", "i8", 0..3000)], 2);
    std::thread::scope(|scope| {
        for row in 0..8 {
            let index = &index;
            scope.spawn(move || {
                let hits = index.search(&vector(DIMS, row), 1).unwrap();
                assert_eq!(hits[0].row, row);
            });
        }
    });
}

#[test]
fn more_queries_than_one_group_have_a_result_each() {
    let directory = tempfile::tempdir().unwrap();
    let index = open(&[write(directory.path(), "a.arrow", "i8", 0..600)], 2);
    let queries: Vec<_> = (0..600).map(|row| vector(DIMS, row)).collect();
    let found = index.search_batch(&queries, &Search::exact(1)).unwrap();
    for (row, hits) in found.iter().enumerate() {
        assert_eq!(hits[0].row, row as u64);
    }
}

#[test]
fn k_beyond_the_rows_finds_all_of_them_and_0_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let index = open(&[write(directory.path(), "a.arrow", "i8", 0..50)], 2);
    let hits = index.search(&vector(DIMS, 3), usize::MAX).unwrap();
    assert_eq!(hits.len(), 50);
    assert_eq!(hits[0].row, 3);
    let error = index.search(&vector(DIMS, 3), 0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "k: 0 rows are asked for; give at least 1"
    );
    let none = open(&[write(directory.path(), "none.arrow", "i8", 0..0)], 2);
    assert_eq!(none.search(&vector(DIMS, 3), 5).unwrap(), []);
}

#[test]
fn queries_that_do_not_fit_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let index = open(&[write(directory.path(), "a.arrow", "i8", 0..5)], 1);
    let message = |query: &[f32]| index.search(query, 1).unwrap_err().to_string();
    assert!(message(&[0.5; 8]).contains("has 8 values, and those of the index have 48"));
    let mut query = vector(DIMS, 1);
    query[7] = f32::NAN;
    assert!(message(&query).contains("vector 0 has NaN at 7"));
    query[7] = 0.0;
    query.iter_mut().for_each(|value| *value *= 1e-44);
    assert!(message(&query).contains("too small"));
    // A vector of zeros is as similar to one row as to another.
    assert_eq!(
        index.search(&[0.0; DIMS], 2).unwrap()[1],
        Hit { row: 1, score: 0.0 }
    );
}

#[test]
fn filters_leave_the_best_of_the_rows_that_pass() {
    let directory = tempfile::tempdir().unwrap();
    let paths = [
        write(directory.path(), "a.arrow", "i8", 0..2000),
        write(directory.path(), "b.arrow", "i8", 2000..3000),
    ];
    let index = open(&paths, 2);
    let query = vector(DIMS, 1);
    let all = index.search(&query, 3000).unwrap();
    let expected = |passes: &dyn Fn(u64) -> bool| -> Vec<Hit> {
        let hits = all.iter().filter(|hit| passes(hit.row));
        hits.take(20).copied().collect()
    };
    let search = |filter| {
        let search = Search {
            filter,
            ..Search::exact(20)
        };
        index
            .search_batch(&[&query], &search)
            .map(|mut hits| hits.remove(0))
    };
    let condition = |column: &str, value: &str| Where {
        column: column.into(),
        value: value.into(),
    };
    let odd = [condition("parity", "odd")];
    assert_eq!(
        search(Filter::Where(&odd)).unwrap(),
        expected(&|row| row % 2 == 1)
    );
    let both = [condition("parity", "odd"), condition("seventh", "3")];
    let passes = |row| row % 2 == 1 && row % 7 == 3;
    assert_eq!(search(Filter::Where(&both)).unwrap(), expected(&passes));
    let one = [condition("id", "r2345")];
    assert_eq!(
        search(Filter::Where(&one)).unwrap(),
        expected(&|row| row == 2345)
    );
    let set: RowSet = (0..3000).filter(|row| row % 5 == 0).collect();
    assert_eq!(
        search(Filter::Rows(&set)).unwrap(),
        expected(&|row| row % 5 == 0)
    );
    let error = search(Filter::Where(&[condition("paritty", "odd")])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "where: there is no column \"paritty\"; its columns are: id, text, parity, seventh"
    );
}

#[test]
fn two_stages_end_with_the_exact_scores() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(directory.path(), "a.arrow", "i8+binary+f32", 0..3000);
    let index = open(&[path], 2);
    let queries = queries();
    let exact = index.search_batch(&queries, &Search::exact(10)).unwrap();
    let two = |approximate, rescore| Search {
        approximate: Some(approximate),
        rescore,
        ..Search::exact(10)
    };
    // With 300 times k candidates these are all rows.
    assert_eq!(
        index.search_batch(&queries, &two(300, false)).unwrap(),
        exact
    );
    let found = index.search_batch(&queries, &two(2, false)).unwrap();
    for (hits, query) in found.iter().zip(&queries) {
        for hit in hits {
            assert_eq!(
                hit.score,
                score(Precision::I8, &vector(DIMS, hit.row), query)
            );
        }
    }
    let measured = index.recall(&queries, 10, &[1, 4, 300]).unwrap();
    assert!(
        measured
            .windows(2)
            .all(|pair| pair[0].recall <= pair[1].recall)
    );
    assert_eq!(measured[2].recall, 1.0);
    assert!(measured[0].recall < 1.0, "{measured:?}");

    let rescored = index.search_batch(&queries, &two(300, true)).unwrap();
    let in_f32 = open(&[write(directory.path(), "f.arrow", "f32", 0..3000)], 1);
    let in_f32 = in_f32.search_batch(&queries, &Search::exact(10)).unwrap();
    assert_eq!(rescored, in_f32);
}

/// The dot product of a query's eight levels with the signs of a row.
fn levels_and_signs(query: &[f32], row: &[f32]) -> f32 {
    let stored = |vector: &[f32]| {
        let mut values = Vec::new();
        Precision::I8.encode(vector, &mut values);
        values.into_iter().map(|value| f64::from(value as i8))
    };
    let deviation = stored(query).map(|value| value * value).sum::<f64>() / query.len() as f64;
    let step = 0.586 * deviation.sqrt();
    let level = |value: f64| 2.0 * (value / step).floor().clamp(-4.0, 3.0) + 1.0;
    let signs = row
        .iter()
        .map(|&value| if value > 0.0 { 1.0 } else { -1.0 });
    let products = stored(query).map(level).zip(signs);
    products.map(|(level, sign)| level * sign).sum::<f64>() as f32
}

#[test]
fn candidates_are_those_of_eight_levels_and_signs() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(directory.path(), "a.arrow", "i8+binary", 0..3000);
    let index = open(&[path], 2);
    let rows: Vec<Vec<f32>> = (0..3000).map(|row| vector(DIMS, row)).collect();
    let search = Search {
        approximate: Some(3),
        ..Search::exact(10)
    };
    let queries = queries();
    let together = index.search_batch(&queries, &search).unwrap();
    for (query, together) in queries.iter().zip(together) {
        let levels = rows.iter().map(|row| levels_and_signs(query, row));
        let candidates = best(levels, 30);
        let exact = candidates.iter().map(|&(row, _)| {
            let score = score(Precision::I8, &rows[row as usize], query);
            Hit { row, score }
        });
        let mut exact: Vec<Hit> = exact.collect();
        exact.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
        exact.truncate(10);
        assert_eq!(together, exact);
        let alone = index.search_batch(&[query], &search).unwrap();
        assert_eq!(alone, [exact]);
    }
}

#[test]
fn what_the_files_do_not_have_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let index = open(&[write(directory.path(), "a.arrow", "i8", 0..5)], 1);
    let message = |search: Search<'_>| {
        let found = index.search_batch(&[vector(DIMS, 1)], &search);
        found.unwrap_err().to_string()
    };
    let approximate = message(Search {
        approximate: Some(8),
        ..Search::exact(1)
    });
    assert!(
        approximate.starts_with("approximate: it needs binary codes"),
        "{approximate}"
    );
    let rescore = message(Search {
        rescore: true,
        ..Search::exact(1)
    });
    assert!(
        rescore.starts_with("rescore: it needs vectors in f32"),
        "{rescore}"
    );
}

#[test]
fn similar_rows_are_those_of_a_search_without_the_row() {
    let directory = tempfile::tempdir().unwrap();
    for precision in ["i8", "f32", "f16", "binary", "i8+binary"] {
        let path = write(
            directory.path(),
            &format!("{precision}.arrow"),
            precision,
            0..1500,
        );
        let index = open(&[path], 2);
        let similar = index.similar(900, &Search::exact(9)).unwrap();
        // Rows 200 and 900 have the same vector.
        assert_eq!(similar[0].row, 200, "{precision}");
        assert!((similar[0].score - 1.0).abs() < 0.01, "{precision}");
        assert!(similar.iter().all(|hit| hit.row != 900));
        assert_eq!(similar.len(), 9);
        let error = index.similar(1500, &Search::exact(9)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "row: there is no row 1500; give one from 0 to 1499"
        );
    }
}

#[test]
fn duplicates_are_all_pairs_each_once_and_in_order() {
    let directory = tempfile::tempdir().unwrap();
    for (name, precision) in [("i8", Precision::I8), ("binary", Precision::Binary)] {
        let paths = [
            write(directory.path(), &format!("{name}0.arrow"), name, 0..700),
            write(directory.path(), &format!("{name}1.arrow"), name, 700..1300),
        ];
        let vectors: Vec<_> = (0..1300).map(|row| vector(DIMS, row)).collect();
        let mut expected = Vec::new();
        for (first, query) in (0..).zip(&vectors) {
            for (second, row) in (0..).zip(&vectors).skip(first as usize + 1) {
                let score = score(precision, row, query);
                if score >= 0.5 {
                    expected.push(Pair {
                        first,
                        second,
                        score,
                    });
                }
            }
        }
        assert!(expected.len() > 600);
        for threads in [1, 3] {
            let index = open(&paths, threads);
            let (mut found, mut last) = (Vec::new(), (0, 1));
            let result = index.duplicates(
                0.5,
                &CancelToken::new(),
                |done, total| last = (done, total),
                |pair| {
                    found.push(pair);
                    ControlFlow::Continue(())
                },
            );
            result.unwrap();
            // One group of second rows: the order is that of the loops above.
            assert_eq!(found, expected, "{name}");
            assert_eq!(last, (1300 * 1299 / 2, 1300 * 1299 / 2));
        }
    }
}

#[test]
fn duplicates_can_be_cancelled_and_ended() {
    let directory = tempfile::tempdir().unwrap();
    let index = open(&[write(directory.path(), "a.arrow", "i8", 0..1500)], 2);
    let cancel = CancelToken::new();
    let mut found = 0;
    let ended = index.duplicates(
        0.9,
        &cancel,
        |_, _| {},
        |_| {
            found += 1;
            ControlFlow::Break(())
        },
    );
    assert!(ended.is_ok());
    assert_eq!(found, 1);
    let cancelled = index.duplicates(
        0.9,
        &cancel.clone(),
        |_, _| {
            cancel.cancel();
        },
        |_| ControlFlow::Continue(()),
    );
    assert!(matches!(cancelled, Err(Error::Cancelled)));
}

#[test]
fn records_have_the_columns_of_their_row() {
    let directory = tempfile::tempdir().unwrap();
    let paths = [
        write(directory.path(), "a.arrow", "i8", 0..1500),
        write(directory.path(), "b.parquet", "i8", 1500..1600),
        write(directory.path(), "c.jsonl", "i8", 1600..1700),
    ];
    let index = open(&paths, 2);
    for (row, file) in [(0, 0), (1499, 0), (1500, 1), (1699, 2)] {
        let record = index.record(row).unwrap();
        assert_eq!(record.file, file);
        assert_eq!(record.id, Some(format!("r{row}").into()));
        assert_eq!(record.text, Some(row.to_string()));
        assert_eq!(index.locate(row).unwrap().0, paths[file]);
    }
    let record = index.record(1234).unwrap();
    assert!(record.kept.contains(&("parity".into(), "even".into())));
    assert!(record.kept.contains(&("seventh".into(), (1234 % 7).into())));
    assert!(index.record(1700).is_err());
    assert_eq!(index.notes().count(), 2);
    // Read into memory or in place, the scores are the same.
    let whole = open(&[write(directory.path(), "whole.arrow", "i8", 0..1700)], 1);
    let query = vector(DIMS, 77);
    assert_eq!(
        index.search(&query, 40).unwrap(),
        whole.search(&query, 40).unwrap()
    );
}

#[test]
fn files_of_different_spaces_are_refused_by_what_differs() {
    let directory = tempfile::tempdir().unwrap();
    let a = write(directory.path(), "a.arrow", "i8", 0..5);
    let refused = |name: &str, space| {
        let other = write_in(directory.path(), name, space, 0..5);
        let error = Index::open_all(&[&a, &other], &OpenOptions::default()).err();
        error.map(|error| error.to_string())
    };
    let message = refused("dims.arrow", space(64, "i8")).unwrap();
    assert!(message.contains("dims is 64, and 48 there"), "{message}");
    let message = refused("f32.arrow", space(DIMS, "f32")).unwrap();
    assert!(message.contains("no precision in common"), "{message}");
    let mut other = space(DIMS, "i8+f32");
    other.prompt_text = "q: ".into();
    other.version = "1".into();
    assert_eq!(refused("prompt.arrow", other), None);
}
