//! Models of Qwen3's kind give the vectors of the transformers library, layer by layer.

mod support;

use std::path::PathBuf;

use lanewise::internals::models;
use lanewise::{Embedder, EmbedderBuilder, Input, PackedWeights, Pooling, Prompt};
use lanewise_testkit::gguf_writer::{Encoding, File, Value};
use lanewise_testkit::scratch;
use lanewise_testkit::tiny_pre_norm::{self, Options};
use support::tiny_families::{TinyFamily, tiny_families};

#[test]
fn hidden_states_of_a_tiny_model_match_the_library() {
    let families = tiny_families(&["qwen3"]);
    families.iter().for_each(TinyFamily::check_hidden_states);
}

#[test]
fn vectors_of_a_tiny_model_match_the_library() {
    let families = tiny_families(&["qwen3"]);
    families.iter().for_each(TinyFamily::check_vectors);
}

fn written(name: &str, file: &File) -> PathBuf {
    let path = scratch!(format!("{name}.gguf"));
    file.write(&path).unwrap();
    path
}

fn builder() -> EmbedderBuilder {
    Embedder::builder().packed_weights(PackedWeights::Off)
}

#[test]
fn files_that_would_give_other_vectors_are_refused() {
    let refused = |change: &dyn Fn(&mut File), expected: [&str; 2]| {
        let mut file = tiny_pre_norm::build(&Options::qwen3());
        change(&mut file);
        let error = models::open(written("refused", &file)).unwrap_err();
        let message = error.to_string();
        let has = expected.iter().all(|part| message.contains(part));
        assert!(has, "{message}");
    };
    let set = |key: &'static str, value: Value| move |file: &mut File| file.set(key, value.clone());
    let remove = |key: &'static str| move |file: &mut File| file.remove(key);
    let pooling = "qwen3.pooling_type";
    refused(&remove(pooling), [pooling, "missing"]);
    refused(
        &set(pooling, Value::U32(1)),
        [pooling, "is to be mean, but models of this kind have last"],
    );
    let causal = "qwen3.attention.causal";
    refused(&set(causal, Value::Bool(false)), [causal, "is causal"]);
    let scaling = "qwen3.rope.scaling.type";
    for kind in ["yarn", "linear"] {
        refused(
            &set(scaling, Value::String(kind.into())),
            [scaling, &format!("is {kind:?}, but RoPE is not scaled")],
        );
    }
    for factor in ["qwen3.rope.scaling.factor", "qwen3.rope.scale_linear"] {
        refused(
            &set(factor, Value::F32(4.0)),
            [factor, "is 4, but RoPE is not scaled"],
        );
    }
    let base = "qwen3.rope.freq_base";
    refused(&remove(base), [base, "is missing"]);
    refused(
        &set("qwen3.attention.head_count_kv", Value::U32(3)),
        ["head_count_kv", "does not divide head_count, 4"],
    );
    refused(
        &set("qwen3.attention.value_length", Value::U32(64)),
        ["value_length", "heads have 32 values"],
    );
    refused(
        &|file| {
            file.set("qwen3.attention.key_length", Value::U32(64));
            file.remove("qwen3.attention.value_length");
        },
        ["blk.0.attn_q.weight", "[96, 128], not [96, 256]"],
    );
    refused(
        &|file| file.push("blk.0.attn_q.bias", &[128], Encoding::F32, &[0.0; 128]),
        ["blk.0.attn_q.bias", "plain Qwen3-Embedding"],
    );
}

#[test]
fn factors_that_do_not_scale_positions_are_accepted() {
    let key = |name: &str| format!("qwen3.rope.scaling.{name}");
    for (kind, factor) in [(None, 1.0), (None, 0.0), (Some("none"), 4.0)] {
        let mut file = tiny_pre_norm::build(&Options::qwen3());
        file.set(&key("factor"), Value::F32(factor));
        if let Some(kind) = kind {
            file.set(&key("type"), Value::String(kind.into()));
        }
        let opened = models::open(written("factor", &file));
        assert!(opened.is_ok(), "{kind:?} {factor}: {opened:?}");
    }
}

