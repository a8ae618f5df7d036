//! `lanewise convert`: a model's directory in, and a file that the reader and llama.cpp take out.

mod cli_support;
mod convert_support;

use std::fs;
use std::path::PathBuf;

use cli_support::{Run, command, feed, run};
use convert_support::{converted, f32s, scratch, strings};
use lanewise::internals::gguf::{TensorType, Value};
use lanewise_testkit::checkpoint::{Directory, Tensor, safetensors, tiny_bert, tiny_bert_tensors};

#[test]
fn a_bert_directory_becomes_the_keys_of_llama_cpp() {
    let gguf = converted(&tiny_bert(scratch("bert")), &["--name", "tiny"]);
    for (key, value) in [
        ("bert.block_count", 1),
        ("bert.context_length", 16),
        ("bert.embedding_length", 32),
        ("bert.feed_forward_length", 64),
        ("bert.attention.head_count", 2),
        ("bert.pooling_type", 1),
        ("general.file_type", 7),
        ("tokenizer.ggml.token_type_count", 2),
        ("tokenizer.ggml.bos_token_id", 2),
        ("tokenizer.ggml.cls_token_id", 2),
        ("tokenizer.ggml.eos_token_id", 3),
        ("tokenizer.ggml.seperator_token_id", 3),
        ("tokenizer.ggml.unknown_token_id", 1),
        ("tokenizer.ggml.padding_token_id", 0),
        ("tokenizer.ggml.mask_token_id", 4),
        ("lanewise.max_tokens", 8),
    ] {
        assert_eq!(gguf.required_u32(key).unwrap(), value, "{key}");
    }
    for (key, value) in [
        ("general.architecture", "bert"),
        ("general.name", "tiny"),
        ("tokenizer.ggml.model", "bert"),
    ] {
        assert_eq!(gguf.required_str(key).unwrap(), value, "{key}");
    }
    assert_eq!(
        gguf.value("bert.attention.causal"),
        Some(&Value::Bool(false))
    );
    for key in ["lowercase", "strip_accents"] {
        let key = format!("tokenizer.ggml.normalizer.{key}");
        assert_eq!(gguf.optional_bool(&key).unwrap(), Some(true), "{key}");
    }
    let tokens = strings(&gguf, "tokenizer.ggml.tokens");
    assert_eq!(tokens[1], "[UNK]");
    assert_eq!(tokens[5..8], ["\u{2581}hello", "\u{2581}world", "ing"]);
    let types = gguf.required_array("tokenizer.ggml.token_type").unwrap();
    let types: Vec<i32> = gguf.i32s(types).unwrap().collect();
    assert_eq!(types, [3, 3, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1]);
    assert_eq!(
        strings(&gguf, "lanewise.prompt.names"),
        ["document", "query"]
    );
    assert_eq!(
        strings(&gguf, "lanewise.prompt.texts"),
        ["passage: ", "query: "]
    );
    let kind = |name: &str| gguf.tensor(name).unwrap().kind;
    assert_eq!(kind("blk.0.attn_q.weight"), TensorType::Q8_0);
    for name in [
        "position_embd.weight",
        "token_types.weight",
        "blk.0.attn_q.bias",
    ] {
        assert_eq!(kind(name), TensorType::F32, "{name}");
    }
}

#[test]
fn each_type_stores_the_values_that_it_can() {
    let values = &tiny_bert_tensors()[0].values;
    let directory = tiny_bert(scratch("types"));
    let gguf = converted(&directory, &["--type", "f32"]);
    assert_eq!(&f32s(&gguf, "token_embd.weight"), values);
    for (name, kind, bytes) in [
        ("f16", TensorType::F16, 2 * 32),
        ("q8_0", TensorType::Q8_0, 34),
    ] {
        let gguf = converted(&directory, &["--type", name]);
        let tensor = gguf.tensor("token_embd.weight").unwrap();
        assert_eq!(
            (tensor.kind, tensor.range.len()),
            (kind, 12 * bytes),
            "{name}"
        );
    }
    let gguf = converted(&directory, &["--type", "q4_0"]);
    // Only the tensors after it say how long a tensor of a type unknown to the reader is.
    let kinds = ["token_embd.weight", "blk.0.ffn_up.weight"]
        .map(|name| gguf.tensor(name).unwrap().kind.to_string());
    assert_eq!(kinds, ["Q8_0", "Q4_0"]);
}

