//! Nomic BERT gives the vectors of the transformers library, and refuses files that would give others.

mod support;

use std::path::PathBuf;

use lanewise::internals::RuntimeOptions;
use lanewise::internals::models;
use lanewise::{Embedder, EmbedderBuilder, Input, PackedWeights, Pooling, Prompt};
use lanewise_testkit::gguf_writer::{Encoding, File, Value};
use lanewise_testkit::scratch;
use lanewise_testkit::texts::text;
use lanewise_testkit::tiny_bert::{self, Options};
use support::cosine;
use support::tiny_families::{TinyFamily, embed_on, tiny_families};

fn tiny() -> File {
    tiny_bert::build(&Options::nomic())
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
fn hidden_states_of_a_tiny_model_match_the_library() {
    let families = tiny_families(&["nomic"]);
    families.iter().for_each(TinyFamily::check_hidden_states);
}

#[test]
fn vectors_of_a_tiny_model_match_the_library() {
    let families = tiny_families(&["nomic"]);
    families.iter().for_each(TinyFamily::check_vectors);
}

#[test]
fn int8_vectors_are_near_the_reference() {
    for encoding in [Encoding::Q8_0, Encoding::F16] {
        let options = Options {
            encoding,
            ..Options::nomic()
        };
        let path = written(&format!("{encoding:?}"), &tiny_bert::build(&options));
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
        let mut file = tiny();
        change(&mut file);
        let message = models::open(written("refused", &file)).unwrap_err();
        let message = message.to_string();
        assert!(
            expected.iter().all(|part| message.contains(part)),
            "{message}"
        );
    };
    let set = |key: &'static str, value: Value| move |file: &mut File| file.set(key, value.clone());
    let remove = |key: &'static str| move |file: &mut File| file.remove(key);
    let pooling = "nomic-bert.pooling_type";
    refused(&remove(pooling), [pooling, "say mean, cls or last"]);
    let causal = "nomic-bert.attention.causal";
    refused(&set(causal, Value::Bool(true)), [causal, "is true"]);
    refused(&remove(causal), [causal, "is missing"]);
    let base = "nomic-bert.rope.freq_base";
    refused(&remove(base), [base, "missing"]);
    refused(&set(base, Value::F32(0.0)), [base, "above 0"]);
    refused(
        &set("nomic-bert.rope.dimension_count", Value::U32(16)),
        ["rope.dimension_count", "is 16, but RoPE turns all 32"],
    );
    refused(
        &set("nomic-bert.rope.scaling.type", Value::String("yarn".into())),
        ["rope.scaling.type", "\"yarn\""],
    );
    refused(
        &|file| {
            file.push(
                "position_embd.weight",
                &[96, 256],
                Encoding::F32,
                &[0.0; 96 * 256],
            )
        },
        ["position_embd.weight", "plain Nomic BERT"],
    );
    refused(
        &|file| file.push("blk.0.attn_qkv.bias", &[288], Encoding::F32, &[0.0; 288]),
        ["blk.0.attn_qkv.bias", "plain Nomic BERT"],
    );
    refused(
        &|file| {
            file.tensors
                .retain(|tensor| tensor.name != "blk.1.ffn_gate.weight")
        },
        ["blk.1.ffn_gate.weight", "missing"],
    );
    let mixture = Value::String("nomic-bert-moe".into());
    refused(
        &set("general.architecture", mixture),
        ["\"nomic-bert-moe\"", "\"nomic-bert\""],
    );
}

#[test]
fn the_four_prompts_of_nomic_embed_text_are_known() {
    let embedder = builder().open(written("prompts", &tiny())).unwrap();
    for (prompt, words) in [
        (Prompt::Query, "search_query: "),
        (Prompt::Document, "search_document: "),
        (Prompt::Clustering, "clustering: "),
        (Prompt::Classification, "classification: "),
    ] {
        assert_eq!(embedder.prompt_text(prompt, None).unwrap(), words);
        let prompted = embedder.embed(Input::new(prompt, "hello")).unwrap();
        let by_hand = embedder.embed(&*format!("{words}hello")).unwrap();
        assert_eq!(prompted, by_hand);
    }
    assert!(embedder.prompt_text(Prompt::FactChecking, None).is_err());

    let mut file = tiny();
    let name = Value::String("Snowflake Arctic Embed M Long".into());
    file.set("general.name", name);
    let embedder = builder().open(written("arctic", &file)).unwrap();
    let words = embedder.prompt_text(Prompt::Query, None).unwrap();
    assert!(words.starts_with("Represent this sentence"), "{words}");
    assert!(embedder.prompt_text(Prompt::Clustering, None).is_err());
}

/// Shorter vectors are the first values of the whole one less its mean, which is what LayerNorm leaves of
/// them once they have unit length.
#[test]
fn shorter_vectors_are_centered_before_they_are_cut() {
    let path = written("shorter", &tiny());
    let embed = |builder: EmbedderBuilder| {
        let embedder = builder.open(&path).unwrap();
        embedder.embed("hello world").unwrap().vector
    };
    let (whole, shorter) = (embed(builder()), embed(builder().dims(40)));
    let mean = whole.iter().sum::<f32>() / whole.len() as f32;
    let variance = whole.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / whole.len() as f32;
    let normed = whole.iter().map(|x| (x - mean) / (variance + 1e-5).sqrt());
    let cut: Vec<f32> = normed.take(40).collect();
    let length = cut.iter().map(|x| x * x).sum::<f32>().sqrt();
    assert!(mean.abs() > 1e-4, "{mean}");
    for (actual, expected) in shorter.iter().zip(&cut) {
        let expected = expected / length;
        assert!((actual - expected).abs() < 1e-6, "{actual}, not {expected}");
    }
}

#[test]
fn texts_are_cut_where_training_ended() {
    let options = Options {
        context: 8192,
        ..Options::nomic()
    };
    let path = written("long", &tiny_bert::build(&options));
    let embedder = builder().open(path).unwrap();
    assert_eq!(embedder.context(), 2048);
}

#[test]
fn a_file_without_pooling_is_opened_with_the_one_asked_for() {
    let options = Options {
        pooling: None,
        ..Options::nomic()
    };
    let path = written("silent", &tiny_bert::build(&options));
    let [mean, cls] = [Pooling::Mean, Pooling::Cls].map(|pooling| {
        let embedder = builder().pooling(pooling).open(&path).unwrap();
        embedder.embed("hello world").unwrap().vector
    });
    assert_ne!(mean, cls);
}
