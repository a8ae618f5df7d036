//! Vocabularies that are no vocabulary.

use super::Cases;
use crate::gguf_writer::{File, Value};

impl Cases {
    pub(super) fn vocabulary(&mut self) {
        self.group = "Vocabulary";
        let set = |name: &str| format!("tokenizer.ggml.{name}");
        for model in ["", "gpt2", "bert", "t5", "Llama"] {
            self.change(format!("a tokenizer of kind \"{model}\""), |file| {
                file.set(&set("model"), Value::String(model.into()));
            });
        }
        for (name, value) in [
            ("add_bos_token", false),
            ("add_eos_token", false),
            ("add_space_prefix", true),
            ("remove_extra_whitespaces", true),
        ] {
            self.change(format!("tokenizer.ggml.{name} is {value}"), |file| {
                file.set(&set(name), Value::Bool(value));
            });
        }
        self.change("a table for normalizing text", |file| {
            file.set(&set("precompiled_charsmap"), Value::F32s(vec![1.0]));
        });
        let tokens = strings(&mut self.model, "tokens").len();
        for name in ["bos_token_id", "eos_token_id"] {
            for id in [tokens as u32, 1 << 24, u32::MAX] {
                self.change(format!("tokenizer.ggml.{name} is {id}"), |file| {
                    file.set(&set(name), Value::U32(id));
                });
            }
        }
        for byte in [0, 1, 127, 128, 255u8] {
            let token = format!("<0x{byte:02X}>");
            self.change(format!("byte token {token} is spelt <0xZZ>"), |file| {
                let tokens = strings(file, "tokens");
                let place = tokens.iter().position(|other| other == token.as_bytes());
                tokens[place.expect("every byte has a token")] = b"<0xZZ>".to_vec();
            });
        }
        let last = tokens - 1;
        for id in [0, 1, tokens / 2, last] {
            self.change(format!("token {id} has the type 7"), |file| {
                types(file)[id] = 7
            });
            self.change(format!("token {id} has the type -1"), |file| {
                types(file)[id] = -1
            });
            self.change(format!("token {id} is a byte token by its type"), |file| {
                strings(file, "tokens")[id] = b"x".to_vec();
                types(file)[id] = 6;
            });
            self.change(
                format!("token {id} has a score that is not a number"),
                |file| {
                    scores(file)[id] = f32::NAN;
                },
            );
            self.change(format!("token {id} is 1,025 bytes long"), |file| {
                strings(file, "tokens")[id] = vec![b'x'; 1025];
            });
            self.change(format!("added token {id} is not UTF-8"), |file| {
                strings(file, "tokens")[id] = vec![0xff];
                types(file)[id] = 4;
            });
        }
        self.change("a score too few", |file| scores(file).truncate(last));
        self.change("a score too many", |file| scores(file).push(0.0));
        self.change("a type too few", |file| types(file).truncate(last));
        self.change("a type too many", |file| types(file).push(1));
        self.change("a token too few", |file| {
            drop(strings(file, "tokens").pop())
        });
        self.change("no tokens", |file| strings(file, "tokens").clear());
    }
}

fn value<'a>(file: &'a mut File, name: &str) -> &'a mut Value {
    let key = format!("tokenizer.ggml.{name}");
    let pair = file.metadata.iter_mut().find(|(other, _)| *other == key);
    &mut pair.expect("the tiny model has a vocabulary").1
}

fn strings<'a>(file: &'a mut File, name: &str) -> &'a mut Vec<Vec<u8>> {
    match value(file, name) {
        Value::Strings(strings) => strings,
        other => unreachable!("{name} is {other:?}"),
    }
}

fn scores(file: &mut File) -> &mut Vec<f32> {
    match value(file, "scores") {
        Value::F32s(scores) => scores,
        other => unreachable!("scores are {other:?}"),
    }
}

fn types(file: &mut File) -> &mut Vec<i32> {
    match value(file, "token_type") {
        Value::I32s(types) => types,
        other => unreachable!("types are {other:?}"),
    }
}