#[test]
fn a_reranker_keeps_its_pooler_labels_and_function() {
    let directory = tiny_bert(scratch("reranker"));
    let mut tensors = tiny_bert_tensors();
    for tensor in &mut tensors {
        tensor.name = format!("bert.{}", tensor.name);
    }
    for (name, shape) in [
        ("bert.pooler.dense.bias", &[32][..]),
        ("classifier.weight", &[1, 32]),
        ("classifier.bias", &[1]),
    ] {
        tensors.push(Tensor::random(name, shape));
    }
    directory
        .file("model.safetensors", safetensors(&tensors))
        .remove("modules.json")
        .edit("config.json", "BertModel", "BertForSequenceClassification")
        .edit(
            "config.json",
            "\"hidden_act\"",
            "\"id2label\":{\"0\":\"score\"},\"hidden_act\"",
        );
    let gguf = converted(&directory, &["--type", "f32"]);
    assert_eq!(gguf.required_u32("bert.pooling_type").unwrap(), 4);
    assert_eq!(strings(&gguf, "bert.classifier.output_labels"), ["score"]);
    assert_eq!(
        gguf.required_str("lanewise.classifier.score").unwrap(),
        "sigmoid"
    );
    for (from, to) in [
        ("pooler.dense.weight", "cls.weight"),
        ("bert.pooler.dense.bias", "cls.bias"),
        ("classifier.weight", "cls.output.weight"),
        ("classifier.bias", "cls.output.bias"),
    ] {
        let count = gguf.tensor(to).unwrap().dims.iter().product::<u64>() as usize;
        assert_eq!(
            f32s(&gguf, to),
            Tensor::random(from, &[count]).values,
            "{to}"
        );
    }
    assert_eq!(gguf.tensor("cls.output.weight").unwrap().dims, [32, 1]);
}

/// A field of a protobuf message of less than 128 bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
}

/// An EmbeddingGemma of one layer, as transformers and Sentence Transformers write it.
fn tiny_gemma(path: PathBuf) -> Directory {
    let pieces = [
        "<pad>", "<eos>", "<bos>", "<unk>", "a", "b", "\u{2581}", "ab",
    ];
    let kinds = [3, 3, 3, 2, 1, 1, 1, 1];
    let mut model = Vec::new();
    for (id, (piece, kind)) in pieces.iter().zip(kinds).enumerate() {
        let score = [&[2 << 3 | 5], &(-(id as f32)).to_le_bytes()[..]].concat();
        let piece = [field(1, piece.as_bytes()), score, vec![3 << 3, kind]].concat();
        model.extend(field(1, &piece));
    }
    for byte in 0..=255u8 {
        let piece = [
            field(1, format!("<0x{byte:02X}>").as_bytes()),
            vec![3 << 3, 6],
        ]
        .concat();
        model.extend(field(1, &piece));
    }
    let rows = 8 + 256;
    let mut tensors = vec![
        Tensor::random("embed_tokens.weight", &[rows, 64]),
        Tensor::random("norm.weight", &[64]),
    ];
    for (name, shape) in [
        ("self_attn.q_proj", vec![96, 64]),
        ("self_attn.k_proj", vec![32, 64]),
        ("self_attn.v_proj", vec![32, 64]),
        ("self_attn.o_proj", vec![64, 96]),
        ("self_attn.q_norm", vec![32]),
        ("self_attn.k_norm", vec![32]),
        ("mlp.gate_proj", vec![96, 64]),
        ("mlp.up_proj", vec![96, 64]),
        ("mlp.down_proj", vec![64, 96]),
        ("input_layernorm", vec![64]),
        ("post_attention_layernorm", vec![64]),
        ("pre_feedforward_layernorm", vec![64]),
        ("post_feedforward_layernorm", vec![64]),
    ] {
        tensors.push(Tensor::random(&format!("layers.0.{name}.weight"), &shape));
    }
    let dense = |columns: usize, rows: usize| {
        let config = format!(
            "{{\"in_features\":{columns},\"out_features\":{rows},\"bias\":false,\"activation_function\":\"torch.nn.modules.linear.Identity\"}}"
        );
        (
            config,
            safetensors(&[Tensor::random("linear.weight", &[rows, columns])]),
        )
    };
    let directory = Directory::new(path);
    directory
        .file("model.safetensors", safetensors(&tensors))
        .file("tokenizer.model", model)
        .file(
            "tokenizer.json",
            "{\"added_tokens\":[{\"id\":0,\"content\":\"<pad>\",\"special\":true},{\"id\":1,\"content\":\"<eos>\",\"special\":true},{\"id\":2,\"content\":\"<bos>\",\"special\":true},{\"id\":3,\"content\":\"<unk>\",\"special\":true},{\"id\":264,\"content\":\"<image>\",\"special\":true}],\"model\":{\"type\":\"BPE\"}}",
        )
        .file(
            "config.json",
            "{\"architectures\":[\"Gemma3TextModel\"],\"hidden_activation\":\"gelu_pytorch_tanh\",\"use_bidirectional_attention\":true,\"attention_bias\":false,\"hidden_size\":64,\"intermediate_size\":96,\"num_attention_heads\":3,\"num_key_value_heads\":1,\"head_dim\":32,\"query_pre_attn_scalar\":32,\"num_hidden_layers\":1,\"max_position_embeddings\":64,\"vocab_size\":264,\"rms_norm_eps\":1e-06,\"rope_theta\":1000000.0,\"rope_local_base_freq\":10000.0,\"sliding_window\":16,\"layer_types\":[\"sliding_attention\"],\"bos_token_id\":2,\"eos_token_id\":1,\"pad_token_id\":0}",
        )
        .pooling("mean_tokens")
        .edit(
            "modules.json",
            "{\"path\":\"2_Normalize\"",
            "{\"path\":\"2_Dense\",\"type\":\"sentence_transformers.models.Dense\"},{\"path\":\"3_Dense\",\"type\":\"sentence_transformers.models.Dense\"},{\"path\":\"4_Normalize\"",
        );
    for (name, (config, weights)) in [("2_Dense", dense(64, 128)), ("3_Dense", dense(128, 64))] {
        directory
            .file(&format!("{name}/config.json"), config)
            .file(&format!("{name}/model.safetensors"), weights);
    }
    directory
}

