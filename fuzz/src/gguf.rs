//! Opens a small model that the input has damaged, and embeds a text with what still opens.
//!
//! The input is a list of edits. Most of them change a field before the file is laid out, so that
//! all other fields still fit and the reader gets past its first checks; the last ones write over
//! the bytes of the file.

use std::path::Path;
use std::sync::LazyLock;

use lanewise::{Embedder, Error};
use lanewise_testkit::gguf_writer::{File, Value};
use lanewise_testkit::tiny_model::{self, Options};
use libfuzzer_sys::arbitrary::Unstructured;

use crate::{byte, damage, number, pick, with_file};

/// The model before the damage, as small as it can be.
static MODEL: LazyLock<File> = LazyLock::new(|| {
    tiny_model::build(&Options {
        layers: 1,
        hidden: 32,
        feed_forward: 32,
        heads: 1,
        context: 16,
        ..Options::default()
    })
});

/// Runs the target.
///
/// # Panics
/// If the model that is refused is not named in the error, or one that is not gives vectors that
/// are not finite or not of unit length.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let mut file = MODEL.clone();
    for _ in 0..byte(&mut input) % 8 {
        edit(&mut file, &mut input);
    }
    let mut bytes = file.to_bytes();
    for _ in 0..byte(&mut input) % 8 {
        // Mostly in the first part, where the header is.
        let whole = byte(&mut input) % 4 == 0;
        let reach = if whole { bytes.len() } else { 2048 };
        damage(&mut bytes, reach, &mut input);
    }
    let dense_heads = byte(&mut input) % 2 == 0;
    with_file(&bytes, |path| open(path, dense_heads));
}

fn open(path: &Path, dense_heads: bool) {
    let builder = Embedder::builder().threads(1).dense_heads(dense_heads);
    let embedder = match builder.open(path) {
        Ok(embedder) => embedder,
        Err(error) => {
            assert!(matches!(
                error,
                Error::File { .. }
                    | Error::Io { .. }
                    | Error::MissingDenseHeads { .. }
                    | Error::MissingPooling { .. }
            ));
            let message = error.to_string();
            assert!(message.starts_with(&*path.to_string_lossy()), "{message}");
            return;
        }
    };
    for text in ["", "Hello world <unused7>  日本\u{2581} \u{0}é\n\n"] {
        match embedder.embed(text) {
            Ok(embedding) => {
                let squares = |x: &f32| f64::from(*x) * f64::from(*x);
                let length = embedding.vector.iter().map(squares).sum::<f64>().sqrt();
                assert!((length - 1.0).abs() < 1e-5, "a vector of length {length}");
            }
            Err(error) => assert!(error.to_string().contains(": ")),
        }
    }
}

/// Changes one field.
fn edit(file: &mut File, input: &mut Unstructured) {
    let tensor = usize::from(byte(input)) % file.tensors.len().max(1);
    let key = usize::from(byte(input)) % file.metadata.len().max(1);
    match byte(input) % 16 {
        0 => file.version = number(input) as u32,
        1 => file.tensor_count = Some(number(input)),
        2 => file.metadata_count = Some(number(input)),
        3 => {
            let alignment = 1 << (byte(input) % 13);
            file.alignment = alignment;
            file.set("general.alignment", Value::U32(alignment as u32));
        }
        4 => {
            if let Some((name, _)) = file.metadata.get_mut(key) {
                *name = text(input);
            }
        }
        5 => drop((key < file.metadata.len()).then(|| file.metadata.remove(key))),
        6 => file.metadata.extend(file.metadata.get(key).cloned()),
        7..=9 => {
            let value = value(input);
            if let Some((_, old)) = file.metadata.get_mut(key) {
                *old = value;
            }
        }
        10 => drop((tensor < file.tensors.len()).then(|| file.tensors.remove(tensor))),
        11 => file.tensors.extend(file.tensors.get(tensor).cloned()),
        kind => {
            let Some(tensor) = file.tensors.get_mut(tensor) else {
                return;
            };
            match kind {
                12 => tensor.kind = pick(input, &[0, 1, 8, 30, 2, 12, 14, u32::MAX]),
                13 => {
                    let dims = (0..byte(input) % 6).map(|_| number(input));
                    tensor.dims = dims.collect();
                }
                14 => tensor.offset = Some(number(input)),
                _ if byte(input) % 2 == 0 => tensor.name = text(input),
                _ => {
                    let at = number(input) as usize % tensor.data.len().max(1);
                    let value = byte(input);
                    tensor
                        .data
                        .get_mut(at)
                        .into_iter()
                        .for_each(|byte| *byte = value);
                }
            }
        }
    }
}

fn text(input: &mut Unstructured) -> String {
    let length = usize::from(byte(input) % 80).min(input.len());
    String::from_utf8_lossy(input.bytes(length).unwrap_or_default()).into_owned()
}

fn value(input: &mut Unstructured) -> Value {
    match byte(input) % 8 {
        0 | 1 => Value::U32(number(input) as u32),
        2 => Value::F32(input.arbitrary().unwrap_or_default()),
        3 => Value::Bool(byte(input) % 2 == 0),
        4 => Value::String(text(input)),
        5 => Value::Strings(
            (0..byte(input) % 4)
                .map(|_| text(input).into_bytes())
                .collect(),
        ),
        6 => Value::I32s((0..byte(input) % 4).map(|_| number(input) as i32).collect()),
        _ => {
            let kind = u32::from(byte(input) % 14);
            let mut bytes = number(input).to_le_bytes().to_vec();
            bytes.extend(text(input).into_bytes());
            Value::Raw(kind, bytes)
        }
    }
}
