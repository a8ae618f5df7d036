//! Models of BERT's kind give the vectors of the transformers library: tiny ones layer by layer, and
//! all-MiniLM-L6-v2.

mod support;

use std::sync::Arc;

use lanewise::internals::models::{self, Model};
use lanewise::internals::tokenizer::Tokenizer;
use lanewise::internals::{Runtime, RuntimeOptions};
use lanewise_testkit::assets::{Variant, minilm, shared};
use serde::Deserialize;
use support::{cosine, mean_and_minimum, read_npy, supported_isas};

/// A tiny model of `../shared/tiny-families`.
#[derive(Deserialize)]
struct Tiny {
    model: String,
    ids: Vec<u32>,
    vector: Vec<f32>,
}

/// Those of architecture `bert`: mean pooling, and cls pooling as of XLM-R.
fn tiny_models() -> Vec<(Tiny, Arc<dyn Model>)> {
    let Some(index) = shared("tiny-families/index.json") else {
        return Vec::new();
    };
    let index = std::fs::read_to_string(index).unwrap();
    let tiny: Vec<Tiny> = serde_json::from_str(&index).unwrap();
    let open = |tiny: Tiny| {
        let path = shared(&format!("tiny-families/{}.gguf", tiny.model))?;
        Some((tiny, models::open(path).unwrap()))
    };
    let berts = tiny.into_iter();
    let berts = berts.filter(|tiny| ["bert", "xlmr"].contains(&&*tiny.model));
    berts.filter_map(open).collect()
}

fn embed_on(model: &Arc<dyn Model>, options: &RuntimeOptions, texts: &[&[u32]]) -> Vec<f32> {
    let mut runtime = Runtime::new(Arc::clone(model), options).unwrap();
    let mut out = vec![f32::NAN; texts.len() * model.shape().hidden];
    runtime.embed(texts, &mut out).unwrap();
    out
}

#[test]
fn hidden_states_of_tiny_models_match_the_library() {
    for (tiny, model) in tiny_models() {
        let hidden = model.shape().hidden;
        let path = format!("tiny-families/{}.states.npy", tiny.model);
        let (shape, expected) = read_npy(&shared(&path).unwrap());
        let states = model.reference().hidden_states(&tiny.ids).unwrap();
        assert_eq!(shape, [states.len(), tiny.ids.len(), hidden]);
        let layers = states.iter().zip(expected.chunks_exact(states[0].len()));
        for (layer, (state, expected)) in layers.enumerate() {
            let tokens = state
                .chunks_exact(hidden)
                .zip(expected.chunks_exact(hidden));
            let cosines: Vec<f64> = tokens.map(|(a, b)| cosine(a, b)).collect();
            let (_, least) = mean_and_minimum(&cosines);
            println!(
                "{} after layer {layer}: least cosine {least:.9}",
                tiny.model
            );
            assert!(least >= 0.999_999, "{} layer {layer}: {least}", tiny.model);
        }
    }
}

#[test]
fn vectors_of_tiny_models_match_the_library() {
    for (tiny, model) in tiny_models() {
        let of_f32 = cosine(&model.reference().embed(&tiny.ids).unwrap(), &tiny.vector);
        assert!(of_f32 >= 0.999_999, "{}: {of_f32}", tiny.model);
        let vectors: Vec<Vec<f32>> = supported_isas()
            .into_iter()
            .map(|isa| {
                let options = RuntimeOptions {
                    isa: Some(isa),
                    ..RuntimeOptions::default()
                };
                embed_on(&model, &options, &[&tiny.ids])
            })
            .collect();
        let of_int8 = cosine(&vectors[0], &tiny.vector);
        println!("{}: cosine f32 {of_f32:.9}, INT8 {of_int8:.6}", tiny.model);
        assert!(of_int8 >= 0.999, "{}: {of_int8}", tiny.model);
        assert!(vectors.iter().all(|vector| *vector == vectors[0]));
    }
}

#[derive(Deserialize)]
struct Golden {
    text: String,
    tokens: usize,
}

/// The golden texts, as ids with `[CLS]` and `[SEP]`, and their vectors.
fn golden(model: &dyn Model) -> Option<(Vec<Vec<u32>>, Vec<f32>)> {
    let lines = shared("golden-minilm/embeddings.jsonl")?;
    let (shape, vectors) = read_npy(&shared("golden-minilm/embeddings.npy")?);
    let tokenizer = (model.family().tokenizer)(Arc::clone(model.gguf())).unwrap();
    let lines = std::fs::read_to_string(lines).unwrap();
    let ids = |line| {
        let golden: Golden = serde_json::from_str(line).unwrap();
        let mut ids = vec![tokenizer.bos()];
        tokenizer.encode(&golden.text, &mut ids);
        ids.push(tokenizer.eos());
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
    assert_eq!(cosines.len(), 200);
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
    let Some((texts, expected)) = golden(&*model) else {
        return;
    };
    let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    let vectors = embed_on(&model, &RuntimeOptions::default(), &texts);
    let (mean, minimum) = cosines(&vectors, &expected);
    println!("MiniLM in Q8_0, INT8 path: mean {mean:.6}, minimum {minimum:.6}");
    assert!(mean >= 0.9995 && minimum >= 0.998, "{mean} {minimum}");
    let of_f32 = model.reference().embed_batch(&texts).unwrap().concat();
    let (mean, minimum) = cosines(&of_f32, &expected);
    println!("MiniLM in Q8_0, f32 path: mean {mean:.6}, minimum {minimum:.6}");
    let (mean, minimum) = cosines(&vectors, &of_f32);
    println!("INT8 path to f32 path of the same file: mean {mean:.6}, minimum {minimum:.6}");
}

#[test]
fn f32_vectors_of_minilm_match_the_library() {
    let Some(model) = minilm_model(Variant::F32) else {
        return;
    };
    let Some((texts, expected)) = golden(&*model) else {
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
