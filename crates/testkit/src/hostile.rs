//! Malformed models: a small correct one with one thing wrong in each.

mod bert;
mod gemma2;
mod keys;
mod pre_norm;
mod unigram;
mod vocabulary;

use std::collections::HashSet;

use crate::gguf_writer::{Encoding, Field, FieldKind, File, Layout, Value};
use crate::tiny_model::{self, Options};

/// A malformed model.
#[derive(Clone, Debug)]
pub struct Case {
    /// The kind of damage.
    pub group: &'static str,
    /// What is wrong with it.
    pub what: String,
    /// The file.
    pub bytes: Vec<u8>,
}

/// The model without damage.
pub fn model() -> File {
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

/// A model of each family and kind of tokenizer without damage.
pub fn models() -> [File; 7] {
    let [bert, nomic] = bert::models();
    let [qwen3, modern_bert] = pre_norm::models();
    let (gemma2, unigram) = (gemma2::model(), unigram::model());
    [model(), bert, nomic, gemma2, qwen3, modern_bert, unigram]
}

/// All malformed models, always the same ones in the same order, no two with the same bytes.
pub fn cases() -> Vec<Case> {
    let mut cases = Cases::of(model());
    cases.files_of_other_kinds();
    cases.cut_short();
    cases.sizes();
    cases.types();
    cases.names();
    cases.keys();
    cases.keys_of_another_type();
    cases.values_out_of_range();
    cases.vocabulary();
    cases.tensors("Tensors");
    cases.dense_heads();
    // What <bos> reads of the embedding table: its row is the third.
    cases.weights("Weights that are not finite", 2 * 34);
    let others = [
        bert::cases(),
        gemma2::cases(),
        pre_norm::cases(),
        unigram::cases(),
    ];
    [cases.list, others.concat()].concat()
}

struct Cases {
    model: File,
    layout: Layout,
    group: &'static str,
    list: Vec<Case>,
    seen: HashSet<Vec<u8>>,
}

impl Cases {
    /// None yet, of a model.
    fn of(model: File) -> Self {
        Self {
            layout: model.layout(),
            model,
            group: "",
            list: Vec::new(),
            seen: HashSet::new(),
        }
    }

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
                true => &[4, 9, 10, 12, 14, 23, 24, 28, 31, 99, u32::MAX],
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

    fn tensors(&mut self, group: &'static str) {
        self.group = group;
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
    }

    fn dense_heads(&mut self) {
        for name in ["dense_2.weight", "dense_3.weight"] {
            self.change(format!("{name} as a Q2_K tensor"), |file| {
                file.tensor_mut(name).kind = 10;
            });
        }
        self.change("without both dense heads", |file| {
            file.tensors
                .retain(|tensor| !tensor.name.starts_with("dense_"));
        });
    }

    /// Values that are infinite or not a number; those of matrices come to light in the forward
    /// pass, those of the embedding table in the row at byte `bos_row`.
    fn weights(&mut self, group: &'static str, bos_row: usize) {
        self.group = group;
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
