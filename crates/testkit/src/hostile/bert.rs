//! Malformed models of BERT's kind. What is wrong with a file of any family is tried with the other one.

use super::{Case, Cases};
use crate::gguf_writer::{File, Value};
use crate::tiny_bert::{self, Options};

/// The model without damage.
pub(super) fn model() -> File {
    tiny_bert::build(&options())
}

fn options() -> Options {
    Options {
        layers: 1,
        hidden: 32,
        feed_forward: 32,
        heads: 1,
        context: 16,
        ..Options::default()
    }
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Cases::of(model());
    cases.keys_of_bert();
    cases.vocabulary_of_bert();
    cases.tensors("Tensors of BERT");
    // What `[CLS]` reads of the embedding table: its row is the third.
    cases.weights("Weights of BERT that are not finite", 2 * 34);
    cases.list
}

const REQUIRED: [&str; 10] = [
    "bert.block_count",
    "bert.context_length",
    "bert.embedding_length",
    "bert.feed_forward_length",
    "bert.attention.head_count",
    "bert.attention.layer_norm_epsilon",
    "bert.attention.causal",
    "bert.pooling_type",
    "tokenizer.ggml.model",
    "tokenizer.ggml.token_type",
];

impl Cases {
    fn keys_of_bert(&mut self) {
        self.group = "Keys of BERT";
        for key in REQUIRED {
            self.change(format!("without {key}"), |file| file.remove(key));
            for (what, value) in [
                ("a negative integer", Value::Raw(5, vec![0xff; 4])),
                ("a string", Value::String("x".into())),
                ("an array of strings", Value::Strings(vec![b"1".to_vec()])),
            ] {
                self.change(format!("{key} is {what}"), |file| file.set(key, value));
            }
        }
        const MAX: u32 = u32::MAX;
        let integers: [(&str, &[u32]); 10] = [
            ("bert.block_count", &[0, 2, 1024, 1025, MAX]),
            ("bert.context_length", &[0, 2, 15, 17, 8193, MAX]),
            ("bert.embedding_length", &[0, 1, 31, 64, 65_537, MAX]),
            ("bert.feed_forward_length", &[0, 31, 64, 262_145, MAX]),
            ("bert.attention.head_count", &[0, 2, 3, 32, 1025, MAX]),
            ("bert.attention.head_count_kv", &[0, 2, MAX]),
            ("bert.attention.key_length", &[0, 31, 64, MAX]),
            ("bert.attention.value_length", &[0, 31, 64, MAX]),
            ("bert.pooling_type", &[0, 3, 4, 5, MAX]),
            ("tokenizer.ggml.token_type_count", &[0, 1, 3, 1025, MAX]),
        ];
        for (key, numbers) in integers {
            for &number in numbers {
                self.change(format!("{key} is {number}"), |file| {
                    file.set(key, Value::U32(number));
                });
            }
        }
        let key = "bert.attention.layer_norm_epsilon";
        for number in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            self.change(format!("{key} is {number:?}"), |file| {
                file.set(key, Value::F32(number));
            });
        }
        self.change("attention is causal", |file| {
            file.set("bert.attention.causal", Value::Bool(true));
        });
    }

    fn vocabulary_of_bert(&mut self) {
        self.group = "Vocabulary of BERT";
        for model in ["", "gpt2", "llama", "t5", "BERT"] {
            self.change(format!("a tokenizer of kind \"{model}\""), |file| {
                file.set("tokenizer.ggml.model", Value::String(model.into()));
            });
        }
        for name in ["cls", "seperator", "unknown"] {
            let key = format!("tokenizer.ggml.{name}_token_id");
            // An ordinary piece, and none.
            for id in [100, 1 << 24, u32::MAX] {
                self.change(format!("{key} is {id}"), |file| {
                    file.set(&key, Value::U32(id));
                });
            }
            self.change(format!("without {key}"), |file| file.remove(&key));
            self.change(format!("{key} is a string"), |file| {
                file.set(&key, Value::String("2".into()));
            });
        }
        for name in ["lowercase", "strip_accents"] {
            let key = format!("tokenizer.ggml.normalizer.{name}");
            self.change(format!("{key} is an integer"), |file| {
                file.set(&key, Value::U32(1));
            });
        }
        let key = "tokenizer.ggml.token_type";
        for kind in [0, 7, -1] {
            self.change(format!("token 0 has the type {kind}"), |file| {
                if let Some((_, Value::I32s(types))) =
                    file.metadata.iter_mut().find(|(name, _)| name == key)
                {
                    types[0] = kind;
                }
            });
        }
        let key = "tokenizer.ggml.tokens";
        let mut tokens = |what: &str, change: fn(&mut Vec<Vec<u8>>)| {
            self.change(what, |file| {
                if let Some((_, Value::Strings(tokens))) =
                    file.metadata.iter_mut().find(|(name, _)| name == key)
                {
                    change(tokens);
                }
            });
        };
        tokens("a control token is not UTF-8", |tokens| {
            tokens[4] = vec![0xff]
        });
        tokens("a token of 1,025 bytes", |tokens| {
            tokens[9] = vec![b'x'; 1025]
        });
        tokens("a token too few", |tokens| drop(tokens.pop()));
        tokens("no tokens", Vec::clear);
        tokens("pieces as WordPiece spells them", |tokens| {
            for token in tokens {
                if let Some(rest) = token.strip_prefix("\u{2581}".as_bytes()) {
                    *token = rest.to_vec();
                }
            }
        });
    }
}
