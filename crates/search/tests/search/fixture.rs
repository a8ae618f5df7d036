//! Files of vectors, written by a run with a model of which every vector is known.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lanewise_bulk::{CancelToken, Dialect, Embed, Job, ModelMemory, OverflowPolicy, Shard, Usage};
use lanewise_search::{Index, OpenOptions, Precision, Space};

/// The texts are numbers; equal ones modulo this have the same vector.
pub const DIFFERENT: u64 = 700;

/// The vector of a text that is a number.
pub fn vector(dims: usize, number: u64) -> Vec<f32> {
    let mut state = (number % DIFFERENT).wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1;
    let mut values: Vec<f32> = (0..dims)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect();
    let norm = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    values.iter_mut().for_each(|value| *value /= norm);
    values
}

struct Numbers(usize);

#[derive(Debug, thiserror::Error)]
#[error("never")]
pub struct Never;

impl Embed for Numbers {
    type Encoded = Vec<u32>;
    type Error = Never;

    fn dims(&self) -> usize {
        self.0
    }

    fn context(&self) -> usize {
        64
    }

    fn overflow_problem(&self) -> String {
        "is too long".into()
    }

    fn memory(&self) -> ModelMemory {
        ModelMemory {
            model_bytes: 1 << 20,
            bytes_per_token: 64,
            tokens_per_pass: 2048,
            tokens_per_call: 2048,
        }
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>, Never> {
        Ok(text.chars().map(u32::from).collect())
    }

    fn usage(encoded: &Vec<u32>) -> Usage {
        Usage {
            tokens: encoded.len(),
            truncated: false,
        }
    }

    fn ids(encoded: &Vec<u32>) -> &[u32] {
        encoded
    }

    fn bytes_read(&self, text: &str, _: &Vec<u32>) -> usize {
        text.len()
    }

    fn embed(&self, texts: &[Vec<u32>], vectors: &mut [f32]) -> Result<(), Never> {
        for (text, out) in texts.iter().zip(vectors.chunks_mut(self.0)) {
            let digits = text.iter().filter_map(|&digit| char::from_u32(digit));
            let number = digits.collect::<String>().parse().unwrap_or_default();
            out.copy_from_slice(&vector(self.0, number));
        }
        Ok(())
    }
}

pub fn space(dims: usize, precision: &str) -> Space {
    Space {
        version: "0".into(),
        model: "numbers".into(),
        model_sha256: "00".into(),
        prompt: "document".into(),
        prompt_text: "d: ".into(),
        pooling: "mean".into(),
        dense_heads: true,
        dims,
        precision: precision.parse().unwrap(),
        overflow: OverflowPolicy::Error,
    }
}

/// Writes the vectors of the texts `rows` as a file of this name and in these precisions.
pub fn write(directory: &Path, name: &str, precision: &str, rows: std::ops::Range<u64>) -> PathBuf {
    write_in(directory, name, space(48, precision), rows)
}

pub fn write_in(directory: &Path, name: &str, space: Space, rows: std::ops::Range<u64>) -> PathBuf {
    let input = directory.join(format!("{name}.input.jsonl"));
    let lines = rows.map(|row| {
        let parity = if row % 2 == 0 { "even" } else { "odd" };
        format!("{{\"id\": \"r{row}\", \"text\": \"{row}\", \"parity\": \"{parity}\", \"seventh\": {}}}\n", row % 7)
    });
    fs::write(&input, lines.collect::<String>()).unwrap();
    let output = directory.join(name);
    let job = Job {
        input: vec![input],
        input_format: None,
        dialect: Dialect::default(),
        output: output.clone(),
        output_format: None,
        field: "text".into(),
        id_field: Some("id".into()),
        keep: vec!["text".into(), "parity".into(), "seventh".into()],
        reuse: Vec::new(),
        max_memory: 1 << 30,
        resume: None,
        force: false,
        shard: Shard::WHOLE,
        model: None,
    };
    let run = job
        .check()
        .unwrap()
        .open(Arc::new(Numbers(space.dims)))
        .unwrap();
    run.execute(space, &CancelToken::new(), &mut ()).unwrap();
    output
}

pub fn open(paths: &[PathBuf], threads: usize) -> Index {
    let options = OpenOptions {
        threads: Some(threads),
        ..OpenOptions::default()
    };
    Index::open_all(paths, &options).unwrap()
}

/// The score of two vectors that are stored in a precision.
pub fn score(precision: Precision, row: &[f32], query: &[f32]) -> f32 {
    let encode = |vector: &[f32]| {
        let mut bytes = Vec::new();
        let scale = precision.encode(vector, &mut bytes);
        (bytes, scale)
    };
    let ((row_bytes, row_scale), (query_bytes, query_scale)) = (encode(row), encode(query));
    let pairs = || row_bytes.iter().zip(&query_bytes);
    match precision {
        Precision::I8 => {
            let products = pairs().map(|(&a, &b)| i32::from(a as i8) * i32::from(b as i8));
            products.sum::<i32>() as f32 * row_scale * query_scale
        }
        Precision::Binary => {
            let different: u32 = pairs().map(|(a, b)| (a ^ b).count_ones()).sum();
            1.0 - 2.0 * different as f32 / row.len() as f32
        }
        Precision::F32 | Precision::F16 => unreachable!("the order of sums is the kernels'"),
    }
}

/// The best rows by scores, equal ones by their numbers.
pub fn best(scores: impl Iterator<Item = f32>, k: usize) -> Vec<(u64, f32)> {
    let mut rows: Vec<(u64, f32)> = (0..).zip(scores).collect();
    rows.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    rows.truncate(k);
    rows
}
