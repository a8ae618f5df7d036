//! Models of BERT's kind give the vectors of the transformers library: tiny ones layer by layer, and
//! all-MiniLM-L6-v2.

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lanewise::internals::models::{self, Model};
use lanewise::internals::{Runtime, RuntimeOptions};
use lanewise::{Embedder, Input, PackedWeights, Pooling, Prompt};
use lanewise_testkit::assets::{Variant, e5_small, minilm, shared};
use lanewise_testkit::gguf_writer::{Encoding, File, Value};
use lanewise_testkit::texts::text;
use lanewise_testkit::{scratch, tiny_bert};
use serde::Deserialize;
use support::tiny_families::{TinyFamily, embed_on, tiny_families};
use support::{cosine, mean_and_minimum, read_npy};

#[test]
fn hidden_states_of_tiny_models_match_the_library() {
    let families = tiny_families(&["bert", "xlmr"]);
    families.iter().for_each(TinyFamily::check_hidden_states);
}

#[test]
fn vectors_of_tiny_models_match_the_library() {
    let families = tiny_families(&["bert", "xlmr"]);
    families.iter().for_each(TinyFamily::check_vectors);
}

#[derive(Deserialize)]
struct Golden {
    text: String,
    tokens: usize,
}

/// The golden texts of a set, as ids with the special ones, and their vectors.
fn golden(model: &dyn Model, set: &str) -> Option<(Vec<Vec<u32>>, Vec<f32>)> {
    let lines = shared(&format!("{set}/embeddings.jsonl"))?;
    let (shape, vectors) = read_npy(&shared(&format!("{set}/embeddings.npy"))?);
    let tokenizer = (model.family().tokenizer)(Arc::clone(model.gguf())).unwrap();
    let lines = std::fs::read_to_string(lines).unwrap();
    let ids = |line| {
        let golden: Golden = serde_json::from_str(line).unwrap();
        let (ids, _) = tokenizer.encode_between_ends(&golden.text, usize::MAX);
        assert_eq!(ids.len(), golden.tokens, "{:?}", golden.text);
        ids
    };
    let texts: Vec<Vec<u32>> = lines.lines().map(ids).collect();
    assert_eq!(shape, [texts.len(), 384]);
    Some((texts, vectors))
}

fn cosines(vectors: &[f32], expected: &[f32]) -> (f64, f64) {
    let pairs = vectors.chunks_exact(384).zip(expected.chunks_exact(384));
    let cosines: Vec<f64> = pairs.map(|(a, b)| cosine(a, b)).collect();
    assert!(cosines.len() >= 50);
    mean_and_minimum(&cosines)
}

fn minilm_model(variant: Variant) -> Option<Arc<dyn Model>> {
    Some(models::open(minilm(variant)?).unwrap())
}

#[test]
fn int8_vectors_of_minilm_are_near_the_library() {
    let Some(model) = minilm_model(Variant::Q8_0) else {
        return;
    };
    let Some((texts, expected)) = golden(&*model, "golden-minilm") else {
        return;
    };
    let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    let vectors = embed_on(&model, &RuntimeOptions::default(), &texts);
    let (mean, minimum) = cosines(&vectors, &expected);
    println!("MiniLM in Q8_0, INT8 path: mean {mean:.6}, minimum {minimum:.6}");
    assert!(mean >= 0.9995 && minimum >= 0.998, "{mean} {minimum}");
}

#[test]
fn f32_vectors_of_minilm_match_the_library() {
    let Some(model) = minilm_model(Variant::F32) else {
        return;
    };
    let Some((texts, expected)) = golden(&*model, "golden-minilm") else {
        return;
    };
    let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    let of_f32 = model.reference().embed_batch(&texts).unwrap().concat();
    let (mean, minimum) = cosines(&of_f32, &expected);
    println!("MiniLM in F32, f32 path: mean {mean:.9}, minimum {minimum:.9}");
    assert!(minimum >= 0.999_999, "{minimum}");
    let vectors = embed_on(&model, &RuntimeOptions::default(), &texts);
    let (mean, minimum) = cosines(&vectors, &expected);
    println!("MiniLM in F32, INT8 path: mean {mean:.6}, minimum {minimum:.6}");
    assert!(mean >= 0.9995 && minimum >= 0.998, "{mean} {minimum}");
}

