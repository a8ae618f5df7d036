//! Runs `lanewise convert` and looks into what it wrote.
#![allow(dead_code, reason = "each test program compiles this and uses a part")]

use std::path::{Path, PathBuf};

use lanewise::internals::gguf::{Gguf, TensorType};
use lanewise_testkit::checkpoint::Directory;

use crate::cli_support::run;

pub fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", env!("CARGO_CRATE_NAME")))
}

/// Runs `lanewise convert` and opens what it wrote.
#[track_caller]
pub fn converted(directory: &Directory, options: &[&str]) -> Gguf {
    let output = format!("{}.gguf", directory.path().display());
    let input = directory.path().to_str().unwrap();
    let run = run(&[&["convert", input, &output, "--force"], options].concat());
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(run.out, "");
    Gguf::open(output).unwrap()
}

pub fn strings(gguf: &Gguf, key: &str) -> Vec<String> {
    let strings = gguf.strings(gguf.required_array(key).unwrap()).unwrap();
    strings
        .map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
        .collect()
}

pub fn f32s(gguf: &Gguf, name: &str) -> Vec<f32> {
    let tensor = gguf.tensor(name).unwrap_or_else(|| panic!("no {name}"));
    assert_eq!(tensor.kind, TensorType::F32, "{name}");
    let (values, _) = gguf.bytes(tensor.range.clone()).as_chunks();
    values
        .iter()
        .map(|&bytes| f32::from_le_bytes(bytes))
        .collect()
}
