//! Keys missing, given twice, of another type, and with values that no model has.

use super::{Cases, options};
use crate::gguf_writer::Value;
use crate::tiny_model::{self, Options};

/// What a key that the engine reads must hold.
#[derive(Clone, Copy, PartialEq)]
enum Holds {
    Integer,
    Float,
    Bool,
    String,
    Array,
}

/// The keys that no model may lack, and what they hold.
const REQUIRED: [(&str, Holds); 16] = [
    ("general.architecture", Holds::String),
    ("gemma-embedding.block_count", Holds::Integer),
    ("gemma-embedding.context_length", Holds::Integer),
    ("gemma-embedding.embedding_length", Holds::Integer),
    ("gemma-embedding.feed_forward_length", Holds::Integer),
    ("gemma-embedding.attention.head_count", Holds::Integer),
    ("gemma-embedding.attention.head_count_kv", Holds::Integer),
    (
        "gemma-embedding.attention.layer_norm_rms_epsilon",
        Holds::Float,
    ),
    ("gemma-embedding.attention.sliding_window", Holds::Integer),
    ("gemma-embedding.rope.freq_base", Holds::Float),
    ("gemma-embedding.pooling_type", Holds::Integer),
    ("tokenizer.ggml.model", Holds::String),
    ("tokenizer.ggml.tokens", Holds::Array),
    ("tokenizer.ggml.scores", Holds::Array),
    ("tokenizer.ggml.token_type", Holds::Array),
    ("tokenizer.ggml.bos_token_id", Holds::Integer),
];

/// The keys that have a default, or in whose presence the engine looks closer.
const OPTIONAL: [(&str, Holds); 14] = [
    ("tokenizer.ggml.eos_token_id", Holds::Integer),
    ("gemma-embedding.attention.key_length", Holds::Integer),
    ("gemma-embedding.attention.value_length", Holds::Integer),
    (
        "gemma-embedding.attention.sliding_window_pattern",
        Holds::Integer,
    ),
    ("gemma-embedding.attention.causal", Holds::Bool),
    ("gemma-embedding.rope.freq_base_swa", Holds::Float),
    ("gemma-embedding.rope.dimension_count", Holds::Integer),
    ("gemma-embedding.rope.scaling.type", Holds::String),
    ("gemma-embedding.dense_2_feat_out", Holds::Integer),
    ("tokenizer.ggml.add_bos_token", Holds::Bool),
    ("tokenizer.ggml.add_eos_token", Holds::Bool),
    ("tokenizer.ggml.add_space_prefix", Holds::Bool),
    ("tokenizer.ggml.remove_extra_whitespaces", Holds::Bool),
    ("general.alignment", Holds::Integer),
];

impl Cases {
    pub(super) fn keys(&mut self) {
        self.group = "Keys missing and given twice";
        let eos = [("tokenizer.ggml.eos_token_id", Holds::Integer)];
        for (key, _) in REQUIRED.into_iter().chain(eos) {
            self.change(format!("without {key}"), |file| file.remove(key));
        }
        for index in 0..self.model.metadata.len() {
            let pair = self.model.metadata[index].clone();
            let other = (pair.0.clone(), Value::U32(7));
            self.change(format!("{} twice", pair.0), |file| file.metadata.push(pair));
            self.change(format!("{} a second time, as 7", other.0), |file| {
                file.metadata.insert(0, other);
            });
        }
    }

