//! Weight types of a few bits: their values are ggml's, and products with them near those.

mod support;

use std::fs;
use std::num::FpCategory;
use std::path::PathBuf;
use std::sync::Arc;

use half::f16;
use lanewise::internals::engine::{Matrix, weight_type};
use lanewise::internals::gguf::Gguf;
use lanewise::internals::models;
use lanewise::internals::packed::PackedState;
use lanewise::internals::{Runtime, RuntimeOptions};
use lanewise::{Embedder, Isa, PackedWeights};
use lanewise_kernels::{BLOCK, BlockFormat, Kernels};
use lanewise_testkit::blocks::{Blocks, TYPES};
use lanewise_testkit::gguf_writer::{Encoding, File, Tensor};
use lanewise_testkit::random::Random;
use lanewise_testkit::texts::text;
use lanewise_testkit::{scratch, tiny_bert, tiny_model};
use serde::Deserialize;
use support::{cosine, supported_isas};

/// The types whose blocks become Q8_0 without rounding.
const EXACT: [&str; 3] = ["Q4_0", "Q5_0", "IQ4_NL"];

fn written(name: &str, file: &File) -> PathBuf {
    let path = scratch!(format!("{name}.gguf"));
    file.write(&path).unwrap();
    path
}

/// A line of `tests/weight_types/blocks.jsonl`.
#[derive(Deserialize)]
struct Dequantized {
    r#type: String,
    blocks: String,
    values: String,
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits = hexadecimal.as_bytes().chunks_exact(2);
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.map(byte).collect()
}

