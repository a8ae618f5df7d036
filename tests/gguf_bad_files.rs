//! Damaged, foreign and unsupported files: each gives an error that names file, field and remedy.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use lanewise::internals::gguf::{Gguf, Value as Read};
use lanewise::internals::models;
use lanewise::{Error, Result};
use lanewise_testkit::gguf_writer::{Encoding, File, Value};
use lanewise_testkit::scratch;
use lanewise_testkit::tiny_model::{self, Options};

/// A path that no other test of this file uses.
fn path_of(name: &str) -> PathBuf {
    scratch!(format!("{name}.gguf"))
}

fn tiny() -> File {
    // Built once: under Miri that takes most of the time.
    static TINY: LazyLock<File> = LazyLock::new(|| tiny_model::build(&Options::default()));
    TINY.clone()
}

/// Everything that is read of a file before a text is embedded, and then all the rest.
fn load(path: &Path) -> Result<()> {
    models::verify(&*models::open(path)?)
}

/// Asserts that `bytes` as a model file are refused with this field and a problem that contains
/// `problem`.
#[track_caller]
fn assert_refused(name: &str, bytes: &[u8], field: &str, problem: &str) {
    let path = path_of(name);
    std::fs::write(&path, bytes).unwrap();
    assert_refused_at(&path, field, problem);
    std::fs::remove_file(&path).unwrap();
}

#[track_caller]
fn assert_refused_at(path: &Path, field: &str, problem: &str) {
    let error = load(path).expect_err("the file must be refused");
    let message = error.to_string();
    let Error::File {
        path: named,
        field: named_field,
        problem: named_problem,
        remedy,
    } = error
    else {
        panic!("another kind of error: {message}");
    };
    assert_eq!(named, path);
    assert_eq!(named_field, field, "{message}");
    assert!(named_problem.contains(problem), "{message}");
    assert!(remedy.len() > 10, "no remedy: {message}");
    for part in [&path.display().to_string(), field, problem, &remedy] {
        assert!(message.contains(part), "{message} lacks {part}");
    }
}

/// Asserts that the tiny model, changed by `change`, is refused.
#[track_caller]
fn assert_change_refused(name: &str, change: impl FnOnce(&mut File), field: &str, problem: &str) {
    let mut file = tiny();
    change(&mut file);
    assert_refused(name, &file.to_bytes(), field, problem);
}

fn key(name: &str) -> String {
    format!("gemma-embedding.{name}")
}

#[test]
fn a_missing_path_is_named_with_what_to_do() {
    let path = path_of("missing");
    let error = load(&path).unwrap_err();
    assert!(matches!(error, Error::Io { .. }));
    let message = error.to_string();
    assert!(
        message.starts_with(&path.display().to_string()),
        "{message}"
    );
    assert!(message.contains("check the path"), "{message}");
}

#[test]
fn a_directory_is_refused() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    assert_refused_at(directory, "file", "is a directory");
}

#[cfg(unix)]
#[test]
fn a_device_is_refused_without_waiting_for_it() {
    assert_refused_at(Path::new("/dev/zero"), "file", "is a device or a pipe");
}

#[test]
fn files_that_are_not_gguf_are_refused() {
    assert_refused("empty", b"", "file", "is empty");
    assert_refused("short", b"GG", "magic", "is \"GG\"");
    assert_refused("text", b"version https://git-lfs", "magic", "is \"vers\"");
    assert_refused("magic-only", b"GGUF", "version", "needs 4 bytes");
}

#[test]
fn other_versions_and_big_endian_files_are_refused() {
    let version = |name: &str, version: u32, problem: &str| {
        assert_change_refused(name, |file| file.version = version, "version", problem);
    };
    version("version-1", 1, "is 1; 2 and 3 are supported");
    version("version-4", 4, "is 4");
    version("version-0", 0, "is 0");
    version("version-big-endian", 3u32.swap_bytes(), "big-endian");
}

#[test]
fn absurd_counts_are_refused_before_anything_is_allocated() {
    let absurd = |name: &str, count: u64, problem: &str| {
        let tensors = |file: &mut File| file.tensor_count = Some(count);
        assert_change_refused(&format!("tensors-{name}"), tensors, "tensor count", problem);
        let keys = |file: &mut File| file.metadata_count = Some(count);
        assert_change_refused(&format!("keys-{name}"), keys, "metadata count", problem);
    };
    absurd("most", u64::MAX, "above the limit");
    absurd("many", 65_537, "above the limit");
    let empty = File {
        metadata_count: Some(65_536),
        ..File::default()
    };
    assert_refused(
        "keys-none",
        &empty.to_bytes()[..24],
        "metadata key 0",
        "needs 8 bytes",
    );
}

