//! The malformed models: a small correct one with one thing wrong in each.

use std::collections::HashSet;

use crate::gguf_writer::{Encoding, Field, FieldKind, File, Layout, Value};
use crate::tiny_model::{self, Options};

use super::Case;

/// The small correct model.
pub(super) fn model() -> File {
    tiny_model::build(&options())
}

fn options() -> Options {
    Options {
        layers: 1,
        hidden: 32,
        feed_forward: 32,
        heads: 2,
        context: 16,
        ..Options::default()
    }
}

/// Every case, in the order of the list, no two with the same bytes.
pub(super) fn all() -> Vec<Case> {
    let mut cases = Cases {
        model: model(),
        layout: model().layout(),
        group: "",
        list: Vec::new(),
        seen: HashSet::new(),
    };
    cases.files_of_other_kinds();
    cases.cut_short();
    cases.sizes();
    cases.types();
    cases.names();
    cases.keys();
    cases.keys_of_another_type();
    cases.values_out_of_range();
    cases.vocabulary();
    cases.tensors();
    cases.weights();
    cases.list
}

struct Cases {
    model: File,
    layout: Layout,
    group: &'static str,
    list: Vec<Case>,
    seen: HashSet<Vec<u8>>,
}

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
    fn add(&mut self, what: impl Into<String>, bytes: Vec<u8>) {
        if bytes != self.layout.bytes && self.seen.insert(bytes.clone()) {
            let (group, what) = (self.group, what.into());
            self.list.push(Case { group, what, bytes });
        }
    }

    /// The model with something changed before its bytes are laid out.
    fn change(&mut self, what: impl Into<String>, change: impl FnOnce(&mut File)) {
        let mut file = self.model.clone();
        change(&mut file);
        self.add(what, file.to_bytes());
    }

    /// The model with the bytes of a field written over.
    fn overwrite(&mut self, what: impl Into<String>, field: &Field, new: &[u8]) {
        let mut bytes = self.layout.bytes.clone();
        bytes[field.range.clone()][..new.len()].copy_from_slice(new);
        self.add(what, bytes);
    }

    /// The fields of a kind.
    fn fields(&self, kind: FieldKind) -> Vec<Field> {
        let fields = self.layout.fields.iter();
        fields.filter(|field| field.kind == kind).cloned().collect()
    }

    fn files_of_other_kinds(&mut self) {
        self.group = "Files of other kinds";
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
        let files: [(&str, &[u8]); 13] = [
            ("an empty file", b""),
            ("one byte", b"G"),
            ("a text", b"Hello world\n"),
            (
                "a web page",
                b"<!DOCTYPE html><html><body>404</body></html>",
            ),
            ("a Git LFS pointer", pointer.as_bytes()),
            ("a gzip file", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"),
            ("a zip file", b"PK\x03\x04\x14\x00\x00\x00\x08\x00"),
            ("a safetensors file", b"\x02\x00\x00\x00\x00\x00\x00\x00{}"),
            ("a program", b"\x7fELF\x02\x01\x01\x00"),
            ("an old ggml file", b"lmgg\x00\x00\x00\x00"),
            ("an old ggjt file", b"tjgg\x03\x00\x00\x00"),
            ("a file of zeros", &[0; 4096]),
            ("a file of ones", &[0xff; 4096]),
        ];
        for (what, bytes) in files {
            self.add(what, bytes.to_vec());
        }
        for at in 0..4 {
            self.change(format!("byte {at} of the magic in lower case"), |file| {
                file.magic[at].make_ascii_lowercase();
            });
        }
        for version in [0, 1, 4, 5, 255, 1 << 16, 1 << 24, 3 << 24, u32::MAX] {
            self.change(format!("version {version}"), |file| file.version = version);
        }
        for name in [
            "",
            "llama",
            "bert",
            "gemma3",
            "gemma-embedding2",
            "GEMMA-EMBEDDING",
        ] {
            self.change(format!("architecture \"{name}\""), |file| {
                file.set("general.architecture", Value::String(name.into()));
            });
        }
    }

    /// Before each field, and in the middle of those that are more than a number.
    fn cut_short(&mut self) {
        self.group = "Cut short";
        for field in self.layout.fields.clone() {
            let what = describe(&field);
            let (start, end) = (field.range.start, field.range.end);
            let mut cut = |place: &str, length: usize| {
                let bytes = self.layout.bytes[..length].to_vec();
                self.add(format!("cut {place} {what}, at byte {length}"), bytes);
            };
            cut("before", start);
            if end - start > 8 {
                cut("in", start + (end - start) / 2);
            }
            if field.kind == FieldKind::Data {
                cut("at the last byte of", end - 1);
            }
        }
    }

    /// Counts, lengths, dimensions and offsets.
    fn sizes(&mut self) {
        self.group = "Counts, lengths, dimensions and offsets";
        let mut fields = self.fields(FieldKind::Size);
        fields.extend(self.fields(FieldKind::Offset));
        for field in fields {
            let mut old = [0; 8];
            let length = field.range.len();
            old[..length].copy_from_slice(&self.layout.bytes[field.range.clone()]);
            let old = u64::from_le_bytes(old);
            let mut edges = vec![0, old.wrapping_sub(1), old + 1];
            edges.extend(match length {
                4 => vec![u32::MAX.into()],
                _ => vec![1 << 32, u64::MAX - 31],
            });
            for edge in edges {
                let what = format!("{} is {edge}", describe(&field));
                self.overwrite(what, &field, &edge.to_le_bytes()[..length]);
            }
        }
    }

    fn types(&mut self) {
        self.group = "Types";
        for field in self.fields(FieldKind::Type) {
            // Numbers of no type, of a type that cannot stand there, and of tensors not supported.
            let is_tensor = self.model.tensors.iter().any(|t| t.name == field.name);
            let numbers: &[u32] = match is_tensor {
                true => &[2, 3, 4, 6, 10, 12, 14, 24, 28, 31, 99, u32::MAX],
                false => &[9, 13, 255, u32::MAX],
            };
            for number in numbers {
                let what = format!("{} is {number}", describe(&field));
                self.overwrite(what, &field, &number.to_le_bytes());
            }
        }
    }

    fn names(&mut self) {
        self.group = "Names";
        for field in self.fields(FieldKind::Text).into_iter().skip(1) {
            let what = format!("{} is not UTF-8", describe(&field));
            self.overwrite(what, &field, b"\xff");
        }
        for index in 0..self.model.tensors.len() {
            let old = self.model.tensors[index].name.clone();
            let others = [
                ("empty", String::new()),
                ("in upper case", old.to_uppercase()),
                ("with a zero byte at its end", format!("{old}\0")),
                ("65 bytes long", "x".repeat(65)),
            ];
            for (what, name) in others {
                self.change(format!("the name of tensor {old} is {what}"), |file| {
                    file.tensors[index].name = name;
                });
            }
        }
        self.change("a key has an empty name", |file| {
            file.set("", Value::U32(1))
        });
        self.change("a key has a name of 65,536 bytes", |file| {
            file.set(&"k".repeat(65_536), Value::U32(1));
        });
    }

    fn keys(&mut self) {
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

    fn keys_of_another_type(&mut self) {
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

    fn values_out_of_range(&mut self) {
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

    fn vocabulary(&mut self) {
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
        self.change("a table for normalising text", |file| {
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

    fn tensors(&mut self) {
        self.group = "Tensors";
        for index in 0..self.model.tensors.len() {
            let tensor = self.model.tensors[index].clone();
            let name = tensor.name.clone();
            self.change(format!("without {name}"), |file| {
                drop(file.tensors.remove(index))
            });
            self.change(format!("{name} twice"), |file| {
                file.tensors.push(tensor.clone())
            });
            let mut extra = tensor.clone();
            extra.name = format!("{name}.extra");
            self.change(format!("{} beside {name}", extra.name), |file| {
                file.tensors.push(extra)
            });
            let mut shape = |what: &str, dims: Vec<u64>| {
                self.change(format!("{name} has {what}"), |file| {
                    file.tensors[index].dims = dims
                });
            };
            let dims = tensor.dims.clone();
            shape("no dimension", vec![]);
            shape(
                "five dimensions",
                [&dims[..], &[1; 5][dims.len()..]].concat(),
            );
            shape("one dimension more", [&dims[..], &[1]].concat());
            shape(
                "its dimensions the other way round",
                [&dims[1..], &dims[..1]].concat(),
            );
            shape(
                "all its values in one dimension",
                vec![dims.iter().product(), 1],
            );
            shape(
                "half its first dimension",
                [&[dims[0] / 2], &dims[1..]].concat(),
            );
            shape("dimensions whose product overflows", vec![1 << 32, 1 << 32]);
            self.change(format!("the data of {name} start 32 bytes early"), |file| {
                let offset = offset_of(file, index);
                file.tensors[index].offset = Some(offset.wrapping_sub(32));
            });
            self.change(format!("the data of {name} start at an odd byte"), |file| {
                file.tensors[index].offset = Some(offset_of(file, index) + 1);
            });
            self.change(format!("the data of {name} lie behind the file"), |file| {
                file.tensors[index].offset = Some(1 << 40);
            });
        }
        for name in ["dense_2.weight", "dense_3.weight"] {
            self.change(format!("{name} as a Q4_0 tensor"), |file| {
                file.tensor_mut(name).kind = 2
            });
        }
        self.change("without both dense heads", |file| {
            file.tensors
                .retain(|tensor| !tensor.name.starts_with("dense_"));
        });
    }

    /// Values that are infinite or not a number; those of matrices come to light in the forward pass.
    fn weights(&mut self) {
        self.group = "Weights that are not finite";
        // What <bos> reads of the embedding table: its row is the third.
        let bos_row = 2 * 34;
        for index in 0..self.model.tensors.len() {
            let name = self.model.tensors[index].name.clone();
            let bad: [(&str, &[u8]); 3] = match self.model.tensors[index].kind {
                kind if kind == Encoding::F32.number() => [
                    ("infinite", &[0, 0, 0x80, 0x7f]),
                    ("minus infinite", &[0, 0, 0x80, 0xff]),
                    ("not a number", &[0, 0, 0xc0, 0x7f]),
                ],
                _ => [
                    ("infinite", &[0, 0x7c]),
                    ("minus infinite", &[0, 0xfc]),
                    ("not a number", &[0, 0x7e]),
                ],
            };
            let start = if name == "token_embd.weight" {
                bos_row
            } else {
                0
            };
            for (what, bytes) in bad {
                self.change(format!("a value or scale of {name} is {what}"), |file| {
                    file.tensors[index].data[start..][..bytes.len()].copy_from_slice(bytes);
                });
            }
        }
    }
}

fn describe(field: &Field) -> String {
    let kind = match field.kind {
        FieldKind::Size => "a size of",
        FieldKind::Type => "a type of",
        FieldKind::Offset => "the offset of",
        FieldKind::Text => "the name",
        FieldKind::Value => "the value of",
        FieldKind::Data => "the data of",
    };
    format!("{kind} {}", field.name)
}

/// The offset that the file gives a tensor.
fn offset_of(file: &File, index: usize) -> u64 {
    let before = file.tensors[..index].iter();
    let lengths = before.map(|tensor| tensor.data.len().next_multiple_of(file.alignment));
    lengths.sum::<usize>() as u64
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