#[test]
fn blocks_have_the_values_that_gguf_py_gives_them() {
    let lines = include_str!("weight_types/blocks.jsonl").lines();
    let mut types = 0;
    for line in lines {
        let Dequantized {
            r#type,
            blocks,
            values,
        } = serde_json::from_str(line).unwrap();
        let number = |name| TYPES.iter().find(|of| of.name == name).map(|of| of.number);
        let expected = bytes(&values);
        let columns = expected.len() / 4;
        let tensor = Tensor {
            name: "blocks".into(),
            kind: number(&r#type).unwrap_or(Encoding::Q8_0.number()),
            dims: vec![columns as u64, 1],
            data: bytes(&blocks),
            offset: None,
        };
        let file = File {
            tensors: vec![tensor],
            ..File::default()
        };
        let gguf = Arc::new(Gguf::open(written(&r#type, &file)).unwrap());
        let tensor = gguf.tensor("blocks").unwrap();
        let (kind, range) = (weight_type(tensor.kind).unwrap(), tensor.range.clone());
        assert_eq!(kind.tensor_type().to_string(), r#type);
        let matrix = Matrix::new(Arc::clone(&gguf), "blocks", kind, [1, columns], range);
        let mut found = vec![f32::NAN; columns];
        matrix.dequantize_row(0, &mut found);
        let found: Vec<u8> = found.iter().flat_map(|value| value.to_le_bytes()).collect();
        assert!(found == expected, "{}", r#type);
        types += 1;
    }
    assert_eq!(types, 1 + TYPES.len());
}

/// Models whose matrices have random blocks of a type: BERT with one vector, EmbeddingGemma.
fn models_of(blocks: &Blocks) -> [File; 2] {
    let bert = tiny_bert::Options {
        encoding: Encoding::F32,
        hidden: 256,
        feed_forward: 512,
        heads: 4,
        ..tiny_bert::Options::default()
    };
    let gemma = tiny_model::Options {
        encoding: Encoding::F32,
        hidden: 256,
        feed_forward: 256,
        ..tiny_model::Options::default()
    };
    let mut files = [tiny_bert::build(&bert), tiny_model::build(&gemma)];
    files.iter_mut().for_each(|file| blocks.fill_matrices(file));
    files
}

#[test]
fn int8_vectors_are_near_those_of_the_values() {
    for blocks in TYPES {
        for (file, family) in models_of(&blocks).iter().zip(["bert", "gemma"]) {
            let name = format!("near-{}-{family}", blocks.name);
            let model = models::open(written(&name, file)).unwrap();
            models::verify(&*model).unwrap();
            let width = model.shape().hidden;
            for tokens in [3, 129] {
                let text = text(tokens, 2000.min(model.shape().vocabulary), 1);
                let expected = model.reference().embed(&text).unwrap();
                let vectors = supported_isas().into_iter().map(|isa| {
                    let options = RuntimeOptions {
                        isa: Some(isa),
                        ..RuntimeOptions::default()
                    };
                    let mut runtime = Runtime::new(Arc::clone(&model), &options).unwrap();
                    let mut out = vec![f32::NAN; expected.len()];
                    runtime.embed(&[&text], &mut out).unwrap();
                    out
                });
                let vectors: Vec<Vec<f32>> = vectors.collect();
                let cosine = cosine(&vectors[0], &expected);
                assert!(
                    cosine >= 0.999,
                    "{name}, {tokens} tokens of {width}: {cosine}"
                );
                assert!(vectors.iter().all(|vector| *vector == vectors[0]), "{name}");
            }
        }
    }
}

/// The values of a tensor, as one long row.
fn values_of(tensor: &Tensor) -> Vec<f32> {
    let columns = tensor.dims.iter().product();
    let row = File {
        tensors: vec![Tensor {
            dims: vec![columns, 1],
            offset: None,
            ..tensor.clone()
        }],
        ..File::default()
    };
    let gguf = Arc::new(Gguf::open(written("values", &row)).unwrap());
    let (kind, range) = (gguf.tensors()[0].kind, gguf.tensors()[0].range.clone());
    let columns = columns as usize;
    let matrix = Matrix::new(
        gguf,
        &tensor.name,
        weight_type(kind).unwrap(),
        [1, columns],
        range,
    );
    let mut values = vec![0.0; columns];
    matrix.dequantize_row(0, &mut values);
    values
}

/// Values of a block as Q8_0: rounded to nearest even by the largest / 127 as f16.
fn rounded(values: &[f32; BLOCK]) -> Vec<u8> {
    let largest = values
        .iter()
        .fold(0.0, |largest: f32, value| largest.max(value.abs()));
    let scale = f16::from_f32(largest / 127.0);
    let inverse = match scale.classify() {
        FpCategory::Zero | FpCategory::Infinite => 0.0,
        // Rounded so far down that the largest would not fit a byte.
        FpCategory::Subnormal if largest * (1.0 / scale.to_f32()) >= 127.5 => 127.0 / largest,
        _ => 1.0 / scale.to_f32(),
    };
    let integers = values.map(|value| (value * inverse).round_ties_even() as i8 as u8);
    scale.to_le_bytes().into_iter().chain(integers).collect()
}

/// The formats of the kernels, as files name them.
const FORMATS: [(&str, BlockFormat); 8] = [
    ("Q4_0", BlockFormat::Q4_0),
    ("Q4_1", BlockFormat::Q4_1),
    ("Q5_0", BlockFormat::Q5_0),
    ("Q5_1", BlockFormat::Q5_1),
    ("IQ4_NL", BlockFormat::Iq4Nl),
    ("Q4_K", BlockFormat::Q4K),
    ("Q5_K", BlockFormat::Q5K),
    ("Q6_K", BlockFormat::Q6K),
];

#[test]
fn products_read_the_values_of_blocks_as_q8_0() {
    for blocks in TYPES {
        let (_, format) = FORMATS.iter().find(|of| of.0 == blocks.name).unwrap();
        let mut random = Random(7);
        // From scales that are 0 or subnormal in f16 to large ones.
        for bound in [1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 0.1, 1.0, 300.0, 1e4] {
            if EXACT.contains(&blocks.name) && bound < 1e-5 {
                // A scale of 0 does not say which integers there are.
                continue;
            }
            let columns = 4096;
            let data = blocks.random(columns, bound, &mut random);
            let tensor = Tensor {
                name: "blocks".into(),
                kind: blocks.number,
                dims: vec![columns as u64, 1],
                data: data.clone(),
                offset: None,
            };
            let values = values_of(&tensor);
            let stored = data.chunks_exact(data.len() / (columns / BLOCK));
            let expected: Vec<u8> = match EXACT.contains(&blocks.name) {
                true => stored
                    .zip(values.as_chunks::<BLOCK>().0)
                    .flat_map(|(stored, values)| {
                        let unit = f16::from_le_bytes([stored[0], stored[1]]).to_f32();
                        let integer = |value: f32| (value / unit).round() as i8 as u8;
                        let integers = values.map(integer);
                        stored[..2]
                            .iter()
                            .copied()
                            .chain(integers)
                            .collect::<Vec<u8>>()
                    })
                    .collect(),
                false => values.as_chunks().0.iter().flat_map(rounded).collect(),
            };
            for isa in supported_isas() {
                let mut found = vec![77; expected.len()];
                let kernels = Kernels::for_isa(isa).unwrap();
                kernels.unpack(*format, &data, &mut found);
                assert!(found == expected, "{} to {bound} on {isa}", blocks.name);
            }
        }
    }
}

/// The matrices of a file in Q8_0 with the file's scales, if its type has one for 32 integers.
fn as_q8_0(blocks: &Blocks, file: &mut File) {
    for tensor in file
        .tensors
        .iter_mut()
        .filter(|tensor| tensor.kind == blocks.number)
    {
        let values = values_of(tensor);
        let columns = values.len();
        let stored = tensor.data.chunks_exact(tensor.data.len() / (columns / 32));
        let data = stored
            .zip(values.as_chunks::<32>().0)
            .flat_map(|(block, values)| {
                let scale = [block[0], block[1]];
                let unit = f16::from_le_bytes(scale).to_f32();
                let integers = values.map(|value| (value / unit).round() as i8 as u8);
                scale.into_iter().chain(integers)
            });
        tensor.data = data.collect();
        tensor.kind = Encoding::Q8_0.number();
    }
}

#[test]
fn types_of_one_scale_give_the_bits_of_their_q8_0() {
    for blocks in TYPES.iter().filter(|of| EXACT.contains(&of.name)) {
        for mut file in models_of(blocks) {
            let vector = |file: &File| {
                let builder = Embedder::builder().packed_weights(PackedWeights::Off);
                let embedder = builder.open(written("exact", file)).unwrap();
                embedder.embed("Hello world").unwrap().vector
            };
            let own = vector(&file);
            as_q8_0(blocks, &mut file);
            assert_eq!(own, vector(&file), "{}", blocks.name);
        }
    }
}

#[test]
fn packed_weights_of_every_type_change_no_vector() {
    if !Isa::Avx512.is_supported() {
        println!("SKIPPED: this CPU has no kernels whose packed weights are kept");
        return;
    }
    let directory = scratch!("packed");
    for blocks in TYPES {
        for file in models_of(&blocks) {
            let path = written("packed", &file);
            let open = |packed| {
                let builder = Embedder::builder().packed_weights(packed);
                builder
                    .packed_weights_directory(&directory)
                    .open(&path)
                    .unwrap()
            };
            let packed = open(PackedWeights::UseAndWrite);
            let state = packed.packed_state();
            assert!(matches!(state, PackedState::Used { .. }), "{state:?}");
            let [of_packed, own] = [packed, open(PackedWeights::Off)]
                .map(|embedder| embedder.embed("Hello world").unwrap().vector);
            assert_eq!(of_packed, own, "{}", blocks.name);
        }
    }
    let _ = fs::remove_dir_all(directory);
}

#[test]
fn damaged_scales_and_rows_are_refused() {
    for blocks in TYPES {
        let [mut file, _] = models_of(&blocks);
        let tensor = file.tensor_mut("blk.1.ffn_up.weight");
        let at = if blocks.name == "Q6_K" { 208 } else { 0 };
        tensor.data[at..][..2].copy_from_slice(&f16::NAN.to_le_bytes());
        let model = models::open(written("not-finite", &file)).unwrap();
        let error = models::verify(&*model).unwrap_err().to_string();
        let expected = "row 0 has a scale that is infinite or not a number";
        assert!(
            error.contains("blk.1.ffn_up.weight") && error.contains(expected),
            "{error}"
        );
        let embedder = Embedder::builder().packed_weights(PackedWeights::Off);
        let embedder = embedder.open(written("not-finite", &file)).unwrap();
        let error = embedder.embed("a").unwrap_err().to_string();
        assert!(
            error.contains("not a number") || error.contains("finite"),
            "{error}"
        );

        let [mut file, _] = models_of(&blocks);
        file.tensor_mut("blk.1.ffn_up.weight").dims[0] -= 16;
        let error = models::open(written("cut", &file)).unwrap_err().to_string();
        let expected = format!("rows of 240 values, which {} cannot hold", blocks.name);
        assert!(error.contains(&expected), "{error}");
    }
}