#[test]
fn absurd_lengths_are_refused() {
    let raw = |name: &str, kind: u32, bytes: Vec<u8>, problem: &str| {
        let change = |file: &mut File| file.set("raw", Value::Raw(kind, bytes));
        assert_change_refused(name, change, "raw", problem);
    };
    let array = |element: u32, count: u64| {
        let mut bytes = element.to_le_bytes().to_vec();
        bytes.extend(count.to_le_bytes());
        bytes
    };
    raw(
        "string-length",
        8,
        u64::MAX.to_le_bytes().into(),
        "needs 18446744073709551615 bytes",
    );
    raw(
        "array-count",
        9,
        array(10, u64::MAX),
        "claims 18446744073709551615 values of type u64",
    );
    raw("array-overflow", 9, array(10, u64::MAX / 8 + 2), "claims");
    raw("strings-count", 9, array(8, u64::MAX), "claims");
    let mut strings = array(8, 1);
    strings.extend(u64::MAX.to_le_bytes());
    raw(
        "strings-length",
        9,
        strings,
        "needs 18446744073709551615 bytes",
    );
    raw("array-of-arrays", 9, array(9, 1), "array of arrays");
    raw("array-of-unknown", 9, array(13, 1), "unknown value type 13");
    raw("value-type", 13, vec![], "unknown value type 13");
    raw("bool", 7, vec![2], "bool with the value 2");
    let long_key = |file: &mut File| file.metadata[0].0 = "k".repeat(65_536);
    assert_change_refused(
        "key-length",
        long_key,
        "metadata key 0",
        "above the limit of 65535",
    );
    let no_key = |file: &mut File| file.metadata[0].0.clear();
    assert_change_refused("key-empty", no_key, "metadata key 0", "is empty");
}

#[test]
fn a_key_or_tensor_given_twice_is_refused() {
    let twice = |file: &mut File| file.metadata.push(("general.name".into(), Value::U32(1)));
    assert_change_refused("key-twice", twice, "general.name", "is there twice");
    let twice = |file: &mut File| file.tensors.push(file.tensors[1].clone());
    assert_change_refused(
        "tensor-twice",
        twice,
        "tensor blk.0.attn_norm.weight",
        "is there twice",
    );
}

#[test]
fn an_impossible_alignment_is_refused() {
    for (name, value) in [("0", 0), ("3", 3), ("4", 4), ("48", 48), ("huge", 1 << 31)] {
        let change = |file: &mut File| file.set("general.alignment", Value::U32(value));
        let problem = "not a power of two";
        assert_change_refused(
            &format!("alignment-{name}"),
            change,
            "general.alignment",
            problem,
        );
    }
    let change = |file: &mut File| file.set("general.alignment", Value::String("32".into()));
    assert_change_refused(
        "alignment-string",
        change,
        "general.alignment",
        "type string, not u32",
    );
}

#[test]
fn tensors_of_impossible_shape_or_name_are_refused() {
    let shape = |name: &str, dims: &[u64], problem: &str| {
        let change = |file: &mut File| file.tensors[0].dims = dims.to_vec();
        assert_change_refused(name, change, "tensor token_embd.weight", problem);
    };
    shape("dims-none", &[], "has 0 dimensions");
    shape("dims-five", &[32; 5], "has 5 dimensions");
    shape("dims-zero", &[64, 0], "impossible shape [64, 0]");
    shape("dims-overflow", &[1 << 32, 1 << 32], "impossible shape");
    shape("dims-bytes-overflow", &[1 << 63, 1], "bytes");
    shape(
        "dims-33",
        &[33, 2],
        "rows of 33 values, which Q8_0 cannot hold",
    );
    let long = |file: &mut File| file.tensors[0].name = "n".repeat(65);
    assert_change_refused(
        "name-long",
        long,
        "name of tensor 0",
        "above the limit of 64",
    );
}

#[test]
fn tensors_outside_the_file_or_over_each_other_are_refused() {
    const NAME: &str = "output_norm.weight";
    const FIELD: &str = "tensor output_norm.weight";
    let offset = |name: &str, offset: u64, problem: &str| {
        let change = |file: &mut File| file.tensor_mut(NAME).offset = Some(offset);
        assert_change_refused(name, change, FIELD, problem);
    };
    offset("offset-beyond", 1 << 40, "but the file ends");
    offset("offset-overflow", u64::MAX - 31, "but the file ends");
    offset("offset-misaligned", 16, "not at a multiple of 32");
    offset("offset-overlap", 32, "overlaps tensor token_embd.weight");
    let same_place = |file: &mut File| {
        file.tensor_mut(NAME).kind = 10;
        file.tensor_mut(NAME).offset = Some(0);
    };
    assert_change_refused(
        "overlap-unknown",
        same_place,
        "tensor token_embd.weight",
        "overlaps",
    );
}

