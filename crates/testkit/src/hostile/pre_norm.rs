//! Malformed models of Qwen3's kind and of ModernBERT's. What is wrong with a file of any family is tried with
//! another one.

use super::{Case, Cases};
use crate::gguf_writer::{File, Value};
use crate::tiny_pre_norm::{self, Architecture, Options};

/// The models without damage: Qwen3, and ModernBERT.
pub(super) fn models() -> [File; 2] {
    [Options::qwen3(), Options::modern_bert()].map(|options| {
        tiny_pre_norm::build(&Options {
            // The first layer of ModernBERT lacks a norm.
            layers: 2,
            hidden: 32,
            feed_forward: 32,
            heads: match options.architecture {
                Architecture::Qwen3 => 2,
                Architecture::ModernBert => 1,
            },
            context: 16,
            ..options
        })
    })
}

pub(super) fn cases() -> Vec<Case> {
    let [qwen3, modern_bert] = models();
    let mut of_qwen3 = Cases::of(qwen3);
    of_qwen3.keys_of_architecture("Keys of Qwen3", "qwen3", &QWEN3);
    of_qwen3.change("attention is not causal", |file| {
        file.set("qwen3.attention.causal", Value::Bool(false));
    });
    of_qwen3.byte_vocabulary("Vocabulary of Qwen3");
    of_qwen3.tensors("Tensors of Qwen3");
    // What `<|endoftext|>` reads of the embedding table: its row is the first.
    of_qwen3.weights("Weights of Qwen3 that are not finite", 0);
    let mut of_modern_bert = Cases::of(modern_bert);
    of_modern_bert.keys_of_architecture("Keys of ModernBERT", "modern-bert", &MODERN_BERT);
    of_modern_bert.keys_of_modern_bert();
    of_modern_bert.byte_vocabulary("Vocabulary of ModernBERT");
    of_modern_bert.tensors("Tensors of ModernBERT");
    of_modern_bert.weights("Weights of ModernBERT that are not finite", 0);
    [of_qwen3.list, of_modern_bert.list].concat()
}

/// Keys, and values that they must not have.
struct Keys {
    required: &'static [&'static str],
    integers: &'static [(&'static str, &'static [u32])],
    floats: &'static [&'static str],
}

const MAX: u32 = u32::MAX;

static QWEN3: Keys = Keys {
    required: &[
        "block_count",
        "context_length",
        "embedding_length",
        "feed_forward_length",
        "attention.head_count",
        "attention.head_count_kv",
        "attention.layer_norm_rms_epsilon",
        "rope.freq_base",
        "pooling_type",
    ],
    integers: &[
        ("block_count", &[0, 1, 3, 1024, 1025, MAX]),
        ("context_length", &[0, 2, (1 << 20) + 1, MAX]),
        ("embedding_length", &[0, 1, 31, 64, 65_537, MAX]),
        ("feed_forward_length", &[0, 31, 64, 262_145, MAX]),
        ("attention.head_count", &[0, 1, 3, 4, 1025, MAX]),
        ("attention.head_count_kv", &[0, 2, 3, 1025, MAX]),
        ("attention.key_length", &[0, 31, 33, 64, 544, 4097, MAX]),
        ("attention.value_length", &[0, 31, 64, MAX]),
        ("rope.dimension_count", &[0, 16, 64, MAX]),
        ("pooling_type", &[0, 1, 2, 4, 5, MAX]),
        ("vocab_size", &[0, 1, MAX]),
    ],
    floats: &["attention.layer_norm_rms_epsilon", "rope.freq_base"],
};

static MODERN_BERT: Keys = Keys {
    required: &[
        "block_count",
        "context_length",
        "embedding_length",
        "feed_forward_length",
        "attention.head_count",
        "attention.layer_norm_epsilon",
        "attention.causal",
        "attention.sliding_window",
        "attention.sliding_window_pattern",
        "rope.freq_base",
        "pooling_type",
    ],
    integers: &[
        ("block_count", &[0, 1, 3, 1024, 1025, MAX]),
        ("context_length", &[0, 2, 8193, MAX]),
        ("embedding_length", &[0, 1, 31, 64, 65_537, MAX]),
        ("feed_forward_length", &[0, 31, 64, 262_145, MAX]),
        ("attention.head_count", &[0, 2, 3, 32, 1025, MAX]),
        ("attention.head_count_kv", &[0, 2, MAX]),
        ("attention.key_length", &[0, 31, 64, MAX]),
        ("attention.value_length", &[0, 31, 64, MAX]),
        ("attention.sliding_window", &[0, (1 << 24) + 1, MAX]),
        ("attention.sliding_window_pattern", &[0, 1025, MAX]),
        ("rope.dimension_count", &[0, 16, 64, MAX]),
        ("pooling_type", &[0, 3, 4, 5, MAX]),
        ("vocab_size", &[0, 1, MAX]),
    ],
    floats: &[
        "attention.layer_norm_epsilon",
        "rope.freq_base",
        "rope.freq_base_swa",
    ],
};

