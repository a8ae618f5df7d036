//! What tests of the engine share: golden files, and how vectors are compared.
#![allow(dead_code, reason = "each test program compiles this and uses a part")]

pub mod tiny_families;

use std::path::Path;

use lanewise::Isa;
use lanewise::internals::tokenizer::Tokenizer;
use lanewise_testkit::assets::{golden, shared};
use serde::Deserialize;

/// The instruction sets of this CPU. Prints the others as skipped.
pub fn supported_isas() -> Vec<Isa> {
    let (supported, missing): (Vec<Isa>, Vec<Isa>) =
        Isa::ALL.into_iter().partition(|isa| isa.is_supported());
    for isa in missing {
        println!("SKIPPED: this CPU does not support {isa}");
    }
    supported
}

/// The lines of a golden file in JSON Lines.
pub fn golden_lines<T: for<'a> Deserialize<'a>>(name: &str) -> Option<Vec<T>> {
    Some(json_lines(&golden(name)?))
}

fn json_lines<T: for<'a> Deserialize<'a>>(path: &Path) -> Vec<T> {
    let text = std::fs::read_to_string(path).expect("the golden file is readable");
    let parse = |line| serde_json::from_str(line).expect("a golden line has its fields");
    text.lines().map(parse).collect()
}

/// A text and the embedding that the float32 checkpoint gives it.
#[derive(Debug, Deserialize)]
pub struct Golden {
    /// `query`, `document`, or nothing.
    pub prompt: String,
    /// The text without its prompt.
    pub text: String,
    /// Tokens with the prompt's, `<bos>` and `<eos>`; 2048 at most.
    pub tokens: usize,
    /// 768 values of unit length.
    #[serde(skip)]
    pub vector: Vec<f32>,
}

impl Golden {
    /// The text as the model reads it.
    pub fn prompted(&self) -> String {
        let prompt = match self.prompt.as_str() {
            "" => "",
            "query" => "task: search result | query: ",
            "document" => "title: none | text: ",
            other => panic!("the golden set has no prompt {other:?}"),
        };
        format!("{prompt}{}", self.text)
    }

    /// The tokens as the model reads them, checked for their number.
    pub fn ids(&self, tokenizer: &dyn Tokenizer) -> Vec<u32> {
        const CONTEXT: usize = 2048;
        let (ids, _) = tokenizer.encode_between_ends(&self.prompted(), CONTEXT);
        assert_eq!(ids.len(), self.tokens, "{:?}", self.text);
        ids
    }
}

/// The golden set of embeddings, to which parameters were tuned, if it is there.
pub fn golden_embeddings() -> Option<Vec<Golden>> {
    embeddings("golden")
}

/// Texts of many languages, up to 2,000 tokens, if they are there.
pub fn wide_embeddings() -> Option<Vec<Golden>> {
    embeddings("golden-wide")
}

fn embeddings(set: &str) -> Option<Vec<Golden>> {
    let mut texts: Vec<Golden> = json_lines(&shared(&format!("{set}/embeddings.jsonl"))?);
    let (shape, values) = read_npy(&shared(&format!("{set}/embeddings.npy"))?);
    assert_eq!(shape, [texts.len(), 768]);
    for (text, vector) in texts.iter_mut().zip(values.chunks_exact(768)) {
        text.vector = vector.to_vec();
    }
    Some(texts)
}

/// Shape and values of a NumPy file of little-endian `f32` in C order.
pub fn read_npy(path: &Path) -> (Vec<usize>, Vec<f32>) {
    let bytes = std::fs::read(path).expect("the array is readable");
    assert_eq!(bytes[..8], *b"\x93NUMPY\x01\0", "NumPy format 1.0");
    let header_len = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let (header, data) = bytes[10..].split_at(header_len);
    let header = std::str::from_utf8(header).expect("the header is text");
    assert!(header.contains("'descr': '<f4'") && header.contains("'fortran_order': False"));
    let (_, shape) = header.split_once("'shape': (").expect("a shape");
    let (shape, _) = shape.split_once(')').expect("the shape's end");
    let dimensions = shape
        .split(',')
        .map(str::trim)
        .filter(|dim| !dim.is_empty());
    let shape: Vec<usize> = dimensions.map(|dim| dim.parse().unwrap()).collect();
    let values = data
        .as_chunks()
        .0
        .iter()
        .map(|&bytes| f32::from_le_bytes(bytes));
    let values: Vec<f32> = values.collect();
    assert_eq!(values.len(), shape.iter().product::<usize>());
    (shape, values)
}

/// The cosine of the angle between two vectors of any length but zero.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter()
            .zip(b)
            .map(|(&a, &b)| f64::from(a) * f64::from(b))
            .sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Mean and minimum of cosines.
pub fn mean_and_minimum(cosines: &[f64]) -> (f64, f64) {
    let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
    assert!(mean.is_finite(), "a cosine is not a number");
    let minimum = cosines.iter().copied().min_by(f64::total_cmp);
    (mean, minimum.expect("at least one cosine"))
}