#[test]
fn a_file_cut_short_anywhere_is_refused() {
    let bytes = small().to_bytes();
    let path = path_of("cut");
    let lengths = (0..bytes.len() - 32).step_by(if cfg!(miri) { 997 } else { 13 });
    for length in lengths {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let message = load(&path).expect_err("cut short").to_string();
        assert!(
            message.contains("fetch it again") || length < 4,
            "{length}: {message}"
        );
    }
}

#[test]
fn no_damaged_header_makes_the_reader_panic() {
    let mut bytes = small().to_bytes();
    let header = bytes.len() - small().tensors.iter().map(|t| t.data.len()).sum::<usize>();
    let path = path_of("damaged");
    let mut refused = 0;
    let rounds = if cfg!(miri) { 40 } else { 4000usize };
    for round in 0..rounds {
        // A stride without a common factor reaches every part of the header; values that are
        // likely to be taken for lengths are tried as well as any.
        let at = round * 7919 % header;
        let before = bytes[at];
        bytes[at] = [0, 1, 9, 0x7f, 0x80, 0xff, before ^ 1, round as u8][round % 8];
        std::fs::write(&path, &bytes).unwrap();
        refused += usize::from(load(&path).is_err());
        if let Ok(gguf) = Gguf::open(&path) {
            for (_, value) in gguf.metadata() {
                if let Read::Array(array) = value {
                    assert!(gguf.strings(array).is_none_or(|s| s.count() == array.len()));
                }
            }
        }
        bytes[at] = before;
    }
    assert!(
        refused > rounds / 10,
        "only {refused} refused: the damage misses the header"
    );
}

/// A file small enough to be written thousands of times.
fn small() -> File {
    static SMALL: LazyLock<File> = LazyLock::new(|| {
        tiny_model::build(&Options {
            layers: 1,
            hidden: 32,
            feed_forward: 32,
            heads: 1,
            no_dense: true,
            ..Options::default()
        })
    });
    SMALL.clone()
}

#[test]
fn another_architecture_is_refused() {
    let change = |file: &mut File| file.set("general.architecture", Value::String("llama".into()));
    assert_change_refused("llama", change, "general.architecture", "is \"llama\"");
    let change = |file: &mut File| file.set("general.architecture", Value::U32(1));
    assert_change_refused(
        "arch-number",
        change,
        "general.architecture",
        "not a string",
    );
}

#[test]
fn a_missing_hyperparameter_is_named() {
    for name in [
        "general.architecture",
        "tokenizer.ggml.tokens",
        &key("block_count"),
        &key("context_length"),
        &key("embedding_length"),
        &key("feed_forward_length"),
        &key("attention.head_count"),
        &key("attention.head_count_kv"),
        &key("attention.layer_norm_rms_epsilon"),
        &key("attention.sliding_window"),
        &key("rope.freq_base"),
        &key("pooling_type"),
    ] {
        let change = |file: &mut File| file.remove(name);
        assert_change_refused(&format!("without-{name}"), change, name, "is missing");
    }
}

#[test]
fn an_impossible_hyperparameter_is_named() {
    let refused = |name: &str, value: Value, problem: &str| {
        let file_name = format!("value-{name}-{}", problem.replace(' ', "-"));
        let change = |file: &mut File| file.set(&key(name), value);
        assert_change_refused(&file_name, change, &key(name), problem);
    };
    for name in [
        "block_count",
        "context_length",
        "embedding_length",
        "feed_forward_length",
        "attention.head_count",
        "attention.head_count_kv",
        "attention.key_length",
        "attention.sliding_window",
    ] {
        refused(name, Value::U32(0), "is 0");
        refused(name, Value::U32(u32::MAX), "is 4294967295, not from");
        refused(name, Value::String("1".into()), "is of type string");
        refused(
            name,
            Value::Raw(5, (-1i32).to_le_bytes().into()),
            "is -1 (i32)",
        );
    }
    for name in [
        "attention.layer_norm_rms_epsilon",
        "rope.freq_base",
        "rope.freq_base_swa",
    ] {
        refused(name, Value::F32(f32::NAN), "is NaN");
        refused(name, Value::F32(f32::INFINITY), "is inf");
        refused(name, Value::F32(0.0), "is 0");
        refused(name, Value::U32(1), "is 1 (u32)");
    }
    refused("embedding_length", Value::U32(65), "not a multiple of 32");
    refused(
        "feed_forward_length",
        Value::U32(97),
        "not a multiple of 32",
    );
    refused(
        "attention.key_length",
        Value::U32(48),
        "not a multiple of 32",
    );
    refused(
        "attention.value_length",
        Value::U32(64),
        "but key_length is 32",
    );
    refused(
        "attention.head_count_kv",
        Value::U32(2),
        "does not divide head_count",
    );
    refused("pooling_type", Value::U32(2), "only 1 (mean)");
    refused("attention.causal", Value::Bool(true), "bidirectional");
    refused("rope.dimension_count", Value::U32(16), "RoPE turns all 32");
    refused(
        "rope.scaling.type",
        Value::String("yarn".into()),
        "not scaled here",
    );
}

