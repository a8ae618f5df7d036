//! What is wrong with a directory is said with the file, the field and the remedy, and there is no
//! output.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use lanewise_convert::{ConvertJob, Error, Pooling, WeightType};
use lanewise_testkit::checkpoint::{
    Directory, Tensor, safetensors, safetensors_bytes, tiny_bert, tiny_bert_tensors,
};
use lanewise_testkit::random::Random;

fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bad-{name}"))
}

fn job(directory: &Directory) -> ConvertJob {
    let mut output = directory.path().as_os_str().to_owned();
    output.push(".gguf");
    ConvertJob {
        directory: directory.path().into(),
        output: output.into(),
        weights: WeightType::Q8_0,
        name: None,
        pooling: None,
        dense_heads: true,
        force: true,
    }
}

/// The message, after checking that nothing is left behind.
#[track_caller]
fn message(job: &ConvertJob) -> String {
    let _ = fs::remove_file(&job.output);
    let error = job.run(&mut go_on).expect_err("is refused");
    assert!(!job.output.exists(), "there is an output");
    let parent = job.output.parent().unwrap();
    let name = job.output.file_name().unwrap().to_str().unwrap();
    let begins = |entry: fs::DirEntry| entry.file_name().to_str().unwrap().starts_with(name);
    let left = fs::read_dir(parent).unwrap().flatten().any(begins);
    assert!(!left, "a temporary file is left");
    error.to_string()
}

fn go_on(_done: u64, _total: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[track_caller]
fn assert_says(directory: &Directory, parts: &[&str]) {
    let message = message(&job(directory));
    for part in parts {
        assert!(message.contains(part), "no {part:?} in {message:?}");
    }
    assert!(message.len() < 700, "{message}");
}

#[test]
fn a_sound_directory_is_converted() {
    let directory = tiny_bert(scratch("sound"));
    let converted = job(&directory).run(&mut go_on).unwrap();
    let length = fs::metadata(job(&directory).output).unwrap().len();
    assert_eq!((converted.tensors, converted.bytes), (21, length));
}

#[test]
fn missing_files_are_named() {
    for (file, parts) in [
        ("config.json", ["config.json: is missing", "Hugging Face"]),
        (
            "tokenizer.json",
            ["tokenizer.json: cannot read", "fetch the whole directory"],
        ),
        (
            "model.safetensors",
            ["model.safetensors: is missing", "fetch the whole directory"],
        ),
        (
            "1_Pooling/config.json",
            ["1_Pooling/config.json: cannot read", "fetch"],
        ),
    ] {
        let directory = tiny_bert(scratch("missing"));
        directory.remove(file);
        assert_says(&directory, &parts);
    }
    let nowhere = Directory(scratch("nowhere"));
    assert_says(&nowhere, &["nowhere: cannot read"]);
}

#[test]
fn pickles_and_other_files_instead_of_safetensors_are_named() {
    for (file, remedy) in [
        ("pytorch_model.bin", "run code"),
        ("weights.ckpt", "run code"),
        ("model.onnx", "fetch model.safetensors"),
        ("model.gguf", "name it instead of the directory"),
        ("model-00001-of-00002.safetensors", "index"),
    ] {
        let directory = tiny_bert(scratch("pickle"));
        directory.remove("model.safetensors").file(file, b"x");
        assert_says(&directory, &["model.safetensors: is missing", file, remedy]);
    }
    for (bytes, kind) in [
        (&b"PK\x03\x04........"[..], "zip archive"),
        (b"\x80\x02ccollections", "pickle"),
        (
            b"version https://git-lfs.github.com/spec/v1",
            "Git LFS pointer",
        ),
        (b"<!doctype html>", "web page"),
        (b"GGUF....", "GGUF"),
        (b"short", "no header"),
    ] {
        let directory = tiny_bert(scratch("other"));
        directory.file("model.safetensors", bytes);
        assert_says(&directory, &["model.safetensors: ", kind]);
    }
}

#[test]
fn a_header_that_lies_is_refused_by_tensor_and_field() {
    let entry = |dtype: &str, shape: &str, offsets: &str| {
        format!("\"x\":{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":{offsets}}}")
    };
    let sound = entry("F32", "[2]", "[0,8]");
    let other = sound.replace("\"x\"", "\"y\"");
    let many = ["1"; 9].join(",");
    for (header, data, part) in [
        ("{".into(), 0, "is not the JSON"),
        ("[]".into(), 0, "an object with an entry for each tensor"),
        (
            format!("{{{}}}", entry("F32", "[3]", "[0,8]")),
            8,
            "tensor x: lies at 0 to 8",
        ),
        (
            format!("{{{}}}", entry("F32", "[2]", "[8,0]")),
            8,
            "tensor x: lies at 8 to 0",
        ),
        (
            format!("{{{}}}", entry("F32", "[2]", "[0,9]")),
            9,
            "tensor x: lies at",
        ),
        (
            format!("{{{}}}", entry("F32", "[4294967296,4294967296]", "[0,0]")),
            0,
            "lies at",
        ),
        (
            format!("{{{}}}", entry("F32", "[-2]", "[0,8]")),
            8,
            "is not the JSON",
        ),
        (
            format!("{{{}}}", entry("Q4", "[2]", "[0,1]")),
            1,
            "stored as \"Q4\"",
        ),
        (
            format!("{{{}}}", entry("F32", &format!("[{many}]"), "[0,4]")),
            4,
            "9 dimensions",
        ),
        (format!("{{{sound}}}"), 4, "the file ends after 4 bytes"),
        (format!("{{{sound}}}"), 12, "4 bytes after its last tensor"),
        (
            format!("{{{sound},{sound}}}"),
            8,
            "tensor x: is there twice",
        ),
        (
            format!("{{{sound},{other}}}"),
            8,
            "overlaps the tensor before it",
        ),
        (
            format!("{{{sound},{}}}", other.replace("[0,8]", "[12,20]")),
            20,
            "tensor y: begins at 12, 4 bytes after",
        ),
    ] {
        let directory = tiny_bert(scratch("header"));
        directory.file(
            "model.safetensors",
            safetensors_bytes(&header, &vec![0; data]),
        );
        assert_says(&directory, &["model.safetensors: ", part]);
    }
    let directory = tiny_bert(scratch("header"));
    let mut bytes = safetensors(&tiny_bert_tensors());
    bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    directory.file("model.safetensors", bytes);
    assert_says(
        &directory,
        &["header length: is 18446744073709551615, but only"],
    );
}

