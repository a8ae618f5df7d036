//! Files that must open: every supported type and variant, and the real model.

use std::path::Path;
use std::sync::Arc;

use lanewise::internals::engine::{HeadShape, Reach};
use lanewise::internals::gguf::{Gguf, TensorType, Value as Read, ValueType};
use lanewise::internals::models::gemma_embedding::{
    Config, FAMILY, GemmaEmbedding, Head, LayerKind, Version,
};
use lanewise::internals::models::{self, Model};
use lanewise_testkit::assets::{Variant, real_model};
use lanewise_testkit::gguf_writer::{Encoding, File, Value};
use lanewise_testkit::scratch;
use lanewise_testkit::tiny_model::{self, Options};

fn load(name: &str, file: &File) -> GemmaEmbedding {
    let path = scratch!(format!("{name}.gguf"));
    file.write(&path).unwrap();
    load_at(&path)
}

fn load_at(path: &Path) -> GemmaEmbedding {
    let gguf = Arc::new(Gguf::open(path).unwrap());
    let config = Config::from_gguf(&gguf).unwrap();
    let model = GemmaEmbedding::from_gguf(gguf, config, &FAMILY).unwrap();
    models::verify(&model).unwrap();
    model
}

#[test]
fn the_real_file_has_the_published_tensors_and_hyperparameters() {
    let Some(path) = real_model(Variant::Q8_0) else {
        return;
    };
    let model = load_at(&path);
    let (gguf, config, weights) = (model.gguf(), model.config(), model.weights());
    assert_eq!((gguf.version(), gguf.alignment()), (3, 32));
    assert_eq!(gguf.tensors().len(), 316);
    let global = LayerKind {
        heads: HeadShape {
            heads: 3,
            kv_heads: 1,
            head_dim: 256,
        },
        scale: 1.0 / 16.0,
        rope_base: 1e6,
        reach: Reach::ALL,
    };
    let expected = Config {
        version: Version::First,
        hidden: 768,
        feed_forward: 1152,
        global,
        local: LayerKind {
            rope_base: 1e4,
            reach: Reach::within(256),
            ..global
        },
        global_layers: (0..24).map(|layer| layer % 6 == 5).collect(),
        context: 2048,
        rms_norm_eps: 1e-6,
        sliding_window: 512,
        vocabulary: 262_144,
    };
    assert_eq!(*config, expected);
    let layers = weights.layers.iter().flat_map(|layer| layer.matrices());
    let bytes: usize = layers.map(|matrix| matrix.range().len()).sum();
    assert_eq!(bytes, 107_790_336);
    assert!(matches!(weights.head, Head::Dense(Some(_))));

    let tokens = gguf.required_array("tokenizer.ggml.tokens").unwrap();
    assert_eq!(tokens.element(), ValueType::String);
    let mut tokens = gguf.strings(tokens).unwrap();
    assert_eq!(tokens.clone().count(), 262_144);
    assert_eq!(tokens.nth(9259), Some(&b"Hello"[..]));
    let scores = gguf.required_array("tokenizer.ggml.scores").unwrap();
    assert_eq!(gguf.f32s(scores).unwrap().len(), 262_144);
    let types = gguf.required_array("tokenizer.ggml.token_type").unwrap();
    assert_eq!(gguf.i32s(types).unwrap().next(), Some(3));
}

#[test]
fn every_supported_matrix_type_loads_with_its_values() {
    for (encoding, kind, row_bytes) in [
        (Encoding::Q8_0, TensorType::Q8_0, 68),
        (Encoding::F32, TensorType::F32, 256),
        (Encoding::F16, TensorType::F16, 128),
        (Encoding::Bf16, TensorType::Bf16, 128),
    ] {
        let options = Options {
            encoding,
            ..Options::default()
        };
        let mut file = tiny_model::build(&options);
        let model = load(&format!("{encoding:?}"), &file);
        let config = model.config();
        let heads = config.global.heads.heads;
        assert_eq!((config.layers(), config.hidden, heads), (2, 64, 3));
        let matrix = &model.weights().layers[1].ffn_up;
        assert_eq!(matrix.weight_type().tensor_type(), kind);
        assert_eq!((matrix.rows(), matrix.columns()), (96, 64));
        assert_eq!(matrix.row_bytes(), row_bytes);
        assert_eq!(matrix.bytes(), file.tensor_mut("blk.1.ffn_up.weight").data);
    }
}

#[test]
fn versions_2_and_3_and_other_alignments_open() {
    for (version, alignment) in [(2, 32), (3, 64), (3, 8), (3, 4096)] {
        let mut file = tiny_model::build(&Options::default());
        file.version = version;
        file.alignment = alignment;
        file.set("general.alignment", Value::U32(alignment as u32));
        let model = load(&format!("version-{version}-{alignment}"), &file);
        let gguf = model.gguf();
        assert_eq!(gguf.version(), version);
        assert_eq!(gguf.alignment(), alignment as u64);
    }
}

#[test]
fn heads_are_optional_and_the_local_rope_base_defaults_to_10000() {
    let options = Options {
        no_dense: true,
        no_swa_base: true,
        layers: 7,
        ..Options::default()
    };
    let model = load("bare", &tiny_model::build(&options));
    let config = model.config();
    assert!(matches!(model.weights().head, Head::Dense(None)));
    assert_eq!(config.local.rope_base, 10_000.0);
    let global: Vec<usize> = (0..7)
        .filter(|&layer| config.global_layers[layer])
        .collect();
    assert_eq!(global, [5]);
}

#[test]
fn without_key_length_the_heads_share_the_hidden_size() {
    let mut file = tiny_model::build(&Options {
        heads: 2,
        ..Options::default()
    });
    file.remove("gemma-embedding.attention.key_length");
    file.remove("gemma-embedding.attention.value_length");
    let model = load("no-key-length", &file);
    assert_eq!(model.config().global.heads.head_dim, 32);
}

#[test]
fn the_metadata_are_listed_with_their_values() {
    let model = load("metadata", &tiny_model::build(&Options::default()));
    let gguf = model.gguf();
    let keys: Vec<&str> = gguf.metadata().map(|(key, _)| key).collect();
    assert!(keys.is_sorted());
    assert_eq!(
        gguf.value("tokenizer.ggml.bos_token_id"),
        Some(&Read::U32(2))
    );
    assert_eq!(gguf.required_str("tokenizer.ggml.model").unwrap(), "llama");
    assert_eq!(gguf.optional_str("no.such.key").unwrap(), None);
    assert_eq!(
        gguf.optional_bool("tokenizer.ggml.add_bos_token").unwrap(),
        Some(true)
    );
    assert!(gguf.tensor("no.such.tensor").is_none());
    assert_eq!(gguf.tensors()[0].kind, TensorType::Q8_0);
}

#[test]
fn the_same_options_write_the_same_bytes() {
    let bytes = |seed| {
        tiny_model::build(&Options {
            seed,
            ..Options::default()
        })
        .to_bytes()
    };
    assert_eq!(bytes(1), bytes(1));
    assert_ne!(bytes(1), bytes(2));
}
