//! Malformed models of EmbeddingGemma 2. What is wrong with a file of any family is tried with another one.

use super::{Case, Cases};
use crate::gguf_writer::{File, Value};
use crate::tiny_gemma2::{self, Options};

/// The model without damage.
pub(super) fn model() -> File {
    tiny_gemma2::build(&Options {
        windows: vec![true, false],
        hidden: 32,
        feed_forward: 32,
        width: 64,
        heads: 2,
        context: 16,
        window: 8,
        ..Options::default()
    })
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Cases::of(model());
    cases.keys_of_gemma2();
    cases.lists_of_gemma2();
    cases.vocabulary_of_gemma2();
    cases.tensors("Tensors of EmbeddingGemma 2");
    // What <bos> reads of the embedding table: its row is the third.
    cases.weights("Weights of EmbeddingGemma 2 that are not finite", 2 * 34);
    cases.list
}

const MAX: u32 = u32::MAX;

/// Keys that hold an integer, whether a file must have them, and what none may hold.
const INTEGERS: [(&str, bool, &[u32]); 19] = [
    ("block_count", true, &[0, 1, 3, 1025, MAX]),
    ("context_length", true, &[0, 2, MAX]),
    ("embedding_length", true, &[0, 31, 64, 65_537, MAX]),
    ("feed_forward_length", true, &[0, 31, 64, 262_145, MAX]),
    (
        "embedding_length_per_layer_input",
        true,
        &[0, 31, 64, 65_537, MAX],
    ),
    ("embedding_length_out", true, &[0, 31, 32, 65_537, MAX]),
    ("attention.head_count", true, &[0, 1, 3, 4, 1025, MAX]),
    ("attention.head_count_kv", true, &[0, 1, 2, 3, 1025, MAX]),
    ("attention.key_length", true, &[0, 31, 32, 544, 4097, MAX]),
    (
        "attention.key_length_swa",
        true,
        &[0, 31, 64, 544, 4097, MAX],
    ),
    ("attention.value_length", false, &[0, 32, MAX]),
    ("attention.value_length_swa", false, &[0, 64, MAX]),
    ("attention.sliding_window", true, &[0, (1 << 24) + 1, MAX]),
    (
        "attention.sliding_window_pattern",
        false,
        &[0, 1, 1025, MAX],
    ),
    ("attention.shared_kv_layers", false, &[1, 2, MAX]),
    ("rope.dimension_count", false, &[0, 32, MAX]),
    ("rope.dimension_count_swa", false, &[0, 64, MAX]),
    ("pooling_type", true, &[0, 2, 3, 4, 5, MAX]),
    ("attention.layer_norm_rms_epsilon", true, &[]),
];

impl Cases {
    fn keys_of_gemma2(&mut self) {
        self.group = "Keys of EmbeddingGemma 2";
        let own = |name: &str| format!("gemma-embedding2.{name}");
        for (name, required, numbers) in INTEGERS {
            let key = own(name);
            if required {
                self.change(format!("without {key}"), |file| file.remove(&key));
            }
            for (what, value) in [
                ("a negative integer", Value::Raw(5, vec![0xff; 4])),
                ("a string", Value::String("x".into())),
                ("an array of strings", Value::Strings(vec![b"1".to_vec()])),
            ] {
                self.change(format!("{key} is {what}"), |file| file.set(&key, value));
            }
            for &number in numbers {
                self.change(format!("{key} is {number}"), |file| {
                    file.set(&key, Value::U32(number));
                });
            }
        }
        for name in [
            "attention.layer_norm_rms_epsilon",
            "rope.freq_base",
            "rope.freq_base_swa",
        ] {
            self.not_positive(&own(name));
        }
        for kind in ["", "linear", "yarn"] {
            self.change(format!("RoPE is scaled by \"{kind}\""), |file| {
                file.set(&own("rope.scaling.type"), Value::String(kind.into()));
            });
        }
        self.scaled_without_type("gemma-embedding2");
        self.change("attention is causal", |file| {
            file.set(&own("attention.causal"), Value::Bool(true));
        });
        self.change(
            "layers without a pattern, as many as it has none of",
            |file| {
                file.remove(&own("attention.sliding_window_pattern"));
            },
        );
    }

    /// What has a value for each layer.
    fn lists_of_gemma2(&mut self) {
        self.group = "Lists of EmbeddingGemma 2";
        let heads = "gemma-embedding2.attention.head_count_kv";
        for counts in [
            vec![],
            vec![2],
            vec![2, 1, 1],
            vec![2, 0],
            vec![2, -1],
            vec![2, 3],
            vec![1, 1],
            vec![i32::MAX, i32::MIN],
        ] {
            self.change(format!("{heads} is {counts:?}"), |file| {
                file.set(heads, Value::I32s(counts));
            });
        }
        let windows = "gemma-embedding2.attention.sliding_window_pattern";
        for pattern in [
            vec![],
            vec![true],
            vec![true, false, false],
            vec![false, true],
            vec![true, true],
        ] {
            self.change(format!("{windows} is {pattern:?}"), |file| {
                file.set(windows, Value::Bools(pattern));
            });
        }
        self.change(format!("{windows} is a list of integers"), |file| {
            file.set(windows, Value::I32s(vec![1, 0]));
        });
    }

    fn vocabulary_of_gemma2(&mut self) {
        self.group = "Vocabulary of EmbeddingGemma 2";
        for model in ["", "gpt2", "llama", "GEMMA4"] {
            self.change(format!("a tokenizer of kind \"{model}\""), |file| {
                file.set("tokenizer.ggml.model", Value::String(model.into()));
            });
        }
        for name in ["bos", "eos"] {
            let key = format!("tokenizer.ggml.{name}_token_id");
            self.change(format!("without {key}"), |file| file.remove(&key));
            self.change(format!("{key} is {MAX}"), |file| {
                file.set(&key, Value::U32(MAX));
            });
        }
        for (name, value) in [
            ("add_bos_token", false),
            ("add_eos_token", false),
            ("add_space_prefix", true),
        ] {
            self.change(format!("{name} is {value}"), |file| {
                file.set(&format!("tokenizer.ggml.{name}"), Value::Bool(value));
            });
        }
        let merges = "tokenizer.ggml.merges";
        self.change(format!("without {merges}"), |file| file.remove(merges));
        self.change(format!("{merges} is a list of integers"), |file| {
            file.set(merges, Value::I32s(vec![1]));
        });
        let bad: [&[u8]; 8] = [b"", b" ", b"th", b"t ", b" t", b"t zq", b"t \xff", b"z q"];
        for merge in bad {
            let what = format!("a merge is \"{}\"", merge.escape_ascii());
            self.change(what, |file| {
                file.set(merges, Value::Strings(vec![merge.to_vec()]));
            });
        }
        self.change("a merge is there twice", |file| {
            if let Some((_, Value::Strings(all))) =
                file.metadata.iter_mut().find(|(name, _)| name == merges)
            {
                all.push(all[0].clone());
            }
        });
    }
}
