//! `lanewise convert`: a model's directory in, and a file that the reader and llama.cpp take out.

mod cli_support;

use std::fs;
use std::path::{Path, PathBuf};

use cli_support::{Run, command, feed, run};
use lanewise::internals::gguf::{Gguf, TensorType, Value};
use lanewise_testkit::assets;
use lanewise_testkit::checkpoint::{Directory, Tensor, safetensors, tiny_bert, tiny_bert_tensors};

fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("convert-{name}"))
}

/// Runs `lanewise convert` and opens what it wrote.
#[track_caller]
fn converted(directory: &Directory, options: &[&str]) -> Gguf {
    let output = format!("{}.gguf", directory.path().display());
    let input = directory.path().to_str().unwrap();
    let run = run(&[&["convert", input, &output, "--force"], options].concat());
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(run.out, "");
    Gguf::open(output).unwrap()
}

fn strings(gguf: &Gguf, key: &str) -> Vec<String> {
    let strings = gguf.strings(gguf.required_array(key).unwrap()).unwrap();
    strings
        .map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
        .collect()
}

fn f32s(gguf: &Gguf, name: &str) -> Vec<f32> {
    let tensor = gguf.tensor(name).unwrap_or_else(|| panic!("no {name}"));
    assert_eq!(tensor.kind, TensorType::F32, "{name}");
    let (values, _) = gguf.bytes(tensor.range.clone()).as_chunks();
    values
        .iter()
        .map(|&bytes| f32::from_le_bytes(bytes))
        .collect()
}

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

/// The name that transformers gives a tensor.
fn transformers_name(architecture: &str, name: &str) -> String {
    let of_layer = |table: &[(&str, &str)], layers: &str| -> Option<String> {
        let (layer, rest) = name.strip_prefix("blk.")?.split_once('.')?;
        let (stem, ending) = rest.rsplit_once('.')?;
        let (_, from) = table.iter().find(|(to, _)| *to == stem)?;
        let ending = if *from == "layer_scalar" {
            String::new()
        } else {
            format!(".{ending}")
        };
        Some(format!("{layers}.{layer}.{from}{ending}"))
    };
    const LLAMA: [(&str, &str); 13] = [
        ("attn_q", "self_attn.q_proj"),
        ("attn_k", "self_attn.k_proj"),
        ("attn_v", "self_attn.v_proj"),
        ("attn_output", "self_attn.o_proj"),
        ("attn_q_norm", "self_attn.q_norm"),
        ("attn_k_norm", "self_attn.k_norm"),
        ("ffn_gate", "mlp.gate_proj"),
        ("ffn_up", "mlp.up_proj"),
        ("ffn_down", "mlp.down_proj"),
        ("attn_norm", "input_layernorm"),
        ("inp_gate", "ple_block.per_layer_input_gate"),
        ("proj", "ple_block.per_layer_projection"),
        ("layer_output_scale", "layer_scalar"),
    ];
    let found = match architecture {
        "bert" => of_layer(
            &[
                ("attn_q", "attention.self.query"),
                ("attn_k", "attention.self.key"),
                ("attn_v", "attention.self.value"),
                ("attn_output", "attention.output.dense"),
                ("attn_output_norm", "attention.output.LayerNorm"),
                ("ffn_up", "intermediate.dense"),
                ("ffn_down", "output.dense"),
                ("layer_output_norm", "output.LayerNorm"),
            ],
            "encoder.layer",
        ),
        "nomic-bert" => of_layer(
            &[
                ("attn_qkv", "attn.Wqkv"),
                ("attn_output", "attn.out_proj"),
                ("attn_output_norm", "norm1"),
                ("ffn_up", "mlp.fc11"),
                ("ffn_gate", "mlp.fc12"),
                ("ffn_down", "mlp.fc2"),
                ("layer_output_norm", "norm2"),
            ],
            "encoder.layers",
        ),
        "modern-bert" => of_layer(
            &[
                ("attn_norm", "attn_norm"),
                ("attn_qkv", "attn.Wqkv"),
                ("attn_output", "attn.Wo"),
                ("ffn_norm", "mlp_norm"),
                ("ffn_up", "mlp.Wi"),
                ("ffn_down", "mlp.Wo"),
            ],
            "layers",
        ),
        "qwen3" => {
            let more = [("ffn_norm", "post_attention_layernorm")];
            of_layer(&[&LLAMA[..], &more].concat(), "layers")
        }
        _ => {
            let more = [
                ("post_attention_norm", "post_attention_layernorm"),
                ("ffn_norm", "pre_feedforward_layernorm"),
                ("post_ffw_norm", "post_feedforward_layernorm"),
                ("post_norm", "ple_block.post_per_layer_input_norm"),
            ];
            of_layer(&[&LLAMA[..], &more].concat(), "layers")
        }
    };
    let other = || {
        let is_bert = matches!(architecture, "bert" | "nomic-bert");
        let norm = if architecture == "bert" {
            "embeddings.LayerNorm"
        } else {
            "emb_ln"
        };
        match name {
            "token_embd.weight" if is_bert => "embeddings.word_embeddings.weight".into(),
            "token_embd.weight" if architecture == "modern-bert" => {
                "embeddings.tok_embeddings.weight".into()
            }
            "token_embd.weight" => "embed_tokens.weight".into(),
            "position_embd.weight" => "embeddings.position_embeddings.weight".into(),
            "token_types.weight" => "embeddings.token_type_embeddings.weight".into(),
            "token_embd_norm.weight" if is_bert => format!("{norm}.weight"),
            "token_embd_norm.bias" => format!("{norm}.bias"),
            "token_embd_norm.weight" => "embeddings.norm.weight".into(),
            "output_norm.weight" if architecture == "modern-bert" => "final_norm.weight".into(),
            "output_norm.weight" => "norm.weight".into(),
            "per_layer_model_proj.weight" => "ple.per_layer_model_projection.weight".into(),
            "per_layer_proj_norm.weight" => "ple.per_layer_projection_norm.weight".into(),
            "output.weight" => "embedding_projection.weight".into(),
            other => panic!("{architecture} has no {other}"),
        }
    };
    found.unwrap_or_else(other)
}