#[test]
fn a_header_of_json_within_json_ends_without_a_stack_overflow() {
    let deep = format!("{{\"x\":{}", "[".repeat(100_000));
    let directory = tiny_bert(scratch("deep"));
    directory.file("model.safetensors", safetensors_bytes(&deep, &[]));
    assert_says(&directory, &["model.safetensors: JSON"]);
    for file in ["config.json", "tokenizer.json", "modules.json"] {
        let directory = tiny_bert(scratch("deep"));
        directory.file(file, &deep);
        assert_says(&directory, &[file, "JSON"]);
    }
}

#[test]
fn files_beyond_every_real_size_are_refused_unread() {
    for (file, length) in [
        ("config.json", 9 << 20),
        ("tokenizer.json", 129 << 20),
        ("modules.json", 9 << 20),
    ] {
        let directory = tiny_bert(scratch("large"));
        let path = directory.path().join(file);
        // A hole: it takes no space on the disk.
        fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(length)
            .unwrap();
        assert_says(&directory, &[file, "more than"]);
    }
}

#[test]
fn tensors_that_do_not_fit_the_model_are_named() {
    let edited = |edit: &dyn Fn(&mut Vec<Tensor>)| {
        let mut tensors = tiny_bert_tensors();
        edit(&mut tensors);
        let directory = tiny_bert(scratch("tensors"));
        directory.file("model.safetensors", safetensors(&tensors));
        directory
    };
    let directory = edited(&|tensors| tensors.retain(|t| !t.name.ends_with("key.bias")));
    assert_says(
        &directory,
        &["tensor encoder.layer.0.attention.self.key.bias: is in no"],
    );
    let directory = edited(&|tensors| tensors.push(Tensor::random("encoder.lora_A", &[4])));
    assert_says(&directory, &["tensor encoder.lora_A: has no place"]);
    let directory = edited(&|tensors| tensors[1].shape = vec![32, 16]);
    assert_says(
        &directory,
        &[
            "position_embeddings.weight: has the shape [32, 16]",
            "[16, 32]",
        ],
    );
    let directory = edited(&|tensors| tensors[0].values[5] = f32::NAN);
    assert_says(&directory, &["word_embeddings.weight: holds NaN"]);
    let directory = edited(&|tensors| tensors[0].values[5] = 1e30);
    assert_says(&directory, &["word_embeddings.weight: holds", "too large"]);

    let directory = tiny_bert(scratch("dtype"));
    let path = directory.path().join("model.safetensors");
    let mut tensors = fs::read(&path).unwrap();
    let at = tensors
        .windows(5)
        .position(|window| window == b"\"F32\"")
        .unwrap();
    tensors[at..at + 5].copy_from_slice(b"\"I32\"");
    fs::write(&path, tensors).unwrap();
    assert_says(
        &directory,
        &[
            "word_embeddings.weight: is stored as I32",
            "F32, F16 or BF16",
        ],
    );
}

