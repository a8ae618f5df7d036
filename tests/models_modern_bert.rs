//! Models of ModernBERT's kind give the vectors of the transformers library, layer by layer.

mod support;

use std::path::PathBuf;

use lanewise::internals::RuntimeOptions;
use lanewise::internals::models;
use lanewise::{Embedder, PackedWeights, Prompt};
use lanewise_testkit::gguf_writer::{File, Value};
use lanewise_testkit::scratch;
use lanewise_testkit::texts::text;
use lanewise_testkit::tiny_pre_norm::{self, Options};
use support::cosine;
use support::tiny_families::{TinyFamily, embed_on, tiny_families};

#[test]
fn hidden_states_of_a_tiny_model_match_the_library() {
    let families = tiny_families(&["modernbert"]);
    families.iter().for_each(TinyFamily::check_hidden_states);
}

#[test]
fn vectors_of_a_tiny_model_match_the_library() {
    let families = tiny_families(&["modernbert"]);
    families.iter().for_each(TinyFamily::check_vectors);
}

fn written(name: &str, file: &File) -> PathBuf {
    let path = scratch!(format!("{name}.gguf"));
    file.write(&path).unwrap();
    path
}

const PATTERN: &str = "modern-bert.attention.sliding_window_pattern";
const ACTIVATION: &str = "modern-bert.hidden_activation";

#[test]
fn files_that_would_give_other_vectors_are_refused() {
    let refused = |change: &dyn Fn(&mut File), expected: [&str; 2]| {
        let mut file = tiny_pre_norm::build(&Options::modern_bert());
        change(&mut file);
        let error = models::open(written("refused", &file)).unwrap_err();
        let message = error.to_string();
        let has = expected.iter().all(|part| message.contains(part));
        assert!(has, "{message}");
    };
    let set = |key: &'static str, value: Value| move |file: &mut File| file.set(key, value.clone());
    let remove = |key: &'static str| move |file: &mut File| file.remove(key);
    let base = "modern-bert.rope.freq_base";
    refused(&remove(base), [base, "is missing"]);
    let pooling = "modern-bert.pooling_type";
    refused(&remove(pooling), [pooling, "missing"]);
    refused(
        &set(pooling, Value::U32(3)),
        [
            pooling,
            "to be last, but models of this kind have mean or cls",
        ],
    );
    let causal = "modern-bert.attention.causal";
    refused(
        &set(causal, Value::Bool(true)),
        [causal, "is bidirectional"],
    );
    refused(&remove(causal), [causal, "is missing"]);
    refused(&remove(PATTERN), [PATTERN, "is missing"]);
    let activation = Value::String("relu".into());
    refused(&set(ACTIVATION, activation), [ACTIVATION, "\"relu\""]);
    let dense = |file: &mut File| {
        let mut dense = file.tensor_mut("blk.0.attn_output.weight").clone();
        dense.name = "dense_2.weight".into();
        file.tensors.push(dense);
    };
    refused(&dense, ["dense_2.weight", "ColBERT"]);
    let norm = |file: &mut File| {
        let mut norm = file.tensor_mut("blk.1.attn_norm.weight").clone();
        norm.name = "blk.0.attn_norm.weight".into();
        file.tensors.push(norm);
    };
    refused(&norm, ["blk.0.attn_norm.weight", "plain ModernBERT"]);
    let stacked = |file: &mut File| {
        let tensor = file.tensor_mut("blk.1.ffn_up.weight");
        tensor.dims[1] /= 2;
        tensor.data.truncate(tensor.data.len() / 2);
    };
    refused(
        &stacked,
        ["blk.1.ffn_up.weight", "[96, 160], not [96, 320]"],
    );
}

/// An array of bools.
fn bools(values: &[u8]) -> Value {
    let header = [
        &7_u32.to_le_bytes()[..],
        &(values.len() as u64).to_le_bytes(),
    ]
    .concat();
    Value::Raw(9, [&header, values].concat())
}