/// The tensors of a tiny model: queries, keys and values in one, as the checkpoint has them.
fn tensors_of(gguf: &Gguf, architecture: &str) -> Vec<(String, Tensor)> {
    let mut tensors: Vec<(String, Tensor)> = Vec::new();
    for tensor in gguf.tensors() {
        let shape = tensor.dims.iter().rev().map(|&dim| dim as usize).collect();
        let values = f32s(gguf, &tensor.name);
        let name = tensor.name.clone();
        tensors.push((
            name.clone(),
            Tensor {
                name,
                shape,
                values,
            },
        ));
    }
    if architecture == "nomic-bert" {
        for layer in 0..3 {
            let mut parts = ["q", "k", "v"].map(|part| {
                let name = format!("blk.{layer}.attn_{part}.weight");
                let at = tensors.iter().position(|(own, _)| *own == name).unwrap();
                tensors.remove(at).1
            });
            let values = parts
                .iter_mut()
                .flat_map(|part| std::mem::take(&mut part.values));
            let values = values.collect();
            let shape = vec![3 * parts[0].shape[0], parts[0].shape[1]];
            let name = format!("blk.{layer}.attn_qkv.weight");
            tensors.push((
                name.clone(),
                Tensor {
                    name,
                    shape,
                    values,
                },
            ));
        }
    }
    tensors
}

/// A tokenizer of another kind than WordPiece, with 100 tokens.
fn tokenizer(kind: &str) -> String {
    let specials = ["<s>", "<pad>", "</s>", "<unk>"];
    let bert = ["[CLS]", "[PAD]", "[SEP]", "[UNK]"];
    let gemma = ["<bos>", "<pad>", "<eos>", "<unk>"];
    let first = match kind {
        "unigram" => specials,
        "gemma4" => gemma,
        "qwen2" => ["<|endoftext|>", "<|a|>", "<|b|>", "<|c|>"],
        _ => bert,
    };
    let token = |id: usize| {
        first
            .get(id)
            .map_or(format!("t{id}"), |token| (*token).into())
    };
    let added: Vec<String> = (0..4)
        .map(|id| {
            format!(
                "{{\"id\":{id},\"content\":\"{}\",\"special\":true}}",
                token(id)
            )
        })
        .collect();
    let pairs = |write: &dyn Fn(String, usize) -> String| -> String {
        let pairs: Vec<String> = (0..100).map(|id| write(token(id), id)).collect();
        pairs.join(",")
    };
    let special = |id: usize| {
        format!(
            "{{\"SpecialToken\":{{\"id\":\"{}\",\"type_id\":0}}}}",
            token(id)
        )
    };
    let template = |ends: [&str; 2]| {
        format!(
            "{{\"type\":\"TemplateProcessing\",\"single\":[{}{{\"Sequence\":{{\"id\":\"A\",\"type_id\":0}}}}{}]}}",
            ends[0], ends[1]
        )
    };
    let both = template([&(special(0) + ","), &format!(",{}", special(2))]);
    let ids = pairs(&|token, id| format!("\"{token}\":{id}"));
    let merges = "\"merges\":[[\"t\",\"4\"],[\"t 5\",\"6\"]]";
    let bytes = "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":";
    let (normalizer, pre, post, model): (String, String, String, String) = match kind {
        "unigram" => (
            // 1,024 bytes of an empty trie, then an empty text.
            format!("{{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAQA{}\"}}", "A".repeat(1368)),
            "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"WhitespaceSplit\"},{\"type\":\"Metaspace\"}]}".into(),
            both,
            format!(
                "{{\"type\":\"Unigram\",\"unk_id\":3,\"vocab\":[{}]}}",
                pairs(&|token, id| format!("[\"{token}\",-{id}.5]"))
            ),
        ),
        "qwen2" => (
            "{\"type\":\"NFC\"}".into(),
            format!(
                "{{\"type\":\"Sequence\",\"pretokenizers\":[{{\"type\":\"Split\",\"pattern\":{{\"Regex\":{:?}}},\"behavior\":\"Isolated\",\"invert\":false}},{bytes}false}}]}}",
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
            ),
            template(["", &format!(",{}", special(0))]),
            format!("{{\"type\":\"BPE\",\"vocab\":{{{ids}}},{merges}}}"),
        ),
        "gemma4" => (
            "{\"type\":\"Replace\"}".into(),
            "null".into(),
            both,
            format!("{{\"type\":\"BPE\",\"byte_fallback\":true,\"vocab\":{{{ids}}},{merges}}}"),
        ),
        "modern-bert" => (
            "{\"type\":\"NFC\"}".into(),
            format!("{bytes}true}}"),
            both,
            format!("{{\"type\":\"BPE\",\"vocab\":{{{ids}}},{merges}}}"),
        ),
        _ => (
            "{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true,\"strip_accents\":false,\"lowercase\":false}".into(),
            "{\"type\":\"BertPreTokenizer\"}".into(),
            both,
            format!("{{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"vocab\":{{{ids}}}}}"),
        ),
    };
    format!(
        "{{\"added_tokens\":[{}],\"normalizer\":{normalizer},\"pre_tokenizer\":{pre},\"post_processor\":{post},\"model\":{model}}}",
        added.join(",")
    )
}

