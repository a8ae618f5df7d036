//! The f32 reference path gives the vectors of the float32 checkpoint.

mod support;

use std::sync::Arc;
use std::time::Instant;

use lanewise::Error;
use lanewise::internals::models::{self, Model};
use lanewise::internals::tokenizer::SentencePiece;
use lanewise_testkit::assets::{Variant, golden, real_model};
use lanewise_testkit::gguf_writer::Encoding;
use lanewise_testkit::scratch;
use lanewise_testkit::tiny_model::{self, Options};
use support::{cosine, golden_embeddings, mean_and_minimum, read_npy};

/// `<bos>Hello world<eos>`
const HELLO_WORLD: [u32; 4] = [2, 9259, 1902, 1];

fn tiny(name: &str, options: &Options) -> Arc<dyn Model> {
    let path = scratch!(format!("{name}.gguf"));
    models::open(tiny_model::written(path, options)).unwrap()
}

/// The least cosine to the golden hidden states, layer by layer.
fn least_hidden_cosine(model: Variant) -> Option<f64> {
    let (path, golden) = (real_model(model)?, golden("hidden_hello_world.npy")?);
    let (shape, expected) = read_npy(&golden);
    let states = models::open(&path)
        .unwrap()
        .reference()
        .hidden_states(&HELLO_WORLD)
        .unwrap();
    assert_eq!(shape, [states.len(), HELLO_WORLD.len(), 768]);
    let layers = states.iter().zip(expected.chunks_exact(states[0].len()));
    let cosines = layers.enumerate().map(|(layer, (state, expected))| {
        let tokens = state.chunks_exact(768).zip(expected.chunks_exact(768));
        let cosines: Vec<f64> = tokens.map(|(a, b)| cosine(a, b)).collect();
        let (_, least) = mean_and_minimum(&cosines);
        println!("{model:?} after layer {layer}: least cosine of a token {least:.8}");
        least
    });
    Some(mean_and_minimum(&cosines.collect::<Vec<_>>()).1)
}

#[test]
fn hidden_states_of_the_f32_file_match_the_checkpoint() {
    if let Some(least) = least_hidden_cosine(Variant::F32) {
        assert!(least >= 0.999_999, "{least}");
    }
}

#[test]
fn hidden_states_of_the_q8_0_file_are_near_the_checkpoint() {
    if let Some(least) = least_hidden_cosine(Variant::Q8_0) {
        assert!(least >= 0.995, "{least}");
    }
}

/// Mean and minimum of the cosines over the golden set, of the first `dims` values each.
fn golden_cosines<const N: usize>(model: Variant, dims: [usize; N]) -> Option<[(f64, f64); N]> {
    let (path, golden) = (real_model(model)?, golden_embeddings()?);
    let loaded = models::open(&path).unwrap();
    let tokenizer = SentencePiece::from_gguf(loaded.gguf().clone()).unwrap();
    let ids: Vec<Vec<u32>> = golden.iter().map(|golden| golden.ids(&tokenizer)).collect();
    let texts: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
    let start = Instant::now();
    let embeddings = loaded.reference().embed_batch(&texts).unwrap();
    let tokens: usize = texts.iter().map(|ids| ids.len()).sum();
    println!(
        "{model:?}: {} texts, {tokens} tokens, {:.1?}",
        texts.len(),
        start.elapsed()
    );
    Some(dims.map(|dims| {
        let pairs = embeddings.iter().zip(&golden);
        // A cosine renormalizes by itself.
        let cosines = pairs.map(|(a, golden)| cosine(&a[..dims], &golden.vector[..dims]));
        let (mean, minimum) = mean_and_minimum(&cosines.collect::<Vec<_>>());
        println!("{model:?}, {dims} dimensions: mean {mean:.8}, minimum {minimum:.8}");
        (mean, minimum)
    }))
}

#[test]
fn embeddings_of_the_f32_file_match_the_checkpoint() {
    for (_, minimum) in golden_cosines(Variant::F32, [768, 512, 256, 128])
        .into_iter()
        .flatten()
    {
        assert!(minimum >= 0.999_99, "{minimum}");
    }
}

#[test]
fn embeddings_of_the_q8_0_file_are_near_the_checkpoint() {
    if let Some([(mean, _), ..]) = golden_cosines(Variant::Q8_0, [768, 512, 256, 128]) {
        assert!(mean >= 0.9998, "{mean}");
    }
}

#[test]
fn a_text_has_the_same_bits_alone_and_in_a_batch() {
    let options = Options {
        layers: 7,
        heads: 4,
        kv_heads: 2,
        ..Options::default()
    };
    let loaded = tiny("batch", &options);
    let reference = loaded.reference();
    let ids: Vec<u32> = (0..40).map(|index| index * 7 % 200).collect();
    let texts = [1, 40, 6, 7, 2, 25].map(|length| &ids[..length]);
    let batch = reference.embed_batch(&texts).unwrap();
    for (text, embedding) in texts.iter().zip(&batch) {
        assert_eq!(*embedding, reference.embed(text).unwrap());
        let length: f32 = embedding.iter().map(|x| x * x).sum();
        assert!((length - 1.0).abs() < 1e-5, "{length}");
    }
    assert!(reference.embed_batch(&[]).unwrap().is_empty());
}

#[test]
fn without_heads_the_embedding_is_the_mean_of_the_last_layer() {
    let options = Options {
        no_dense: true,
        ..Options::default()
    };
    let loaded = tiny("no-dense", &options);
    let ids = [2, 30, 40, 50, 1];
    let states = loaded.reference().hidden_states(&ids).unwrap();
    assert_eq!(states.len(), loaded.summary().layers + 1);
    let mut sum = vec![0.0; loaded.shape().hidden];
    for token in states.last().unwrap().chunks_exact(sum.len()) {
        sum.iter_mut().zip(token).for_each(|(sum, x)| *sum += x);
    }
    let cosine = cosine(&sum, &loaded.reference().embed(&ids).unwrap());
    assert!(cosine > 0.999_999, "{cosine}");
}

#[test]
fn every_matrix_type_gives_a_similar_embedding() {
    let embed = |encoding| {
        let options = Options {
            encoding,
            ..Options::default()
        };
        let loaded = tiny(&format!("{encoding:?}"), &options);
        loaded.reference().embed(&[2, 30, 40, 50, 1]).unwrap()
    };
    let exact = embed(Encoding::F32);
    for encoding in [Encoding::F16, Encoding::Bf16, Encoding::Q8_0] {
        let cosine = cosine(&exact, &embed(encoding));
        assert!(cosine > 0.999, "{encoding:?}: {cosine}");
    }
}

#[test]
fn tokens_that_the_model_cannot_take_are_an_error() {
    let loaded = tiny("arguments", &Options::default());
    let too_long = vec![2; loaded.shape().context + 1];
    let outside = [2, loaded.shape().vocabulary as u32, 1];
    for (ids, problem) in [
        (&[][..], "ids: holds no token"),
        (&too_long, "ids: holds 257 tokens, but the model takes 256"),
        (&outside, "tokens; use this model's tokenizer"),
    ] {
        let reference = loaded.reference();
        let errors = [
            reference.embed(ids).map(drop),
            reference.embed_batch(&[&[2, 1], ids]).map(drop),
            reference.hidden_states(ids).map(drop),
        ];
        for error in errors {
            let error = error.unwrap_err();
            assert!(matches!(error, Error::Argument { .. }), "{error:?}");
            assert!(error.to_string().contains(problem), "{error}");
        }
    }
}