#[test]
fn vectors_of_e5_small_match_the_library() {
    let Some(path) = e5_small() else { return };
    let model = models::open(path).unwrap();
    let Some((texts, expected)) = golden(&*model, "golden-e5") else {
        return;
    };
    let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    assert_eq!(texts.len(), 200);
    // The first quarter, for its time; of all the least is 0.99999999.
    let of_f32 = model.reference().embed_batch(&texts[..50]).unwrap();
    let (mean, minimum) = cosines(&of_f32.concat(), &expected[..50 * 384]);
    println!("e5-small in Q4_0, f32 path: mean {mean:.9}, minimum {minimum:.9}");
    assert!(minimum >= 0.999_999, "{minimum}");
    let vectors = embed_on(&model, &RuntimeOptions::default(), &texts);
    let (mean, minimum) = cosines(&vectors, &expected);
    println!("e5-small in Q4_0, INT8 path: mean {mean:.6}, minimum {minimum:.6}");
    assert!(mean >= 0.9995 && minimum >= 0.998, "{mean} {minimum}");
}

fn tiny_path(name: &str, file: &File) -> PathBuf {
    let path = scratch!(format!("{name}.gguf"));
    file.write(&path).unwrap();
    path
}

#[test]
fn fused_and_separate_matrices_give_the_same_vectors() {
    let separate = tiny_bert::build(&tiny_bert::Options::default());
    let mut fused = tiny_bert::build(&tiny_bert::Options::default());
    for layer in 0..3 {
        for kind in ["weight", "bias"] {
            let mut whole = separate
                .tensors
                .iter()
                .find(|tensor| tensor.name == format!("blk.{layer}.attn_q.{kind}"))
                .unwrap()
                .clone();
            whole.name = format!("blk.{layer}.attn_qkv.{kind}");
            for part in ["attn_k", "attn_v"] {
                let name = format!("blk.{layer}.{part}.{kind}");
                whole.data.extend(&fused.tensor_mut(&name).data);
            }
            *whole.dims.last_mut().unwrap() *= 3;
            for part in ["attn_q", "attn_k", "attn_v"] {
                let name = format!("blk.{layer}.{part}.{kind}");
                fused.tensors.retain(|tensor| tensor.name != name);
            }
            fused.tensors.push(whole);
        }
    }
    let text = text(40, 2000, 7);
    let [of_separate, of_fused] = [("separate", separate), ("fused", fused)].map(|(name, file)| {
        let model = models::open(tiny_path(name, &file)).unwrap();
        let vector = embed_on(&model, &RuntimeOptions::default(), &[&text]);
        (vector, model.reference().embed(&text).unwrap())
    });
    assert_eq!(of_separate, of_fused);
}

#[test]
fn a_file_without_token_types_has_a_row_of_zeros_for_them() {
    let with = tiny_bert::Options::default();
    let without = tiny_bert::Options {
        no_token_types: true,
        ..with.clone()
    };
    let mut zeros = tiny_bert::build(&without);
    zeros.push("token_types.weight", &[96, 2], Encoding::F32, &[0.0; 192]);
    let text = text(20, 2000, 7);
    let [of_none, of_zeros] =
        [("none", tiny_bert::build(&without)), ("zeros", zeros)].map(|(name, file)| {
            let model = models::open(tiny_path(name, &file)).unwrap();
            embed_on(&model, &RuntimeOptions::default(), &[&text])
        });
    assert_eq!(of_none, of_zeros);
}

#[test]
fn int8_vectors_of_a_tiny_model_are_near_its_reference() {
    for encoding in [Encoding::Q8_0, Encoding::F32, Encoding::F16, Encoding::Bf16] {
        let options = tiny_bert::Options {
            encoding,
            ..tiny_bert::Options::default()
        };
        let path = tiny_path(&format!("{encoding:?}"), &tiny_bert::build(&options));
        let model = models::open(path).unwrap();
        for tokens in [2, 33, 256] {
            let text = text(tokens, 2000, tokens as u64);
            let vector = embed_on(&model, &RuntimeOptions::default(), &[&text]);
            let cosine = cosine(&vector, &model.reference().embed(&text).unwrap());
            assert!(cosine >= 0.999, "{encoding:?}, {tokens} tokens: {cosine}");
        }
    }
}

