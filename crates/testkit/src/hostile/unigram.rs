//! Malformed vocabularies of XLM-RoBERTa's kind. What is wrong with any vocabulary is tried with others.

use super::{Case, Cases, bert};
use crate::gguf_writer::{File, Value};
use crate::tiny_bert;
use crate::tiny_unigram::{bytes, charsmap};

/// The model without damage.
pub(super) fn model() -> File {
    tiny_bert::build(&bert::small(tiny_bert::Options {
        unigram: true,
        ..tiny_bert::Options::default()
    }))
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Cases::of(model());
    cases.vocabulary_of_unigram();
    cases.tables_of_replacements();
    cases.list
}

impl Cases {
    fn vocabulary_of_unigram(&mut self) {
        self.group = "Vocabulary of Unigram";
        self.change("words without a space before them", |file| {
            file.set("tokenizer.ggml.add_space_prefix", Value::Bool(false));
        });
        for name in ["bos", "eos", "unknown"] {
            let key = format!("tokenizer.ggml.{name}_token_id");
            // An ordinary piece, and none.
            for id in [100, 1 << 24, u32::MAX] {
                self.change(format!("{key} is {id}"), |file| {
                    file.set(&key, Value::U32(id));
                });
            }
            self.change(format!("without {key}"), |file| file.remove(&key));
        }
        for name in ["scores", "token_type", "tokens"] {
            let key = format!("tokenizer.ggml.{name}");
            self.change(format!("without {key}"), |file| file.remove(&key));
        }
        for kind in [0, 2, 5, 6, 7, -1] {
            self.change(format!("every token has the type {kind}"), |file| {
                file.metadata.iter_mut().for_each(|(_, value)| {
                    if let Value::I32s(types) = value {
                        types.fill(kind);
                    }
                });
            });
        }
        self.change("a token for a byte", |file| {
            file.metadata.iter_mut().for_each(|(_, value)| {
                if let Value::I32s(types) = value {
                    types[9] = 6;
                }
            });
        });
        self.change("a score that is not a number", |file| {
            file.metadata.iter_mut().for_each(|(_, value)| {
                if let Value::F32s(scores) = value {
                    scores[9] = f32::NAN;
                }
            });
        });
    }

    fn tables_of_replacements(&mut self) {
        self.group = "Tables of replacements";
        const KEY: &str = "tokenizer.ggml.precompiled_charsmap";
        self.change(format!("without {KEY}"), |file| file.remove(KEY));
        let mut table = |what: &str, value: Value| {
            self.change(format!("the table {what}"), |file| file.set(KEY, value));
        };
        table("is a string", Value::String("x".into()));
        table("is an array of f32", Value::F32s(vec![1.0]));
        table("is empty", bytes(b""));
        let good = charsmap(&[("a", "b"), ("½", "1/2")]);
        for end in [1, 3, 4, 8, good.len() / 2, good.len() - 1] {
            table(&format!("ends after {end} bytes"), bytes(&good[..end]));
        }
        for length in [0, 1, 3, 5, u32::MAX - 3, u32::MAX] {
            let mut other = good.clone();
            other[..4].copy_from_slice(&u32::to_le_bytes(length));
            table(
                &format!("says that its array has {length} bytes"),
                bytes(&other),
            );
        }
        table(
            "has a text that is not UTF-8",
            bytes(b"\x04\0\0\0abcd\xff\0"),
        );
        let long = charsmap(&[("a", &"b".repeat(257))]);
        table("makes 257 characters of one", bytes(&long));
    }
}
