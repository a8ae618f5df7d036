//! EmbeddingGemma 2 gives the vectors of the transformers library, and refuses files that would give others.

mod support;

use std::path::PathBuf;

use lanewise::internals::RuntimeOptions;
use lanewise::internals::models::{self, OpenOptions};
use lanewise::{Embedder, PackedWeights, Pooling, Prompt, cosine as similarity};
use lanewise_testkit::gguf_writer::{Encoding, File, Value};
use lanewise_testkit::scratch;
use lanewise_testkit::texts::text;
use lanewise_testkit::tiny_gemma2::{self, Options};
use support::cosine;
use support::tiny_families::{TinyFamily, embed_on, tiny_families};

fn written(name: &str, file: &File) -> PathBuf {
    let path = scratch!(format!("{name}.gguf"));
    file.write(&path).unwrap();
    path
}

#[test]
fn hidden_states_of_a_tiny_model_match_the_library() {
    let families = tiny_families(&["eg2"]);
    families.iter().for_each(TinyFamily::check_hidden_states);
}

#[test]
fn vectors_of_a_tiny_model_match_the_library() {
    let families = tiny_families(&["eg2"]);
    families.iter().for_each(TinyFamily::check_vectors);
}

#[test]
fn rope_turns_by_10000_unless_the_file_says() {
    let vector = |suffix: &str, base: Option<f32>| {
        let mut file = tiny_gemma2::build(&Options::default());
        let key = format!("gemma-embedding2.rope.freq_base{suffix}");
        match base {
            Some(base) => file.set(&key, Value::F32(base)),
            None => file.remove(&key),
        }
        let model = models::open(written("base", &file)).unwrap();
        let text = text(100, model.shape().vocabulary, 7);
        embed_on(&model, &RuntimeOptions::default(), &[&text])
    };
    for suffix in ["", "_swa"] {
        let default = vector(suffix, None);
        assert_eq!(default, vector(suffix, Some(10_000.0)), "{suffix}");
        assert_ne!(default, vector(suffix, Some(1000.0)), "{suffix}");
    }
}

/// Heads of the published sizes, 256 and 512, among them.
#[test]
fn int8_vectors_are_near_the_reference() {
    let published = Options {
        head_dims: [512, 256],
        ..Options::default()
    };
    let floats = Options {
        encoding: Encoding::F32,
        ..Options::default()
    };
    for (name, options) in [
        ("q8_0", Options::default()),
        ("f32", floats),
        ("published", published),
    ] {
        let model = models::open(written(name, &tiny_gemma2::build(&options))).unwrap();
        let vocabulary = model.shape().vocabulary;
        for tokens in [2, 33, 256] {
            let text = text(tokens, vocabulary, tokens as u64);
            let vector = embed_on(&model, &RuntimeOptions::default(), &[&text]);
            let cosine = cosine(&vector, &model.reference().embed(&text).unwrap());
            println!("{name}, {tokens} tokens: {cosine:.6}");
            assert!(cosine >= 0.999, "{name}, {tokens} tokens: {cosine}");
        }
    }
}

#[test]
fn files_that_would_give_other_vectors_are_refused() {
    let refused = |change: &dyn Fn(&mut File), expected: [&str; 2]| {
        let mut file = tiny_gemma2::build(&Options::default());
        change(&mut file);
        let message = models::open(written("refused", &file)).unwrap_err();
        let message = message.to_string();
        assert!(
            expected.iter().all(|part| message.contains(part)),
            "{message}"
        );
    };
    let key = |name: &str| format!("gemma-embedding2.{name}");
    let set = |name: &str, value: Value| {
        let key = key(name);
        move |file: &mut File| file.set(&key, value.clone())
    };
    let remove = |name: &str| {
        let key = key(name);
        move |file: &mut File| file.remove(&key)
    };
    refused(&remove("pooling_type"), ["pooling_type", "say mean"]);
    refused(
        &set("pooling_type", Value::U32(2)),
        ["pooling_type", "only mean"],
    );
    refused(
        &set("attention.causal", Value::Bool(true)),
        ["attention.causal", "bidirectional"],
    );
    for suffix in ["", "_swa"] {
        let head = format!("attention.key_length{suffix}");
        refused(&remove(&head), [&head, "missing"]);
        refused(
            &set(&head, Value::U32(96)),
            ["attention.value_length", "96"],
        );
        let value = format!("attention.value_length{suffix}");
        refused(&set(&value, Value::U32(96)), [&value, "is 96"]);
        let rotated = format!("rope.dimension_count{suffix}");
        refused(&set(&rotated, Value::U32(96)), [&rotated, "is 96"]);
    }
    let scaling = "rope.scaling.type";
    refused(
        &set(scaling, Value::String("yarn".into())),
        [scaling, "yarn"],
    );
    let shared = "attention.shared_kv_layers";
    refused(&set(shared, Value::U32(1)), [shared, "is 1"]);
    let kv_heads = "attention.head_count_kv";
    for (counts, problem) in [
        (vec![2, 2], "is no array of 3 integers"),
        (vec![2, 1, 1], "is 1 for layer 1, but 2"),
        (vec![2, 2, 0], "is 0 for layer 2"),
        (vec![2, 2, 3], "does not divide head_count, 4"),
    ] {
        refused(&set(kv_heads, Value::I32s(counts)), [kv_heads, problem]);
    }
    let pattern = "attention.sliding_window_pattern";
    refused(
        &set(pattern, Value::Bools(vec![true; 2])),
        [pattern, "is no array of 3 bools"],
    );
    let signal = "embedding_length_per_layer_input";
    refused(&set(signal, Value::U32(33)), [signal, "multiple of 32"]);
    refused(&set(signal, Value::U32(96)), [signal, "more than"]);
    refused(
        &set("embedding_length_out", Value::U32(64)),
        ["output.weight", "[64, 96], not [64, 64]"],
    );
    refused(
        &|file| {
            file.tensors
                .retain(|tensor| tensor.name != "blk.1.layer_output_scale.weight")
        },
        ["blk.1.layer_output_scale.weight", "missing"],
    );
    refused(
        &|file| file.push("dense_2.weight", &[64, 96], Encoding::F32, &[0.0; 64 * 96]),
        ["dense_2.weight", "plain EmbeddingGemma 2"],
    );
}

