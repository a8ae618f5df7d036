//! Models of Qwen3's kind give the vectors of the transformers library, layer by layer.

mod support;

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
