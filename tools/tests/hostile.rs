//! Malformed models: the list that people read is what the library says.

use std::process::Command;

/// The file in the repository.
const LIST: &str = include_str!("../../docs/hostile-files.txt");

#[test]
fn every_malformed_model_is_refused_as_the_list_in_docs_says() {
    let tools = env!("CARGO_BIN_EXE_lanewise-tools");
    let output = Command::new(tools).args(["hostile", "--check"]).output();
    let output = output.expect("the tools start");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let list = String::from_utf8(output.stdout).expect("the list is UTF-8");
    let pairs = list.lines().zip(LIST.lines());
    if let Some((now, listed)) = pairs.into_iter().find(|(now, listed)| now != listed) {
        panic!("docs/hostile-files.txt says\n{listed}\nbut it is\n{now}\nRegenerate it.");
    }
    assert!(list == LIST, "docs/hostile-files.txt is longer or shorter");
}

#[test]
fn there_are_over_a_thousand_malformed_models_no_two_of_them_alike() {
    let mut cases = lanewise_testkit::hostile::cases();
    let count = cases.len();
    cases.sort_unstable_by(|a, b| a.bytes.cmp(&b.bytes));
    cases.dedup_by(|a, b| a.bytes == b.bytes);
    assert!(count > 1000 && cases.len() == count, "{count}");
}