    pub(super) fn keys_of_another_type(&mut self) {
        self.group = "Keys of another type";
        let array = |element: u32, count: u64, bytes: &[u8]| {
            let header = [&element.to_le_bytes()[..], &count.to_le_bytes()[..]].concat();
            Value::Raw(9, [&header, bytes].concat())
        };
        let values = [
            ("an integer", Value::U32(1), Some(Holds::Integer)),
            ("a negative integer", Value::Raw(5, vec![0xff; 4]), None),
            ("an integer of 64 bits", Value::Raw(10, vec![0xff; 8]), None),
            ("a float", Value::F32(1.0), Some(Holds::Float)),
            ("a bool", Value::Bool(true), Some(Holds::Bool)),
            ("a bool of value 2", Value::Raw(7, vec![2]), None),
            (
                "a string",
                Value::String("none".into()),
                Some(Holds::String),
            ),
            (
                "a string not in UTF-8",
                Value::Raw(8, b"\x01\0\0\0\0\0\0\0\xff".to_vec()),
                None,
            ),
            (
                "an array of strings",
                Value::Strings(vec![b"1".to_vec()]),
                Some(Holds::Array),
            ),
            (
                "an array of bools",
                array(7, 2, &[0, 1]),
                Some(Holds::Array),
            ),
            ("an array of arrays", array(9, 0, &[]), None),
        ];
        for (key, holds) in REQUIRED.into_iter().chain(OPTIONAL) {
            for (what, value, right_for) in &values {
                if *right_for != Some(holds) {
                    self.change(format!("{key} is {what}"), |file| {
                        file.set(key, value.clone())
                    });
                }
            }
        }
        for key in ["tokens", "scores", "token_type"].map(|name| format!("tokenizer.ggml.{name}")) {
            for (what, value, right_for) in &values {
                if *right_for == Some(Holds::Array) {
                    self.change(format!("{key} is {what}"), |file| {
                        file.set(&key, value.clone())
                    });
                }
            }
            let empty = array(if key.ends_with("tokens") { 8 } else { 6 }, 0, &[]);
            self.change(format!("{key} is empty"), |file| file.set(&key, empty));
        }
    }

    pub(super) fn values_out_of_range(&mut self) {
        self.group = "Values out of range";
        const MAX: u32 = u32::MAX;
        let integers: [(&str, &[u32]); 16] = [
            ("block_count", &[0, 2, 1024, 1025, MAX]),
            ("context_length", &[0, 1, 2, 4097, 131_072, 131_073, MAX]),
            ("embedding_length", &[0, 1, 31, 33, 64, 65_536, 65_537, MAX]),
            (
                "feed_forward_length",
                &[0, 1, 31, 33, 64, 262_144, 262_145, MAX],
            ),
            ("attention.head_count", &[0, 1, 3, 4, 1024, 1025, MAX]),
            ("attention.head_count_kv", &[0, 2, 3, 1024, 1025, MAX]),
            ("attention.key_length", &[0, 1, 16, 33, 64, 4096, 4097, MAX]),
            (
                "attention.value_length",
                &[0, 1, 16, 33, 64, 4096, 4097, MAX],
            ),
            ("attention.sliding_window", &[0, (1 << 24) + 1, MAX]),
            ("attention.sliding_window_pattern", &[0, 1025, MAX]),
            ("rope.dimension_count", &[0, 1, 16, 64, MAX]),
            ("pooling_type", &[0, 2, 3, 4, MAX]),
            ("dense_2_feat_in", &[0, 31, 64, MAX]),
            ("dense_2_feat_out", &[0, 32, 129, MAX]),
            ("dense_3_feat_in", &[0, 32, 129, MAX]),
            ("dense_3_feat_out", &[0, 31, 64, MAX]),
        ];
        let key = |name: &str| format!("gemma-embedding.{name}");
        for (name, numbers) in integers {
            for &number in numbers {
                let key = key(name);
                self.change(format!("{key} is {number}"), |file| {
                    file.set(&key, Value::U32(number));
                });
            }
        }
        let floats = [
            "attention.layer_norm_rms_epsilon",
            "rope.freq_base",
            "rope.freq_base_swa",
        ];
        for key in floats.map(key) {
            for number in [0.0, -0.0, -1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                self.change(format!("{key} is {number:?}"), |file| {
                    file.set(&key, Value::F32(number));
                });
            }
        }
        self.change("attention is causal", |file| {
            file.set(&key("attention.causal"), Value::Bool(true));
        });
        for kind in ["", "linear", "yarn"] {
            self.change(format!("RoPE is scaled by \"{kind}\""), |file| {
                file.set(&key("rope.scaling.type"), Value::String(kind.into()));
            });
        }
        self.scaled_without_type("gemma-embedding");
        for alignment in [0, 1, 2, 4, 7, 33, 48, 1 << 22, 1 << 31, MAX] {
            self.change(format!("general.alignment is {alignment}"), |file| {
                file.set("general.alignment", Value::U32(alignment));
            });
        }
        let wide = tiny_model::build(&Options {
            head_dim: 544,
            ..options()
        });
        self.add("heads of 544 values, throughout", wide.to_bytes());
        let long = tiny_model::build(&Options {
            context: 8192,
            ..options()
        });
        self.add("a context of 8,192 tokens", long.to_bytes());
    }
}
