//! Rerankers give the scores of the transformers library, and the same bits in every way.

mod cli_support;
mod convert_support;
mod support;

use std::path::PathBuf;
use std::sync::Arc;

use convert_support::{converted, scratch};
use lanewise::internals::models::{self, Model};
use lanewise::internals::{Runtime, RuntimeOptions};
use lanewise::{Embedder, Isa, Overflow, Reranker};
use lanewise_testkit::checkpoint::{Directory, Tensor, safetensors, tiny_bert, tiny_bert_tensors};
use serde::Deserialize;
use support::supported_isas;

/// Scores of the transformers library, as tests/rerankers/expected.py writes them.
#[derive(Deserialize)]
struct Expected {
    bert: Vec<Pair>,
    xlmr: Vec<Pair>,
}

#[derive(Deserialize)]
struct Pair {
    #[serde(default)]
    query: String,
    #[serde(default)]
    text: String,
    ids: Vec<u32>,
    second: usize,
    logit: f32,
}

fn expected() -> Expected {
    serde_json::from_str(include_str!("rerankers/expected.json")).unwrap()
}

/// The tensors of a tiny BERT below a name, with those of a head of two layers.
fn tensors(base: &str, [dense, scores]: [&str; 2]) -> Vec<Tensor> {
    let mut tensors = tiny_bert_tensors();
    tensors.retain(|tensor| !tensor.name.starts_with("pooler"));
    for tensor in &mut tensors {
        tensor.name = format!("{base}.{}", tensor.name);
    }
    for (name, shape) in [
        (format!("{dense}.weight"), &[32, 32][..]),
        (format!("{dense}.bias"), &[32]),
        (format!("{scores}.weight"), &[1, 32]),
        (format!("{scores}.bias"), &[1]),
    ] {
        tensors.push(Tensor::random(&name, shape));
    }
    // So that attention is not all on one token, as with larger ones.
    for tensor in tensors.iter_mut().filter(|tensor| tensor.shape.len() == 2) {
        tensor.values.iter_mut().for_each(|value| *value *= 0.5);
    }
    tensors
}

/// The directory of a cross-encoder as ms-marco-MiniLM is one.
fn bert_directory(name: &str) -> Directory {
    let directory = tiny_bert(scratch(name));
    let tensors = tensors("bert", ["bert.pooler.dense", "classifier"]);
    directory
        .file("model.safetensors", safetensors(&tensors))
        .remove("modules.json")
        .remove("sentence_bert_config.json")
        .edit(
            "config.json",
            "\"BertModel\"],",
            "\"BertForSequenceClassification\"],\"model_type\":\"bert\",\"id2label\":{\"0\":\"LABEL_0\"},",
        )
        .edit("config.json", "attention_heads\":2", "attention_heads\":1");
    directory
}

