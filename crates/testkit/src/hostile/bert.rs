//! Malformed models of BERT's kind, and of Nomic BERT's. What is wrong with a file of any family is tried with
//! another one.

use super::{Case, Cases};
use crate::gguf_writer::{File, Value};
use crate::tiny_bert::{self, Options};

/// The models without damage: BERT, and Nomic BERT.
pub(super) fn models() -> [File; 2] {
    [Options::default(), Options::nomic()].map(|options| tiny_bert::build(&small(options)))
}

/// A model of one small layer.
pub(super) fn small(options: Options) -> Options {
    Options {
        layers: 1,
        hidden: 32,
        feed_forward: 32,
        heads: 1,
        context: 16,
        ..options
    }
}

pub(super) fn cases() -> Vec<Case> {
    let [bert, nomic] = models();
    [cases_of_bert(bert), cases_of_nomic(nomic)].concat()
}

/// What differs from BERT.
fn cases_of_nomic(model: File) -> Vec<Case> {
    let mut cases = Cases::of(model);
    cases.keys_of_encoder("Keys of Nomic BERT", "nomic-bert");
    cases.keys_of_rope("nomic-bert");
    cases.tensors("Tensors of Nomic BERT");
    cases.weights("Weights of Nomic BERT that are not finite", 2 * 34);
    cases.list
}

fn cases_of_bert(model: File) -> Vec<Case> {
    let mut cases = Cases::of(model);
    cases.keys_of_encoder("Keys of BERT", "bert");
    cases.vocabulary_of_bert();
    cases.tensors("Tensors of BERT");
    // What `[CLS]` reads of the embedding table: its row is the third.
    cases.weights("Weights of BERT that are not finite", 2 * 34);
    cases.list
}

const REQUIRED: [&str; 8] = [
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "attention.head_count",
    "attention.layer_norm_epsilon",
    "attention.causal",
    "pooling_type",
];

impl Cases {
    fn keys_of_encoder(&mut self, group: &'static str, architecture: &str) {
        self.group = group;
        let own = |name: &str| format!("{architecture}.{name}");
        let of_tokenizer = ["model", "token_type"].map(|name| format!("tokenizer.ggml.{name}"));
        for key in REQUIRED.map(own).into_iter().chain(of_tokenizer) {
            self.change(format!("without {key}"), |file| file.remove(&key));
            for (what, value) in [
                ("a negative integer", Value::Raw(5, vec![0xff; 4])),
                ("a string", Value::String("x".into())),
                ("an array of strings", Value::Strings(vec![b"1".to_vec()])),
            ] {
                self.change(format!("{key} is {what}"), |file| file.set(&key, value));
            }
        }
        const MAX: u32 = u32::MAX;
        // A table of positions has as many rows as the context, where there is one.
        let contexts: &[u32] = match architecture {
            "bert" => &[0, 2, 15, 17, 8193, MAX],
            _ => &[0, 2, 8193, MAX],
        };
        let integers: [(&str, &[u32]); 9] = [
            ("block_count", &[0, 2, 1024, 1025, MAX]),
            ("context_length", contexts),
            ("embedding_length", &[0, 1, 31, 64, 65_537, MAX]),
            ("feed_forward_length", &[0, 31, 64, 262_145, MAX]),
            ("attention.head_count", &[0, 2, 3, 32, 1025, MAX]),
            ("attention.head_count_kv", &[0, 2, MAX]),
            ("attention.key_length", &[0, 31, 64, MAX]),
            ("attention.value_length", &[0, 31, 64, MAX]),
            ("pooling_type", &[0, 4, 5, MAX]),
        ];
        let types = "tokenizer.ggml.token_type_count".to_owned();
        let integers = integers.map(|(name, numbers)| (own(name), numbers));
        for (key, numbers) in integers
            .into_iter()
            .chain([(types, &[0, 1, 3, 1025, MAX][..])])
        {
            for &number in numbers {
                self.change(format!("{key} is {number}"), |file| {
                    file.set(&key, Value::U32(number));
                });
            }
        }
        self.not_positive(&own("attention.layer_norm_epsilon"));
        self.change("attention is causal", |file| {
            file.set(&own("attention.causal"), Value::Bool(true));
        });
    }

    pub(super) fn not_positive(&mut self, key: &str) {
        for number in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            self.change(format!("{key} is {number:?}"), |file| {
                file.set(key, Value::F32(number));
            });
        }
    }

    /// RoPE without a base, of other values than all, and scaled.
    fn keys_of_rope(&mut self, architecture: &str) {
        let [base, count, scaling] = ["freq_base", "dimension_count", "scaling.type"]
            .map(|name| format!("{architecture}.rope.{name}"));
        self.change(format!("without {base}"), |file| file.remove(&base));
        self.change(format!("{base} is a string"), |file| {
            file.set(&base, Value::String("x".into()));
        });
        self.not_positive(&base);
        for number in [0, 16, 64, u32::MAX] {
            self.change(format!("{count} is {number}"), |file| {
                file.set(&count, Value::U32(number));
            });
        }
        for kind in ["", "linear", "yarn"] {
            self.change(format!("{scaling} is \"{kind}\""), |file| {
                file.set(&scaling, Value::String(kind.into()));
            });
        }
        self.scaled_without_type(architecture);
    }

    /// Factors of RoPE in a file without a type of scaling, which other readers take as linear.
    pub(super) fn scaled_without_type(&mut self, architecture: &str) {
        let scaling = format!("{architecture}.rope.scaling.type");
        for name in ["scaling.factor", "scale_linear"] {
            let key = format!("{architecture}.rope.{name}");
            for factor in [0.5, 4.0, -1.0, f32::NAN, f32::INFINITY] {
                self.change(format!("{key} is {factor:?}, without a type"), |file| {
                    // ModernBERT's says "none".
                    file.remove(&scaling);
                    file.set(&key, Value::F32(factor));
                });
            }
            self.change(format!("{key} is a string"), |file| {
                file.remove(&scaling);
                file.set(&key, Value::String("x".into()));
            });
        }
    }

    fn vocabulary_of_bert(&mut self) {
        self.group = "Vocabulary of BERT";
        for model in ["", "gpt2", "llama", "BERT", "T5"] {
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
