//! The converter: a GGUF file or an error, whatever is in the files of a model's directory.
//!
//! The input is a file of a small model and damage to it, or text in its place.

use std::ops::ControlFlow;
use std::sync::LazyLock;

use lanewise_convert::{ConvertJob, WeightType};
use lanewise_testkit::checkpoint::{Directory, tiny_bert};
use libfuzzer_sys::arbitrary::Unstructured;

use crate::{SCRATCH, byte, damage, pick};

const FILES: [&str; 7] = [
    "config.json",
    "tokenizer.json",
    "model.safetensors",
    "modules.json",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
];

/// The directory, in memory as the scratch file is, and what its files hold.
static MODEL: LazyLock<(Directory, Vec<Vec<u8>>)> = LazyLock::new(|| {
    let directory = tiny_bert(SCRATCH.with_extension("directory"));
    let read = |name| std::fs::read(directory.path().join(name)).expect("the file is there");
    let contents = FILES.map(read).into();
    (directory, contents)
});

/// Bytes from the start that damage reaches: of the weights, their header.
const REACH: usize = 4096;

/// Runs the target.
///
/// # Panics
/// If the converter panics, or an error has no message.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let (directory, contents) = &*MODEL;
    let index = usize::from(byte(&mut input)) % FILES.len();
    let weights = pick(
        &mut input,
        &[
            WeightType::Q8_0,
            WeightType::Q4_0,
            WeightType::F16,
            WeightType::F32,
        ],
    );
    let mut bytes = contents[index].clone();
    match byte(&mut input) % 4 {
        0 => bytes = input.take_rest().to_vec(),
        count => (0..count).for_each(|_| damage(&mut bytes, REACH, &mut input)),
    }
    directory.file(FILES[index], &bytes);
    let output = directory.path().with_extension("gguf");
    let job = ConvertJob {
        directory: directory.path().into(),
        output: output.clone(),
        weights,
        name: None,
        pooling: None,
        dense_heads: true,
        force: true,
    };
    let result = job.run(&mut |_, _| ControlFlow::Continue(()));
    directory.file(FILES[index], &contents[index]);
    match result {
        Ok(_) => std::fs::remove_file(&output).expect("a result is a file"),
        Err(error) => {
            assert!(!error.to_string().is_empty(), "an error says something");
            assert!(!output.exists(), "an error leaves no output");
        }
    }
}
