//! `lanewise convert` on tiny models of every family, written as their checkpoints would be.

mod cli_support;
mod convert_support;

use convert_support::{converted, f32s, scratch, strings};
use lanewise::internals::gguf::{Gguf, Value};
use lanewise_testkit::assets;
use lanewise_testkit::checkpoint::{Directory, Tensor, safetensors};

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