#[test]
fn shards_that_are_missing_or_outside_are_named() {
    let tensors = tiny_bert_tensors();
    let (first, second) = tensors.split_at(8);
    let index = |name: &dyn Fn(&Tensor) -> &'static str| {
        let entries: Vec<String> = tensors
            .iter()
            .map(|tensor| format!("\"{}\":\"{}\"", tensor.name, name(tensor)))
            .collect();
        format!("{{\"weight_map\":{{{}}}}}", entries.join(","))
    };
    let is_first = |tensor: &Tensor| first.iter().any(|other| other.name == tensor.name);
    let shard = |tensor: &Tensor| {
        if is_first(tensor) {
            "a.safetensors"
        } else {
            "b.safetensors"
        }
    };
    const INDEX: &str = "model.safetensors.index.json";
    let sharded = || {
        let directory = tiny_bert(scratch("shards"));
        directory
            .remove("model.safetensors")
            .file(INDEX, index(&shard))
            .file("a.safetensors", safetensors(first))
            .file("b.safetensors", safetensors(second));
        directory
    };
    let whole = tiny_bert(scratch("whole"));
    let mut jobs = [job(&sharded()), job(&whole)];
    for job in &mut jobs {
        job.name = Some("the same".into());
        job.run(&mut go_on).unwrap();
    }
    let [a, b] = jobs.map(|job| fs::read(job.output).unwrap());
    assert!(a == b, "shards and a single file give different files");

    let directory = sharded();
    directory.remove("b.safetensors");
    assert_says(
        &directory,
        &[INDEX, "names the file b.safetensors, which is missing"],
    );
    let directory = sharded();
    directory.file(INDEX, index(&|_| "../a.safetensors"));
    assert_says(&directory, &[INDEX, "not in the directory"]);
    let directory = sharded();
    directory.file(INDEX, index(&|_| "a.safetensors"));
    assert_says(&directory, &["a.safetensors", "is not in"]);
    let directory = sharded();
    directory.file(INDEX, "{\"weight_map\":{}}");
    assert_says(&directory, &[INDEX, "names 0 files"]);
}

#[test]
fn other_architectures_are_refused_with_those_supported() {
    for (name, part) in [
        ("LlamaForCausalLM", "a model that writes text"),
        (
            "ModernBertForSequenceClassification",
            "a classifier or reranker",
        ),
        ("CLIPModel", "is \"CLIPModel\", which is not converted"),
    ] {
        let directory = tiny_bert(scratch("architecture"));
        directory.edit("config.json", "BertModel", name);
        assert_says(
            &directory,
            &["config.json: architectures: ", part, "Gemma3TextModel"],
        );
    }
    let directory = tiny_bert(scratch("architecture"));
    directory.edit("config.json", "[\"BertModel\"]", "null");
    assert_says(&directory, &["config.json: architectures: is missing"]);
}