impl Cases {
    fn keys_of_architecture(&mut self, group: &'static str, architecture: &str, keys: &Keys) {
        self.group = group;
        let own = |name: &str| format!("{architecture}.{name}");
        for key in keys.required.iter().map(|name| own(name)) {
            // Without it, there are as many heads of keys as of queries.
            self.change(format!("without {key}"), |file| file.remove(&key));
            for (what, value) in [
                ("a negative integer", Value::Raw(5, vec![0xff; 4])),
                ("a string", Value::String("x".into())),
                ("an array of strings", Value::Strings(vec![b"1".to_vec()])),
            ] {
                self.change(format!("{key} is {what}"), |file| file.set(&key, value));
            }
        }
        for (name, numbers) in keys.integers {
            let key = own(name);
            for &number in *numbers {
                self.change(format!("{key} is {number}"), |file| {
                    file.set(&key, Value::U32(number));
                });
            }
        }
        for key in keys.floats.iter().map(|name| own(name)) {
            for number in [0.0, -1.0, f32::NAN, f32::INFINITY] {
                self.change(format!("{key} is {number:?}"), |file| {
                    file.set(&key, Value::F32(number));
                });
            }
        }
        for kind in ["", "linear", "yarn"] {
            self.change(format!("RoPE is scaled by \"{kind}\""), |file| {
                file.set(&own("rope.scaling.type"), Value::String(kind.into()));
            });
        }
        self.scaled_without_type(architecture);
    }

    fn keys_of_modern_bert(&mut self) {
        self.change("attention is causal", |file| {
            file.set("modern-bert.attention.causal", Value::Bool(true));
        });
        for name in ["", "relu", "gelu_pytorch_tanh"] {
            self.change(format!("the activation is \"{name}\""), |file| {
                let key = "modern-bert.hidden_activation";
                file.set(key, Value::String(name.into()));
            });
        }
        for (what, element, count) in [
            ("of one bool", 7_u32, 1_u64),
            ("of three bools", 7, 3),
            ("of two bytes", 0, 2),
            ("of no bool", 7, 0),
        ] {
            self.change(
                format!("the pattern of windows is an array {what}"),
                |file| {
                    let header = [&element.to_le_bytes()[..], &count.to_le_bytes()].concat();
                    let bytes = [header, vec![1; count as usize]].concat();
                    let key = "modern-bert.attention.sliding_window_pattern";
                    file.set(key, Value::Raw(9, bytes));
                },
            );
        }
        self.change("a tensor of a ColBERT model", |file| {
            let mut dense = file.tensor_mut("blk.0.attn_output.weight").clone();
            dense.name = "dense_2.weight".into();
            file.tensors.push(dense);
        });
    }

    fn byte_vocabulary(&mut self, group: &'static str) {
        self.group = group;
        for model in ["", "bert", "llama", "t5", "gemma4"] {
            self.change(format!("a tokenizer of kind \"{model}\""), |file| {
                file.set("tokenizer.ggml.model", Value::String(model.into()));
            });
        }
        for pre in ["", "default", "llama-bpe", "QWEN2"] {
            self.change(format!("a pre-tokenizer \"{pre}\""), |file| {
                file.set("tokenizer.ggml.pre", Value::String(pre.into()));
            });
        }
        for name in ["model", "pre", "merges", "tokens", "token_type"] {
            let key = format!("tokenizer.ggml.{name}");
            self.change(format!("without {key}"), |file| file.remove(&key));
            self.change(format!("{key} is an integer"), |file| {
                file.set(&key, Value::U32(1));
            });
        }
        let merges: [(&str, &[&[u8]]); 9] = [
            ("a merge without a space", &[b"th"]),
            ("an empty merge", &[b""]),
            ("a merge that is a space", &[b" "]),
            ("a merge without a second part", &[b"t "]),
            ("a merge of three parts", &[b"t h e"]),
            ("a merge of a part that is no token", &[b"t hxyz"]),
            ("a merge that makes no token", &[b"~ ~"]),
            ("a merge twice", &[b"t h", b"t h"]),
            ("a merge not in UTF-8", &[b"\xff \xfe"]),
        ];
        for (what, merges) in merges {
            self.change(what, |file| {
                let merges = merges.iter().map(|merge| merge.to_vec()).collect();
                file.set("tokenizer.ggml.merges", Value::Strings(merges));
            });
        }
        self.change("a byte without a token", |file| {
            if let Some((_, Value::Strings(tokens))) = file
                .metadata
                .iter_mut()
                .find(|(name, _)| name == "tokenizer.ggml.tokens")
                && let Some(token) = tokens.iter_mut().find(|token| **token == b"~")
            {
                *token = b"unused words".to_vec();
            }
        });
        let special = ["eos", "cls", "seperator", "mask"].map(String::from);
        let keys = special.map(|name| format!("tokenizer.ggml.{name}_token_id"));
        let has = |key: &String| self.model.metadata.iter().any(|(name, _)| name == key);
        let keys: Vec<String> = keys.into_iter().filter(has).collect();
        // Qwen3 reads the token that its models were trained with, whatever the file says.
        for key in keys.iter().filter(|key| !key.contains(".eos_")) {
            for id in [100, 1 << 24, MAX] {
                self.change(format!("{key} is {id}"), |file| {
                    file.set(key, Value::U32(id));
                });
            }
            self.change(format!("{key} is a string"), |file| {
                file.set(key, Value::String("2".into()));
            });
            if !key.contains("mask") {
                self.change(format!("without {key}"), |file| file.remove(key));
            }
        }
    }
}
