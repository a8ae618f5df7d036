//! Malformed models: what the library says of each is what the committed list has.

use std::process::Command;

#[test]
fn every_malformed_model_is_refused_as_listed() {
    let tools = env!("CARGO_BIN_EXE_lanewise-tools");
    let output = Command::new(tools).args(["hostile", "--check"]).output();
    let output = output.expect("the tools start");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    // The check names the number of lines that it compared: two for each model.
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: usize = text.split(' ').next().unwrap().parse().expect("a count");
    let cases = lanewise_testkit::hostile::cases().len();
    assert!(lines > 2 * cases, "{text}");
}

#[test]
fn there_are_over_a_thousand_malformed_models_all_different() {
    let mut cases = lanewise_testkit::hostile::cases();
    let count = cases.len();
    cases.sort_unstable_by(|a, b| a.bytes.cmp(&b.bytes));
    cases.dedup_by(|a, b| a.bytes == b.bytes);
    assert!(count > 1000 && cases.len() == count, "{count}");
}
