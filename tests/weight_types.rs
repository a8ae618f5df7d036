//! Weight types of a few bits: their values are ggml's, and products with them near those.

mod support;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use half::f16;
use lanewise::internals::engine::{Matrix, weight_type};
use lanewise::internals::gguf::Gguf;
use lanewise::internals::models;
use lanewise::internals::packed::PackedState;
use lanewise::internals::{Runtime, RuntimeOptions};
use lanewise::{Embedder, Isa, PackedWeights};
use lanewise_testkit::blocks::{Blocks, TYPES};
use lanewise_testkit::gguf_writer::{Encoding, File, Tensor};
use lanewise_testkit::texts::text;
use lanewise_testkit::{scratch, tiny_bert, tiny_model};
use serde::Deserialize;
use support::{cosine, supported_isas};

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

/// The matrices of a file in Q8_0 with the file's scales, if its type has one for 32 integers.
fn as_q8_0(blocks: &Blocks, file: &mut File) {
    for tensor in file
        .tensors
        .iter_mut()
        .filter(|tensor| tensor.kind == blocks.number)
    {
        let columns = tensor.dims[0] as usize * tensor.dims[1] as usize;
        let row = File {
            tensors: vec![Tensor {
                dims: vec![columns as u64, 1],
                offset: None,
                ..tensor.clone()
            }],
            ..File::default()
        };
        let gguf = Arc::new(Gguf::open(written("as-q8_0", &row)).unwrap());
        let (kind, range) = (gguf.tensors()[0].kind, gguf.tensors()[0].range.clone());
        let kind = weight_type(kind).unwrap();
        let matrix = Matrix::new(gguf, &tensor.name, kind, [1, columns], range);
        let mut values = vec![0.0; columns];
        matrix.dequantize_row(0, &mut values);
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
    for blocks in TYPES
        .iter()
        .filter(|of| ["Q4_0", "Q5_0", "IQ4_NL"].contains(&of.name))
    {
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