#[test]
fn a_config_that_means_another_computation_is_refused() {
    for (from, to, part) in [
        (
            "\"gelu\"",
            "\"gelu_new\"",
            "hidden_act: is \"gelu_new\", and nothing but \"gelu\"",
        ),
        (
            "\"absolute\"",
            "\"relative_key\"",
            "position_embedding_type",
        ),
        (
            "\"hidden_size\":32",
            "\"hidden_size\":0",
            "hidden_size: is 0, not a number from 1",
        ),
        (
            "\"hidden_size\":32",
            "\"hidden_size\":\"32\"",
            "hidden_size: is \"32\"",
        ),
        (
            "\"num_attention_heads\":2",
            "\"num_attention_heads\":3",
            "does not divide",
        ),
        (
            "\"vocab_size\":12",
            "\"vocab_size\":11",
            "has the id 11, but the model has 11 tokens",
        ),
        (
            "\"num_hidden_layers\":1",
            "\"num_hidden_layers\":2",
            "encoder.layer.1",
        ),
        ("1e-12", "-1", "layer_norm_eps"),
    ] {
        let directory = tiny_bert(scratch("config"));
        directory.edit("config.json", from, to);
        assert_says(&directory, &[part]);
    }
}

#[test]
fn another_tokenizer_is_refused_by_its_step() {
    for (from, to, part) in [
        (
            "BertNormalizer",
            "NFKC",
            "normalizer.type: is \"NFKC\", not \"BertNormalizer\"",
        ),
        ("BertPreTokenizer", "Whitespace", "pre_tokenizer.type"),
        (
            "\"clean_text\":true",
            "\"clean_text\":false",
            "normalizer.clean_text",
        ),
        (
            "\"WordPiece\"",
            "\"BPE\"",
            "model.type: is \"BPE\", not WordPiece or Unigram",
        ),
        (
            "TemplateProcessing",
            "Other",
            "post_processor: puts [] before a text",
        ),
        ("\"[CLS]\":2", "\"[XLS]\":2", "post_processor"),
        (
            "per_word\":100",
            "per_word\":50",
            "max_input_chars_per_word: is 50, not 100",
        ),
    ] {
        let directory = tiny_bert(scratch("tokenizer"));
        directory.edit("tokenizer.json", from, to);
        if part == "post_processor" {
            // The vocabulary lacks the token, but the added tokens have it.
            job(&directory).run(&mut go_on).unwrap();
        } else {
            assert_says(&directory, &["tokenizer.json: ", part]);
        }
    }
}

#[test]
fn pooling_is_never_guessed() {
    let directory = tiny_bert(scratch("pooling"));
    directory
        .remove("modules.json")
        .remove("1_Pooling/config.json");
    assert_says(&directory, &["names no pooling module", "say which"]);
    let mut named = job(&directory);
    named.pooling = Some(Pooling::Cls);
    named.run(&mut go_on).unwrap();

    let directory = tiny_bert(scratch("pooling"));
    let mut contradicting = job(&directory);
    contradicting.pooling = Some(Pooling::Cls);
    assert!(message(&contradicting).contains("is mean, and you ask for cls"));
    for (config, part) in [
        (
            "{\"pooling_mode_max_tokens\":true}",
            "pooling_mode_max_tokens: is not supported",
        ),
        ("{}", "names no way of pooling"),
        (
            "{\"pooling_mode_mean_tokens\":true,\"pooling_mode_cls_token\":true}",
            "several ways of pooling",
        ),
        (
            "{\"pooling_mode_mean_tokens\":true,\"include_prompt\":false}",
            "include_prompt",
        ),
    ] {
        let directory = tiny_bert(scratch("pooling"));
        directory.file("1_Pooling/config.json", config);
        assert_says(&directory, &["1_Pooling/config.json", part]);
    }
}