#[test]
fn an_embeddinggemma_directory_becomes_a_model_that_embeds() {
    let directory = tiny_gemma(scratch("gemma"));
    let gguf = converted(&directory, &[]);
    let model = gguf.path().to_str().unwrap();
    let embedded = run(&["embed", "-m", model, "ab a"]);
    assert_eq!(embedded.code, 0, "{}", embedded.err);
    assert_eq!(embedded.out.split_whitespace().count(), 64);
    // GGUF has 1 + w of every norm.
    let norm = Tensor::random("norm.weight", &[64]).values;
    let expected: Vec<f32> = norm.iter().map(|w| w + 1.0).collect();
    assert_eq!(f32s(&gguf, "output_norm.weight"), expected);

    let gguf = converted(&directory, &["--no-dense-head"]);
    assert!(gguf.tensor("dense_2.weight").is_none());
    let embedded = run(&["embed", "-m", model, "ab a"]);
    assert_eq!(embedded.code, 3, "{}", embedded.err);
    directory.pooling("mean_tokens");
    let refused = convert(&directory);
    assert!(refused.err.contains("no Dense modules"), "{}", refused.err);
    assert!(refused.err.contains("--no-dense-head"), "{}", refused.err);
}

/// Runs `lanewise convert` as it stands.
fn convert(directory: &Directory) -> Run {
    let output = format!("{}.out", directory.path().display());
    run(&["convert", directory.path().to_str().unwrap(), &output])
}

#[test]
fn options_that_would_help_are_named_and_codes_are_those_promised() {
    let directory = tiny_bert(scratch("codes"));
    let output = format!("{}.out", directory.path().display());
    let _ = fs::remove_file(&output);
    let first = convert(&directory);
    assert_eq!(first.code, 0, "{}", first.err);
    assert!(first.err.contains("100 % written"), "{}", first.err);
    assert!(first.err.contains("21 tensors"), "{}", first.err);
    let again = convert(&directory);
    assert_eq!(again.code, 2, "{}", again.err);
    assert!(again.err.contains("--force"), "{}", again.err);
    fs::remove_file(&output).unwrap();

    directory
        .remove("modules.json")
        .remove("1_Pooling/config.json");
    let unknown = convert(&directory);
    assert_eq!(unknown.code, 3, "{}", unknown.err);
    assert!(unknown.err.contains("--pooling"), "{}", unknown.err);
    let input = directory.path().to_str().unwrap();
    let named = run(&["convert", input, &output, "--pooling", "cls", "--quiet"]);
    assert_eq!((named.code, named.err.as_str()), (0, ""));
    let full = run(&["convert", input, "/dev/full/x", "--pooling", "cls"]);
    assert_eq!(full.code, 1, "{}", full.err);
}

#[test]
fn a_directory_given_as_a_model_says_how_to_convert_it() {
    let directory = tiny_bert(scratch("model"));
    let path = directory.path().to_str().unwrap();
    let run = run(&["embed", "-m", path, "a"]);
    assert_eq!(run.code, 3);
    assert!(run.err.contains("lanewise convert"), "{}", run.err);
}

#[test]
fn names_of_models_are_looked_up_in_the_cache_directory() {
    let cache = Directory::new(scratch("cache"));
    let model = cli_support::TINY.as_path();
    fs::create_dir(cache.path().join("lanewise")).unwrap();
    fs::copy(model, cache.path().join("lanewise/tiny.gguf")).unwrap();
    let named = |name: &str, variable: bool| {
        let mut command = command();
        command.env("XDG_CACHE_HOME", cache.path()).arg("embed");
        match variable {
            true => command.env("LANEWISE_MODEL", name),
            false => command.args(["-m", name]),
        };
        command.arg("a");
        feed(command, b"")
    };
    let by_path = run(&["embed", "a"]);
    for variable in [false, true] {
        let by_name = named("tiny", variable);
        assert_eq!(
            (by_name.code, &by_name.out),
            (0, &by_path.out),
            "{}",
            by_name.err
        );
        let unknown = named("minilm", variable);
        assert_eq!(unknown.code, 3);
        for part in ["\"minilm\"", "there are: tiny", "tools/get-model"] {
            assert!(unknown.err.contains(part), "no {part} in {}", unknown.err);
        }
    }
}
