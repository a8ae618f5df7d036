//! A brute force that shares no code with the project: NumPy's, of 100,000 rows.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lanewise_search::{Precision, Search};
use lanewise_testkit::assets;

use crate::fixture::{open, vector, write};

#[test]
fn hits_of_100_000_rows_are_those_of_numpy_ties_included() {
    let installed = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../real_writers/bin/python");
    let python = std::env::var_os("LANEWISE_PYTHON").map_or(installed, PathBuf::from);
    if !python.exists() {
        let install = "tests/real_writers/install target/real_writers makes it";
        assets::skip(format!("{} is missing: {install}", python.display()));
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = write(directory.path(), "a.arrow", "i8", 0..100_000);
    let queries: Vec<Vec<f32>> = (0..20).map(|number| vector(48, number * 911 + 3)).collect();
    let lines = queries.iter().map(|query| {
        let mut values = Vec::new();
        let scale = Precision::I8.encode(query, &mut values);
        let values: Vec<i8> = values.into_iter().map(u8::cast_signed).collect();
        serde_json::json!({ "values": values, "scale": scale }).to_string() + "\n"
    });
    let file = directory.path().join("queries.jsonl");
    fs::write(&file, lines.collect::<String>()).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/search/brute_force.py");
    let output = Command::new(python)
        .arg(script)
        .args([&path, &file])
        .arg("50")
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let expected = String::from_utf8(output.stdout).unwrap();
    let found = open(&[path], 2).search_batch(&queries, &Search::exact(50));
    let mut ties = 0;
    for (hits, line) in found.unwrap().iter().zip(expected.lines()) {
        let expected: (Vec<u64>, Vec<u32>) = serde_json::from_str(line).unwrap();
        let rows: Vec<u64> = hits.iter().map(|hit| hit.row).collect();
        let scores: Vec<u32> = hits.iter().map(|hit| hit.score.to_bits()).collect();
        ties += scores.windows(2).filter(|pair| pair[0] == pair[1]).count();
        assert_eq!((rows, scores), expected);
    }
    assert!(ties > 20, "{ties} ties");
}