/// The directory of a cross-encoder as bge-reranker is one: positions from the third row on, one type of token.
fn xlmr_directory() -> Directory {
    let directory = Directory::new(scratch("xlmr"));
    let mut tensors = tensors("roberta", ["classifier.dense", "classifier.out_proj"]);
    for tensor in &mut tensors {
        let rows = match tensor.name.as_str() {
            "roberta.embeddings.position_embeddings.weight" => 16,
            "roberta.embeddings.token_type_embeddings.weight" => 1,
            _ => continue,
        };
        tensor.values.truncate(rows * 32);
        tensor.shape = vec![rows, 32];
    }
    let pieces = [
        "<s>", "<pad>", "</s>", "<unk>", "▁", "a", "b", "c", "d", "e", "f",
    ];
    let vocabulary: Vec<String> = pieces
        .iter()
        .map(|piece| format!("[\"{piece}\",-1.0]"))
        .collect();
    let added: Vec<String> = [
        (0, "<s>"),
        (1, "<pad>"),
        (2, "</s>"),
        (3, "<unk>"),
        (11, "<mask>"),
    ]
    .map(|(id, token)| format!("{{\"id\":{id},\"content\":\"{token}\",\"special\":true}}"))
    .into();
    directory
        .file(
            "config.json",
            "{\"architectures\":[\"XLMRobertaForSequenceClassification\"],\"model_type\":\"xlm-roberta\",\
             \"id2label\":{\"0\":\"LABEL_0\"},\"hidden_act\":\"gelu\",\"hidden_size\":32,\"intermediate_size\":64,\
             \"layer_norm_eps\":1e-05,\"max_position_embeddings\":16,\"num_attention_heads\":1,\
             \"num_hidden_layers\":1,\"type_vocab_size\":1,\"vocab_size\":12,\"pad_token_id\":1}",
        )
        .file(
            "tokenizer.json",
            format!(
                "{{\"added_tokens\":[{}],\"normalizer\":{{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAQA{}\"}},\
                 \"pre_tokenizer\":{{\"type\":\"Sequence\",\"pretokenizers\":[\
                 {{\"type\":\"WhitespaceSplit\"}},{{\"type\":\"Metaspace\"}}]}},\
                 \"post_processor\":{{\"type\":\"TemplateProcessing\",\"single\":[\
                 {{\"SpecialToken\":{{\"id\":\"<s>\",\"type_id\":0}}}},\
                 {{\"Sequence\":{{\"id\":\"A\",\"type_id\":0}}}},\
                 {{\"SpecialToken\":{{\"id\":\"</s>\",\"type_id\":0}}}}]}},\
                 \"model\":{{\"type\":\"Unigram\",\"unk_id\":3,\"vocab\":[{}]}}}}",
                added.join(","),
                // 1,024 bytes of an empty trie, then an empty text.
                "A".repeat(1368),
                vocabulary.join(",")
            ),
        )
        .file("model.safetensors", safetensors(&tensors));
    directory
}

/// The file of a directory, its matrices in a type.
fn file(directory: &Directory, kind: &str) -> PathBuf {
    converted(directory, &["--type", kind]).path().to_path_buf()
}

fn opened(directory: &Directory, kind: &str) -> Arc<dyn Model> {
    models::open(file(directory, kind)).unwrap()
}

fn scores(model: &Arc<dyn Model>, isa: Isa, threads: usize, pairs: &[&Pair]) -> Vec<f32> {
    let options = RuntimeOptions {
        isa: Some(isa),
        threads: Some(threads),
        ..RuntimeOptions::default()
    };
    let ids: Vec<&[u32]> = pairs.iter().map(|pair| pair.ids.as_slice()).collect();
    let seconds: Vec<usize> = pairs.iter().map(|pair| pair.second).collect();
    let mut out = vec![f32::NAN; pairs.len()];
    let mut runtime = Runtime::new(Arc::clone(model), &options).unwrap();
    runtime.score(&ids, &seconds, &mut out).unwrap();
    out
}

#[test]
fn scores_of_both_kinds_match_the_library() {
    let expected = expected();
    for (name, directory, pairs) in [
        ("BERT", bert_directory("bert"), &expected.bert),
        ("XLM-RoBERTa", xlmr_directory(), &expected.xlmr),
    ] {
        let model = opened(&directory, "f32");
        let all: Vec<&Pair> = pairs.iter().collect();
        let int8 = scores(&model, Isa::detect(), 2, &all);
        for (pair, int8) in pairs.iter().zip(&int8) {
            let reference = model.reference().score(&pair.ids, pair.second);
            let reference = reference.unwrap().expect("a reranker");
            println!("{name}: {} f32 {reference}, INT8 {int8}", pair.logit);
            assert!(
                (reference - pair.logit).abs() < 2e-5,
                "{name} {:?}",
                pair.ids
            );
            assert!((int8 - pair.logit).abs() < 0.02, "{name} {:?}", pair.ids);
        }
        for isa in supported_isas() {
            for threads in [1, 3] {
                assert_eq!(scores(&model, isa, threads, &all), int8, "{isa} {threads}");
                for (pair, expected) in all.iter().zip(&int8) {
                    assert_eq!(scores(&model, isa, threads, &[pair]), [*expected], "alone");
                }
            }
        }
    }
}