#[test]
fn files_that_would_give_other_vectors_are_refused() {
    let refused = |change: &dyn Fn(&mut File), expected: [&str; 2]| {
        let mut file = tiny_bert::build(&tiny_bert::Options::default());
        change(&mut file);
        let message = models::open(tiny_path("refused", &file)).unwrap_err();
        let message = message.to_string();
        assert!(
            expected.iter().all(|part| message.contains(part)),
            "{message}"
        );
    };
    let set = |key: &'static str, value: Value| move |file: &mut File| file.set(key, value.clone());
    let remove = |key: &'static str| move |file: &mut File| file.remove(key);
    let pooling = "bert.pooling_type";
    refused(&remove(pooling), [pooling, "say mean, cls or last"]);
    refused(&set(pooling, Value::U32(4)), ["cls.weight", "is missing"]);
    let causal = "bert.attention.causal";
    refused(&set(causal, Value::Bool(true)), [causal, "is true"]);
    refused(&remove(causal), [causal, "is missing"]);
    let eps = "bert.attention.layer_norm_epsilon";
    refused(&remove(eps), [eps, "missing"]);
    refused(&set(eps, Value::F32(-1.0)), [eps, "above 0"]);
    let heads = "bert.attention.head_count";
    refused(&set(heads, Value::U32(5)), [heads, "does not divide"]);
    refused(&set(heads, Value::U32(4)), [heads, "heads of 24 values"]);
    refused(
        &set("bert.attention.head_count_kv", Value::U32(1)),
        ["head_count_kv", "is 1, but BERT with 3 heads has 3"],
    );
    refused(
        &set("bert.context_length", Value::U32(255)),
        ["position_embd.weight", "[96, 256], not [96, 255]"],
    );
    refused(
        &set("bert.context_length", Value::U32(100_000)),
        ["context_length", "to 8192"],
    );
    refused(
        &set("tokenizer.ggml.token_type_count", Value::U32(3)),
        ["token_types.weight", "[96, 2], not [96, 3]"],
    );
    refused(
        &|file| {
            file.tensors
                .retain(|tensor| tensor.name != "token_types.weight")
        },
        ["token_types.weight", "2 types of tokens"],
    );
    refused(
        &|file| {
            file.tensors
                .retain(|tensor| tensor.name != "blk.1.ffn_up.bias")
        },
        ["blk.1.ffn_up.bias", "missing"],
    );
    refused(
        &|file| file.push("cls.weight", &[96, 96], Encoding::Q8_0, &[0.0; 96 * 96]),
        ["cls.weight", "plain BERT"],
    );
}

#[test]
fn a_file_without_pooling_is_opened_with_the_one_asked_for() {
    let options = tiny_bert::Options {
        pooling: None,
        ..tiny_bert::Options::default()
    };
    let silent = tiny_path("silent", &tiny_bert::build(&options));
    let stated = tiny_path("stated", &tiny_bert::build(&tiny_bert::Options::default()));
    let open = |path: &Path, pooling| {
        let builder = Embedder::builder().packed_weights(PackedWeights::Off);
        builder.pooling(pooling).open(path)
    };
    let [mean, cls, _] = Pooling::ALL.map(|pooling| open(&silent, pooling).unwrap());
    let vector = |embedder: &Embedder| embedder.embed("hello world").unwrap().vector;
    assert_ne!(vector(&mean), vector(&cls));
    assert_eq!(
        vector(&mean),
        vector(&open(&stated, Pooling::Mean).unwrap())
    );
    let message = open(&stated, Pooling::Cls).unwrap_err().to_string();
    assert!(
        message.contains("says mean, but cls is asked for"),
        "{message}"
    );
}

#[test]
fn prompts_that_the_model_does_not_know_are_refused() {
    let path = tiny_path("prompts", &tiny_bert::build(&tiny_bert::Options::default()));
    let builder = Embedder::builder().packed_weights(PackedWeights::Off);
    let embedder = builder.clone().open(path).unwrap();
    assert_eq!(embedder.prompts().collect::<Vec<_>>(), [Prompt::Raw]);
    let message = embedder.embed_query("a").unwrap_err().to_string();
    assert!(
        message.contains("'query'") && message.contains("use one of raw"),
        "{message}"
    );

    let mut file = tiny_bert::build(&tiny_bert::Options::default());
    file.set("general.name", Value::String("E5 Small v2".into()));
    let embedder = builder.open(tiny_path("e5", &file)).unwrap();
    let prompted = embedder.embed_query("hello").unwrap();
    assert_eq!(prompted, embedder.embed("query: hello").unwrap());
    assert_ne!(prompted, embedder.embed("hello").unwrap());
    let message = embedder
        .embed(Input::new(Prompt::Clustering, "a"))
        .unwrap_err();
    assert!(
        message.to_string().contains("raw, query, document"),
        "{message}"
    );
    let message = embedder.embed_document(Some("Moons"), "a").unwrap_err();
    assert!(message.to_string().starts_with("title: "), "{message}");
}

