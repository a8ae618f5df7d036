//! How long searches take: `cargo test --release -p lanewise-search --test search -- --ignored --nocapture`.

use std::ops::ControlFlow;
use std::time::Instant;

use lanewise_search::{CancelToken, Search};

use crate::fixture::{open, space, vector, write_in};

#[test]
#[ignore = "a measurement"]
fn timed_on_100_000_rows_of_768_values() {
    let directory = tempfile::tempdir().unwrap();
    let rows = 100_000;
    let path = write_in(
        directory.path(),
        "a.arrow",
        space(768, "i8+binary"),
        0..rows,
    );
    let start = Instant::now();
    let index = open(&[path], 2);
    println!("open: {:?}", start.elapsed());
    let queries: Vec<_> = (0..256).map(|row| vector(768, row)).collect();
    let two = Search {
        approximate: Some(32),
        ..Search::exact(10)
    };
    for (name, count, search) in [
        ("1 query", 1, Search::exact(10)),
        ("16 queries", 16, Search::exact(10)),
        ("256 queries", 256, Search::exact(10)),
        ("1 query, two stages", 1, two),
        ("16 queries, two stages", 16, two),
    ] {
        let mut times: Vec<_> = (0..15)
            .map(|_| {
                let start = Instant::now();
                let hits = index.search_batch(&queries[..count], &search).unwrap();
                assert_eq!(hits.len(), count);
                start.elapsed()
            })
            .collect();
        times.sort_unstable();
        println!("{name}: least {:?}, median {:?}", times[0], times[7]);
    }
    let (start, mut pairs) = (Instant::now(), 0_u64);
    let compared = index.duplicates(
        0.95,
        &CancelToken::new(),
        |_, _| {},
        |_| {
            pairs += 1;
            ControlFlow::Continue(())
        },
    );
    compared.unwrap();
    println!("duplicates: {:?}, {pairs} pairs", start.elapsed());
}