#[test]
fn the_matrix_of_the_next_token_is_not_needed() {
    let mut file = tiny_pre_norm::build(&Options::qwen3());
    let expected = builder().open(written("without-output", &file)).unwrap();
    let expected = expected.embed("hello").unwrap();
    file.push("output.weight", &[96, 2], Encoding::F32, &[1.0; 192]);
    let with = builder().open(written("with-output", &file)).unwrap();
    assert_eq!(with.embed("hello").unwrap(), expected);
}

#[test]
fn a_file_without_pooling_is_opened_with_last_only() {
    let options = Options {
        pooling: None,
        ..Options::qwen3()
    };
    let path = written("silent", &tiny_pre_norm::build(&options));
    assert!(builder().pooling(Pooling::Last).open(&path).is_ok());
    let message = builder().pooling(Pooling::Mean).open(&path).unwrap_err();
    assert!(message.to_string().contains("have last"), "{message}");
}

#[test]
fn vectors_are_cut_to_32_values_at_least() {
    let path = written("dims", &tiny_pre_norm::build(&Options::qwen3()));
    let full = builder().open(&path).unwrap().embed("hello").unwrap();
    let short = builder().dims(32).open(&path).unwrap();
    let short = short.embed("hello").unwrap().vector;
    let length: f32 = full.vector[..32].iter().map(|x| x * x).sum::<f32>().sqrt();
    for (short, full) in short.iter().zip(&full.vector) {
        assert!((short - full / length).abs() < 1e-6);
    }
    let message = builder().dims(31).open(&path).unwrap_err();
    assert!(
        message
            .to_string()
            .ends_with("use 32 to 96 with this model")
    );
}

#[test]
fn queries_are_read_after_an_instruction() {
    let path = written("prompts", &tiny_pre_norm::build(&Options::qwen3()));
    let embedder = builder().open(&path).unwrap();
    let known: Vec<Prompt> = embedder.prompts().collect();
    assert_eq!(known, [Prompt::Raw, Prompt::Query, Prompt::Document]);
    assert_eq!(
        embedder.prompt_text(Prompt::Query, None).unwrap(),
        "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
    );
    let document = embedder.embed(Input::document(None, "hello")).unwrap();
    assert_eq!(document, embedder.embed("hello").unwrap());
    let embedder = builder().instruction("Find a moon").open(&path).unwrap();
    let query = embedder.embed_query("hello").unwrap();
    let plain = embedder
        .embed("Instruct: Find a moon\nQuery:hello")
        .unwrap();
    assert_eq!(query, plain);
    assert_ne!(query.vector, document.vector);

    let other = tiny_pre_norm::build(&Options::modern_bert());
    let path = written("no-instruction", &other);
    let message = builder().instruction("Find a moon").open(path).unwrap_err();
    let start = "instruction: the model reads no instructions";
    assert!(message.to_string().starts_with(start), "{message}");
}

#[test]
fn the_last_token_is_kept_when_a_text_is_cut() {
    let mut file = tiny_pre_norm::build(&Options::qwen3());
    file.set("lanewise.max_tokens", Value::U32(5));
    let embedder = builder().open(written("cut", &file)).unwrap();
    let encoded = embedder.encode("the hello the hello the hello").unwrap();
    let ids = encoded.ids();
    assert_eq!((ids.len(), ids[4]), (5, 0));
    assert!(encoded.usage().truncated && !ids[..4].contains(&0));
    let text = "the hello the hello";
    let read = embedder.bytes_read("", text, &embedder.encode(text).unwrap());
    assert_eq!(&text[..read], text);
    assert_eq!(embedder.encode("").unwrap().ids(), [0]);
}