#[test]
fn prompts_and_the_limit_that_the_file_states_count() {
    let mut file = tiny_bert::build(&tiny_bert::Options::default());
    let strings = |texts: &[&str]| {
        Value::Strings(texts.iter().map(|text| text.as_bytes().to_vec()).collect())
    };
    file.set("general.name", Value::String("E5 Small v2".into()));
    let names = strings(&["s2p_query", "Retrieval-query", "query", "passage"]);
    file.set("lanewise.prompt.names", names);
    file.set("lanewise.prompt.texts", strings(&["x", "y", "q: ", "p: "]));
    file.set("lanewise.max_tokens", Value::U32(7));
    let builder = Embedder::builder().packed_weights(PackedWeights::Off);
    let open = |name, file: &File| builder.clone().open(tiny_path(name, file));
    let embedder = open("stated-prompts", &file).unwrap();
    assert_eq!(embedder.prompt_text(Prompt::Query, None).unwrap(), "q: ");
    assert_eq!(embedder.prompt_text(Prompt::Document, None).unwrap(), "p: ");
    assert_eq!(embedder.prompts().count(), 4);
    let usage = embedder.embed("one two three four five six").unwrap().usage;
    assert_eq!((usage.tokens, usage.truncated), (7, true));

    let refused = |key: &str, value: Value| {
        let mut file = file.clone();
        file.set(key, value);
        let message = open("stated-wrong", &file).unwrap_err().to_string();
        assert!(message.contains(key), "{message}");
    };
    refused("lanewise.max_tokens", Value::U32(2));
    refused("lanewise.max_tokens", Value::U32(257));
    refused("lanewise.prompt.texts", strings(&["x"]));
    refused("lanewise.prompt.texts", Value::U32(1));
    let many = vec![b"query".to_vec(); 300];
    refused("lanewise.prompt.names", Value::Strings(many));
}

#[test]
fn dense_heads_cannot_be_left_out_where_there_are_none() {
    let path = tiny_path("heads", &tiny_bert::build(&tiny_bert::Options::default()));
    let message = Embedder::builder()
        .dense_heads(false)
        .open(path)
        .unwrap_err();
    assert!(
        message.to_string().starts_with("dense_heads: "),
        "{message}"
    );
}

#[test]
fn packed_weights_of_a_bert_model_give_the_same_bits() {
    let path = tiny_path("packed", &tiny_bert::build(&tiny_bert::Options::default()));
    let open = |packed| {
        let builder = Embedder::builder().packed_weights(packed);
        builder
            .packed_weights_directory(scratch!("packed"))
            .open(&path)
    };
    let without = open(PackedWeights::Off).unwrap();
    let with = open(PackedWeights::UseAndWrite).unwrap();
    let state = format!("{:?}", with.packed_state());
    assert!(state.starts_with("Used"), "{state}");
    for text in ["", "hello", "the world of one text and another, unaffable"] {
        assert_eq!(without.embed(text).unwrap(), with.embed(text).unwrap());
    }
}

#[test]
fn weights_that_are_not_finite_are_named() {
    let mut file = tiny_bert::build(&tiny_bert::Options::default());
    // The scales of the first rows.
    file.tensor_mut("blk.1.ffn_up.weight").data[..2].copy_from_slice(&[0, 0x7C]);
    let model = models::open(tiny_path("infinite", &file)).unwrap();
    let mut runtime = Runtime::new(Arc::clone(&model), &RuntimeOptions::default()).unwrap();
    let mut out = vec![0.0; model.shape().width];
    let error = runtime.embed(&[&text(9, 2000, 1)], &mut out).unwrap_err();
    assert!(error.to_string().contains("blk.1"), "{error}");
}