#[test]
fn a_tensor_that_does_not_fit_the_hyperparameters_is_named() {
    let deeper = |file: &mut File| file.set(&key("block_count"), Value::U32(3));
    assert_change_refused(
        "deeper",
        deeper,
        "tensor blk.2.attn_norm.weight",
        "is missing",
    );
    let shallower = |file: &mut File| file.set(&key("block_count"), Value::U32(1));
    assert_change_refused(
        "shallower",
        shallower,
        "tensor blk.1.attn_norm.weight",
        "is not part of",
    );
    let wider = |file: &mut File| file.set(&key("feed_forward_length"), Value::U32(128));
    let problem = "has the shape [64, 96], not [64, 128]";
    assert_change_refused("wider", wider, "tensor blk.0.ffn_gate.weight", problem);
    let turned = |file: &mut File| file.tensor_mut("blk.0.ffn_up.weight").dims.reverse();
    assert_change_refused(
        "turned",
        turned,
        "tensor blk.0.ffn_up.weight",
        "has the shape [96, 64]",
    );
    let one_head = |file: &mut File| {
        file.tensors
            .retain(|tensor| tensor.name != "dense_3.weight")
    };
    assert_change_refused("one-head", one_head, "tensor dense_3.weight", "is missing");
    let one_head = |file: &mut File| {
        file.tensors
            .retain(|tensor| tensor.name != "dense_2.weight")
    };
    assert_change_refused(
        "other-head",
        one_head,
        "tensor dense_2.weight",
        "is missing",
    );
    let bias = |file: &mut File| file.push("blk.0.attn_q.bias", &[96], Encoding::F32, &[0.0; 96]);
    assert_change_refused("bias", bias, "tensor blk.0.attn_q.bias", "is not part of");
}

#[test]
fn an_unsupported_tensor_type_is_named_with_those_supported() {
    for (number, name) in [
        (10, "Q2_K"),
        (11, "Q3_K"),
        (23, "IQ4_XS"),
        (4711, "number 4711"),
    ] {
        let change = |file: &mut File| file.tensor_mut("blk.1.ffn_up.weight").kind = number;
        let problem = format!("is of type {name}; supported are Q8_0, F32, F16, BF16, Q4_0,");
        let field = "tensor blk.1.ffn_up.weight";
        assert_change_refused(&format!("type-{number}"), change, field, &problem);
    }
    let change = |file: &mut File| {
        let norm = file.tensor_mut("blk.1.ffn_norm.weight");
        norm.kind = Encoding::Q8_0.number();
        norm.data.truncate(68);
    };
    assert_change_refused(
        "norm-q8_0",
        change,
        "tensor blk.1.ffn_norm.weight",
        "is of type Q8_0",
    );
}

#[test]
fn weights_that_are_not_numbers_are_named_with_their_row() {
    let norm = |file: &mut File| {
        let data = &mut file.tensor_mut("blk.1.attn_q_norm.weight").data;
        data[12..16].copy_from_slice(&f32::NAN.to_le_bytes());
    };
    assert_change_refused(
        "nan-norm",
        norm,
        "tensor blk.1.attn_q_norm.weight",
        "value 3 is NaN",
    );
    for (encoding, row_bytes, infinity, problem) in [
        (Encoding::Q8_0, 68, &[0x00, 0x7c][..], "row 5 has a scale"),
        (Encoding::F16, 128, &[0x00, 0xfc][..], "row 5 has a value"),
        (Encoding::Bf16, 128, &[0xc0, 0x7f][..], "row 5 has a value"),
        (
            Encoding::F32,
            256,
            &[0, 0, 0xc0, 0xff][..],
            "row 5 has a value",
        ),
    ] {
        let mut file = tiny_model::build(&Options {
            encoding,
            ..Options::default()
        });
        let data = &mut file.tensor_mut("blk.1.ffn_up.weight").data;
        data[5 * row_bytes..][..infinity.len()].copy_from_slice(infinity);
        let field = "tensor blk.1.ffn_up.weight";
        assert_refused(
            &format!("infinite-{encoding:?}"),
            &file.to_bytes(),
            field,
            problem,
        );
    }
}