/// The tiny models of `../shared`, written as their checkpoints would be, come back with the same
/// tensors and hyperparameters.
#[test]
fn tiny_models_of_every_family_come_back_unchanged() {
    let bert = "\"architectures\":[\"CLASS\"],\"hidden_act\":\"gelu\",\"hidden_size\":128,\"intermediate_size\":160,\"num_attention_heads\":4,\"num_hidden_layers\":3,\"vocab_size\":100";
    let theta = "\"full_attention\":{\"rope_type\":\"default\",\"rope_theta\":BASE},\"sliding_attention\":{\"rope_type\":\"default\",\"rope_theta\":10000.0}";
    for (model, pooling, kind, prefix, config) in [
        (
            "bert",
            "mean_tokens",
            "wordpiece",
            "bert.",
            bert.replace("CLASS", "BertModel") + ",\"layer_norm_eps\":1e-12,\"max_position_embeddings\":80,\"type_vocab_size\":2",
        ),
        (
            "xlmr",
            "cls_token",
            "unigram",
            "roberta.",
            bert.replace("CLASS", "XLMRobertaModel") + ",\"layer_norm_eps\":1e-05,\"max_position_embeddings\":82,\"type_vocab_size\":1,\"pad_token_id\":1",
        ),
        (
            "nomic",
            "mean_tokens",
            "wordpiece",
            "",
            "\"architectures\":[\"NomicBertModel\"],\"activation_function\":\"swiglu\",\"n_embd\":128,\"n_inner\":160,\"n_head\":4,\"n_layer\":3,\"n_positions\":512,\"vocab_size\":100,\"type_vocab_size\":2,\"rotary_emb_base\":1000,\"rotary_emb_fraction\":1.0,\"rotary_emb_scale_base\":null,\"layer_norm_epsilon\":1e-12,\"causal\":false,\"prenorm\":false,\"qkv_proj_bias\":false".into(),
        ),
        (
            "qwen3",
            "lasttoken",
            "qwen2",
            "model.",
            "\"architectures\":[\"Qwen3ForCausalLM\"],\"hidden_act\":\"silu\",\"hidden_size\":64,\"intermediate_size\":160,\"num_attention_heads\":4,\"num_key_value_heads\":2,\"head_dim\":32,\"num_hidden_layers\":3,\"max_position_embeddings\":512,\"vocab_size\":100,\"rms_norm_eps\":1e-06,\"rope_theta\":1000000,\"attention_bias\":false,\"use_sliding_window\":false,\"rope_scaling\":null".into(),
        ),
        (
            "modernbert",
            "mean_tokens",
            "modern-bert",
            "model.",
            format!("\"architectures\":[\"ModernBertModel\"],\"hidden_activation\":\"gelu\",\"hidden_size\":128,\"intermediate_size\":96,\"num_attention_heads\":4,\"num_hidden_layers\":4,\"max_position_embeddings\":512,\"vocab_size\":100,\"norm_eps\":1e-05,\"local_attention\":16,\"layer_types\":[\"full_attention\",\"sliding_attention\",\"sliding_attention\",\"full_attention\"],\"rope_parameters\":{{{}}}", theta.replace("BASE", "160000.0")),
        ),
        (
            "eg2",
            "mean_tokens",
            "gemma4",
            "language_model.",
            format!("\"architectures\":[\"EmbeddingGemma2Model\"],\"text_config\":{{\"hidden_activation\":\"gelu_pytorch_tanh\",\"hidden_size\":64,\"intermediate_size\":128,\"hidden_size_per_layer_input\":32,\"embedding_dim\":96,\"num_attention_heads\":4,\"num_key_value_heads\":2,\"head_dim\":32,\"num_hidden_layers\":7,\"max_position_embeddings\":512,\"vocab_size\":100,\"rms_norm_eps\":1e-06,\"sliding_window\":8,\"layer_types\":[\"sliding_attention\",\"sliding_attention\",\"full_attention\",\"sliding_attention\",\"sliding_attention\",\"full_attention\",\"full_attention\"],\"per_layer_config\":{{\"02\":{{\"head_dim\":64,\"num_key_value_heads\":1}},\"05\":{{\"head_dim\":64,\"num_key_value_heads\":1}},\"06\":{{\"head_dim\":64,\"num_key_value_heads\":1}}}},\"rope_parameters\":{{{}}}}}", theta.replace("BASE", "1000000.0")),
        ),
    ] {
        let Some(path) = assets::shared(&format!("tiny-families/{model}.gguf")) else {
            return;
        };
        let expected = Gguf::open(path).unwrap();
        let architecture = expected.required_str("general.architecture").unwrap();
        let tensors = tensors_of(&expected, &architecture);
        let mut stored: Vec<Tensor> = tensors
            .iter()
            .map(|(name, tensor)| {
                let mut tensor = tensor.clone();
                tensor.name = format!("{prefix}{}", transformers_name(&architecture, name));
                if model == "xlmr" && tensor.name.contains("position_embeddings") {
                    // RoBERTa's positions begin at the id of the padding token + 1.
                    tensor.values.splice(0..0, vec![9.0; 2 * tensor.shape[1]]);
                    tensor.shape[0] += 2;
                }
                tensor
            })
            .collect();
        if model == "qwen3" {
            stored.push(Tensor::random("lm_head.weight", &[100, 64]));
        }
        let directory = Directory::new(scratch(model));
        directory
            .file("config.json", format!("{{{config}}}"))
            .file("tokenizer.json", tokenizer(kind))
            .file("model.safetensors", safetensors(&stored))
            .pooling(pooling);
        let gguf = converted(&directory, &["--type", "f32"]);
        assert_eq!(gguf.tensors().len(), tensors.len(), "{model}");
        for (name, tensor) in &tensors {
            let dims: Vec<u64> = tensor.shape.iter().rev().map(|&dim| dim as u64).collect();
            assert_eq!(gguf.tensor(name).unwrap().dims, dims, "{model} {name}");
            assert!(f32s(&gguf, name) == tensor.values, "{model} {name}");
        }
        // Only the vocabularies differ.
        for (key, value) in expected.metadata().filter(|(key, _)| !key.contains("_token_id")) {
            let found = gguf.value(key);
            let found = found.unwrap_or_else(|| panic!("{model}: no {key}"));
            match value {
                Value::String(_) => {
                    assert_eq!(gguf.optional_str(key).unwrap(), expected.optional_str(key).unwrap());
                }
                Value::Array(array) if key.starts_with(&architecture) => {
                    let range = gguf.required_array(key).unwrap().range();
                    assert_eq!(gguf.bytes(range), expected.bytes(array.range()), "{key}");
                }
                Value::Array(_) => assert_eq!(found.value_type(), value.value_type(), "{key}"),
                // Qwen3 has no token before a text.
                Value::Bool(_) if key == "tokenizer.ggml.add_bos_token" => {}
                _ => assert_eq!(found, value, "{model} {key}"),
            }
        }
        if kind == "unigram" {
            let charsmap = gguf.required_array("tokenizer.ggml.precompiled_charsmap").unwrap();
            let expected = [&[0, 4, 0, 0][..], &[0; 1024 + 1]].concat();
            assert_eq!(gguf.bytes(charsmap.range()), expected);
            let scores = gguf.required_array("tokenizer.ggml.scores").unwrap();
            assert_eq!(gguf.f32s(scores).unwrap().nth(7), Some(-7.5));
        }
        if kind == "qwen2" {
            let merges = strings(&gguf, "tokenizer.ggml.merges");
            assert_eq!(merges, ["t 4", "t\u{120}5 6"]);
        }
    }
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