#[test]
fn modules_that_change_vectors_are_refused() {
    for (class, part) in [
        ("Dense", "late-interaction"),
        ("LayerNorm", "is of the type \"LayerNorm\""),
        ("../x", "is of the type"),
    ] {
        let directory = tiny_bert(scratch("modules"));
        directory.edit("modules.json", "models.Pooling", &format!("models.{class}"));
        assert_says(&directory, &["modules.json: module 1: ", part]);
    }
    let directory = tiny_bert(scratch("modules"));
    directory.edit("modules.json", "1_Pooling", "../../etc");
    assert_says(
        &directory,
        &["module 1: has the path", "outside of the directory"],
    );
    let directory = tiny_bert(scratch("modules"));
    directory.edit("modules.json", "models.Normalize", "models.Dense");
    assert_says(&directory, &["Dense module"]);
}

#[test]
fn an_output_is_replaced_only_if_asked() {
    let directory = tiny_bert(scratch("exists"));
    let mut careful = job(&directory);
    careful.force = false;
    fs::write(&careful.output, "GGUF, mine").unwrap();
    let error = careful.run(&mut go_on).unwrap_err();
    assert!(matches!(error, Error::OutputExists { .. }), "{error}");
    assert_eq!(fs::read(&careful.output).unwrap(), b"GGUF, mine");
    job(&directory).run(&mut go_on).unwrap();
    assert!(fs::metadata(&careful.output).unwrap().len() > 1000);

    // Only a GGUF file is replaced: not one of the model's, which was named by mistake.
    let mut mistaken = job(&directory);
    mistaken.output = directory.path().join("model.safetensors");
    let before = fs::read(&mistaken.output).unwrap();
    let error = mistaken.run(&mut go_on).unwrap_err();
    assert!(error.to_string().contains("no GGUF file"), "{error}");
    assert!(fs::read(&mistaken.output).unwrap() == before);
    let mut stopped = job(&directory);
    stopped.output = scratch("stopped.gguf");
    let _ = fs::remove_file(&stopped.output);
    let error = stopped.run(&mut |_, _| ControlFlow::Break(())).unwrap_err();
    assert!(matches!(error, Error::Stopped), "{error}");
    assert!(!stopped.output.exists());

    let mut nowhere = job(&directory);
    nowhere.output = scratch("no-such-directory").join("x.gguf");
    let error = nowhere.run(&mut go_on).unwrap_err();
    assert!(matches!(error, Error::Write { .. }), "{error}");
}

/// Every file of the directory with random bytes changed, cut off or doubled: an error or an
/// output, never a panic.
#[test]
fn damaged_files_never_panic() {
    let files = [
        "config.json",
        "tokenizer.json",
        "modules.json",
        "1_Pooling/config.json",
        "sentence_bert_config.json",
        "config_sentence_transformers.json",
        "model.safetensors",
    ];
    let directory = tiny_bert(scratch("damaged"));
    let sound: Vec<_> = files
        .map(|file| fs::read(directory.path().join(file)).unwrap())
        .into();
    let mut random = Random(1);
    let (mut refused, mut converted) = (0, 0);
    for round in 0..1000 {
        let which = round % files.len();
        let mut bytes = sound[which].clone();
        // Of weights, the header.
        let limit = bytes.len().min(4000);
        for _ in 0..1 + random.below(3) {
            let at = random.below(limit);
            match random.below(4) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes.truncate(at),
                2 => bytes[at] = b"0[{\"-,:9"[random.below(8)],
                _ => {
                    let end = (at + random.below(20)).min(bytes.len());
                    let piece = bytes[at.min(end)..end].to_vec();
                    bytes.splice(at.min(end)..at.min(end), piece);
                }
            }
            if bytes.len() < limit {
                break;
            }
        }
        directory.file(files[which], &bytes);
        match job(&directory).run(&mut go_on) {
            Ok(_) => converted += 1,
            Err(error) => {
                refused += 1;
                assert!(error.to_string().len() < 2000, "{error}");
            }
        }
        directory.file(files[which], &sound[which]);
    }
    assert!(refused > 300 && converted > 30, "{refused} {converted}");
}
