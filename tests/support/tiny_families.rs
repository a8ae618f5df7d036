//! The tiny models of `../shared/tiny-families`, with what the transformers library gives for each: hidden
//! states after every layer, and the vector.

use std::sync::Arc;

use lanewise::internals::models::{self, Model};
use lanewise::internals::{Runtime, RuntimeOptions};
use lanewise_testkit::assets::shared;
use serde::Deserialize;

use super::{cosine, mean_and_minimum, read_npy, supported_isas};

/// A model and its text.
pub struct TinyFamily {
    pub model: Arc<dyn Model>,
    expected: Expected,
}

#[derive(Deserialize)]
struct Expected {
    model: String,
    ids: Vec<u32>,
    vector: Vec<f32>,
}

/// The models of these names, none if the directory is not there.
pub fn tiny_families(names: &[&str]) -> Vec<TinyFamily> {
    let Some(index) = shared("tiny-families/index.json") else {
        return Vec::new();
    };
    let index = std::fs::read_to_string(index).unwrap();
    let all: Vec<Expected> = serde_json::from_str(&index).unwrap();
    let named = all
        .into_iter()
        .filter(|expected| names.contains(&&*expected.model));
    let open = |expected: Expected| {
        let path = shared(&format!("tiny-families/{}.gguf", expected.model)).unwrap();
        let model = models::open(path).unwrap();
        TinyFamily { model, expected }
    };
    let families: Vec<TinyFamily> = named.map(open).collect();
    assert_eq!(families.len(), names.len(), "of {names:?}");
    families
}

/// The vectors of texts, one after the other.
pub fn embed_on(model: &Arc<dyn Model>, options: &RuntimeOptions, texts: &[&[u32]]) -> Vec<f32> {
    let mut runtime = Runtime::new(Arc::clone(model), options).unwrap();
    let mut out = vec![f32::NAN; texts.len() * model.shape().width];
    runtime.embed(texts, &mut out).unwrap();
    out
}

impl TinyFamily {
    /// Checks the hidden states of the f32 path after each layer, token by token.
    pub fn check_hidden_states(&self) {
        let Expected {
            model: name, ids, ..
        } = &self.expected;
        let hidden = self.model.shape().hidden;
        let (shape, expected) =
            read_npy(&shared(&format!("tiny-families/{name}.states.npy")).unwrap());
        let states = self.model.reference().hidden_states(ids).unwrap();
        // The library leaves out the last state of some models.
        let known = shape[0];
        assert!(known == states.len() || known + 1 == states.len());
        assert_eq!(shape[1..], [ids.len(), hidden]);
        let layers = states.iter().zip(expected.chunks_exact(states[0].len()));
        for (layer, (state, expected)) in layers.enumerate() {
            let tokens = state
                .chunks_exact(hidden)
                .zip(expected.chunks_exact(hidden));
            let cosines: Vec<f64> = tokens.map(|(a, b)| cosine(a, b)).collect();
            let (_, least) = mean_and_minimum(&cosines);
            println!("{name} after layer {layer}: least cosine {least:.9}");
            assert!(least >= 0.999_999, "{name} layer {layer}: {least}");
        }
    }

    /// Checks the vectors of both paths, that of INT8 on all instruction sets.
    pub fn check_vectors(&self) {
        let Expected {
            model: name,
            ids,
            vector,
        } = &self.expected;
        let of_f32 = cosine(&self.model.reference().embed(ids).unwrap(), vector);
        assert!(of_f32 >= 0.999_999, "{name}: {of_f32}");
        let on = |isa| {
            let options = RuntimeOptions {
                isa: Some(isa),
                ..RuntimeOptions::default()
            };
            embed_on(&self.model, &options, &[ids])
        };
        let vectors: Vec<Vec<f32>> = supported_isas().into_iter().map(on).collect();
        let of_int8 = cosine(&vectors[0], vector);
        println!("{name}: cosine f32 {of_f32:.9}, INT8 {of_int8:.6}");
        assert!(of_int8 >= 0.999, "{name}: {of_int8}");
        assert!(vectors.iter().all(|vector| *vector == vectors[0]));
    }
}