#[test]
fn windows_may_be_given_for_each_layer() {
    let number = tiny_pre_norm::build(&Options::modern_bert());
    let mut array = tiny_pre_norm::build(&Options::modern_bert());
    array.set(PATTERN, bools(&[0, 1, 1, 0]));
    let mut others = tiny_pre_norm::build(&Options::modern_bert());
    others.set(PATTERN, bools(&[0, 0, 0, 0]));
    let text = text(100, 2000, 7);
    let files = [("number", number), ("array", array), ("others", others)];
    let [number, array, others] = files.map(|(name, file)| {
        let model = models::open(written(name, &file)).unwrap();
        embed_on(&model, &RuntimeOptions::default(), &[&text])
    });
    assert_eq!(number, array);
    assert_ne!(number, others);
}

#[test]
fn layers_with_a_window_turn_by_10000_unless_the_file_says() {
    const BASE: &str = "modern-bert.rope.freq_base_swa";
    let text = text(100, 2000, 7);
    let vector = |base: Option<f32>| {
        let mut file = tiny_pre_norm::build(&Options::modern_bert());
        match base {
            Some(base) => file.set(BASE, Value::F32(base)),
            None => file.remove(BASE),
        }
        let model = models::open(written("window-base", &file)).unwrap();
        embed_on(&model, &RuntimeOptions::default(), &[&text])
    };
    assert_eq!(vector(None), vector(Some(10_000.0)));
    assert_ne!(vector(None), vector(Some(160_000.0)));
}

#[test]
fn both_paths_have_the_activation_and_pooling_of_the_file() {
    let mut vectors = Vec::new();
    for (name, pooling) in [("gelu", 1), ("silu", 1), ("gelu", 2)] {
        let options = Options {
            pooling: Some(pooling),
            ..Options::modern_bert()
        };
        let mut file = tiny_pre_norm::build(&options);
        file.set(ACTIVATION, Value::String(name.into()));
        let model = models::open(written(&format!("{name}-{pooling}"), &file)).unwrap();
        let text = text(60, 2000, 3);
        let vector = embed_on(&model, &RuntimeOptions::default(), &[&text]);
        let cosine = cosine(&vector, &model.reference().embed(&text).unwrap());
        assert!(cosine >= 0.998, "{name}, pooling {pooling}: {cosine}");
        vectors.push(vector);
    }
    assert!(vectors[0] != vectors[1] && vectors[0] != vectors[2]);
}

#[test]
fn prompts_are_those_of_the_name_of_the_model() {
    let mut file = tiny_pre_norm::build(&Options::modern_bert());
    file.set(
        "general.name",
        Value::String("ModernBERT Embed Base".into()),
    );
    let builder = Embedder::builder().packed_weights(PackedWeights::Off);
    let embedder = builder.open(written("prompts", &file)).unwrap();
    let text = embedder.prompt_text(Prompt::Query, None).unwrap();
    assert_eq!(text, "search_query: ");
    let query = embedder.embed_query("hello").unwrap();
    assert_eq!(query, embedder.embed("search_query: hello").unwrap());
    let encoded = embedder.encode("hello").unwrap();
    let ids = encoded.ids();
    assert_eq!((ids[0], ids[ids.len() - 1]), (0, 1));
}

#[test]
fn packed_weights_of_stacked_matrices_give_the_same_bits() {
    let path = written("packed", &tiny_pre_norm::build(&Options::modern_bert()));
    let open = |packed| {
        let builder = Embedder::builder().packed_weights(packed);
        let builder = builder.packed_weights_directory(scratch!("packed"));
        builder.open(&path).unwrap()
    };
    let without = open(PackedWeights::Off);
    let with = open(PackedWeights::UseAndWrite);
    let state = format!("{:?}", with.packed_state());
    assert!(state.starts_with("Used"), "{state}");
    for text in ["", "hello", "the world of one text and another, unaffable"] {
        assert_eq!(without.embed(text).unwrap(), with.embed(text).unwrap());
    }
}