#[test]
fn a_file_without_pooling_is_opened_where_mean_is_asked_for() {
    let mut file = tiny_gemma2::build(&Options::default());
    file.remove("gemma-embedding2.pooling_type");
    let path = written("silent", &file);
    let open = |pooling| models::open_with(&path, &OpenOptions { pooling });
    assert!(open(Some(Pooling::Mean)).is_ok());
    assert!(open(Some(Pooling::Cls)).is_err());
}

#[test]
fn texts_are_cut_where_the_card_ends() {
    let options = Options {
        context: 262_144,
        ..Options::default()
    };
    let model = models::open(written("long", &tiny_gemma2::build(&options))).unwrap();
    assert_eq!(model.shape().context, 8192);
}

#[test]
fn every_sixth_layer_is_global_where_the_file_does_not_say() {
    let windows: Vec<bool> = (0..7).map(|layer| layer % 6 != 5).collect();
    let options = Options {
        windows,
        kv_heads: [2, 2],
        ..Options::default()
    };
    let stated = tiny_gemma2::build(&options);
    let mut silent = stated.clone();
    silent.remove("gemma-embedding2.attention.sliding_window_pattern");
    silent.set("gemma-embedding2.attention.head_count_kv", Value::U32(2));
    let mut numbered = silent.clone();
    numbered.set(
        "gemma-embedding2.attention.sliding_window_pattern",
        Value::U32(6),
    );
    let text = text(60, 300, 1);
    let vectors = [
        ("stated", stated),
        ("silent-pattern", silent),
        ("numbered", numbered),
    ]
    .map(|(name, file)| {
        let model = models::open(written(name, &file)).unwrap();
        embed_on(&model, &RuntimeOptions::default(), &[&text])
    });
    assert!(vectors.iter().all(|vector| *vector == vectors[0]));
}

#[test]
fn texts_become_vectors_of_the_width_and_shorter_ones() {
    let path = written("embedder", &tiny_gemma2::build(&Options::default()));
    let builder = Embedder::builder().packed_weights(PackedWeights::Off);
    let embedder = builder.clone().open(&path).unwrap();
    assert_eq!(embedder.dims(), 96);
    assert!(embedder.prompts().eq(Prompt::all()));
    let whole = embedder.embed_query("Hello world").unwrap().vector;
    let shorter = builder.dims(32).open(&path).unwrap();
    let shorter = shorter.embed_query("Hello world").unwrap().vector;
    let cut = &whole[..32];
    let length = cut.iter().map(|x| x * x).sum::<f32>().sqrt();
    for (actual, expected) in shorter.iter().zip(cut) {
        assert!((actual - expected / length).abs() < 1e-6);
    }
    let other = embedder.embed_document(None, "another text").unwrap();
    assert!(similarity(&whole, &other.vector) < 0.9999);
}

#[test]
fn packed_weights_give_the_same_bits() {
    let path = written("packed", &tiny_gemma2::build(&Options::default()));
    let open = |packed| {
        let builder = Embedder::builder().packed_weights(packed);
        let builder = builder.packed_weights_directory(scratch!("packed"));
        builder.open(&path).unwrap()
    };
    let without = open(PackedWeights::Off);
    let with = open(PackedWeights::UseAndWrite);
    let state = format!("{:?}", with.packed_state());
    assert!(state.starts_with("Used"), "{state}");
    for text in [
        "",
        "Hello",
        "the world of one text and another, in Hello world",
    ] {
        assert_eq!(without.embed(text).unwrap(), with.embed(text).unwrap());
    }
}

#[test]
fn weights_that_are_not_finite_are_named() {
    for (tensor, named) in [
        ("blk.1.inp_gate.weight", "blk.1"),
        ("output.weight", "output.weight"),
    ] {
        let mut file = tiny_gemma2::build(&Options::default());
        // The scale of the first block.
        file.tensor_mut(tensor).data[..2].copy_from_slice(&[0, 0x7C]);
        let embedder = Embedder::builder().packed_weights(PackedWeights::Off);
        let embedder = embedder.open(written("infinite", &file)).unwrap();
        let error = embedder.embed("Hello world").unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}