#[test]
fn pairs_are_encoded_and_cut_as_by_the_library() {
    let directory = bert_directory("pairs");
    let reranker = Reranker::open(file(&directory, "f32")).unwrap();
    for pair in expected().bert {
        let scores = reranker.score(&pair.query, &[&pair.text]).unwrap();
        assert_eq!(scores[0].usage.tokens, pair.ids.len(), "{:?}", pair.query);
        assert!(
            (scores[0].logit - pair.logit).abs() < 0.02,
            "{:?}",
            pair.query
        );
        let sigmoid = 1.0 / (1.0 + (-scores[0].logit).exp());
        assert!((scores[0].score - sigmoid).abs() < 1e-6);
    }
    assert!(reranker.score::<&str>("a", &[]).unwrap().is_empty());
    let builder = Embedder::builder().overflow(Overflow::Error);
    let reranker = builder.open_reranker(reranker.model_path()).unwrap();
    let long = "a b ".repeat(20);
    let message = reranker.score("a", &[&long]).unwrap_err().to_string();
    assert!(message.contains("16 tokens"), "{message}");
}

#[test]
fn a_reranker_makes_no_vectors_and_others_no_scores() {
    let reranker = file(&bert_directory("refused"), "q8_0");
    let message = Embedder::open(&reranker).unwrap_err().to_string();
    assert!(message.contains("is a reranker"), "{message}");
    let embedder = tiny_bert(scratch("embedder"));
    embedder.edit("config.json", "attention_heads\":2", "attention_heads\":1");
    let embedder = file(&embedder, "q8_0");
    let message = Reranker::open(embedder).unwrap_err().to_string();
    assert!(message.contains("no reranker"), "{message}");
    for (setting, builder) in [
        ("dims", Embedder::builder().dims(8)),
        ("instruction", Embedder::builder().instruction("a task")),
    ] {
        let message = builder.open_reranker(&reranker).unwrap_err().to_string();
        assert!(message.starts_with(&format!("{setting}: ")), "{message}");
    }
}

#[test]
fn the_command_prints_the_best_text_first() {
    let reranker = file(&bert_directory("command"), "q8_0");
    let model = reranker.to_str().unwrap();
    let given = ["a b", "world", "hello"];
    let run = |options: &[&str]| {
        let options = [&["rerank", "-m", model], options, &["hello"], &given].concat();
        let run = cli_support::run(&options);
        assert_eq!(run.code, 0, "{}", run.err);
        run.out
    };
    #[derive(Deserialize)]
    struct Row {
        index: usize,
        score: f32,
        logit: f32,
        text: String,
    }
    let json = run(&["--format", "jsonl"]);
    let rows = json.lines().map(serde_json::from_str::<Row>);
    let rows: Vec<Row> = rows.collect::<Result<_, _>>().unwrap();
    assert!(rows.is_sorted_by(|a, b| a.score >= b.score), "{json}");
    assert!(
        rows.iter().all(|row| given[row.index] == row.text),
        "{json}"
    );
    let reranker = Reranker::open(&reranker).unwrap();
    for (index, score) in reranker.score("hello", &given).unwrap().iter().enumerate() {
        let row = rows.iter().find(|row| row.index == index).unwrap();
        assert_eq!((row.score, row.logit), (score.score, score.logit));
    }
    let best = format!("{:.6}\t{}\n", rows[0].logit, rows[0].text);
    assert_eq!(run(&["--top", "1", "--logits"]), best);
    let kept = run(&["--keep-order"]);
    let texts: Vec<&str> = kept
        .lines()
        .filter_map(|line| line.split('\t').nth(1))
        .collect();
    assert_eq!(texts, given);
    for (arguments, code, part) in [
        (vec!["report", "-m", model], 3, "is a reranker"),
        (vec!["embed", "-m", model, "a"], 3, "lanewise rerank"),
    ] {
        let run = cli_support::run(&arguments);
        assert_eq!(run.code, code, "{}", run.err);
        assert!(run.err.contains(part), "{}", run.err);
    }
    let info = cli_support::run(&["info", "-m", model]);
    assert!(info.out.contains("pooling          rank"), "{}", info.out);
}
