use std::fs;
use std::path::Path;
use std::sync::Arc;

use lanewise_bulk::{CancelToken, Dialect, Embed, Job, ModelMemory, OverflowPolicy, Shard, Usage};
use lanewise_search::{Index, Space};
use lanewise_serve::ServeOptions;
use lanewise_serve::schedule::Limits;
use serde_json::{Value, json};

use crate::client::post;
use crate::fake::{CONTEXT, DIMS, SHA, Server, ids, vector};

/// The fake model, as files of vectors are made with it.
struct Documents;

#[derive(Debug, thiserror::Error)]
#[error("never")]
struct Never;

impl Embed for Documents {
    type Encoded = Vec<u32>;
    type Error = Never;

    fn dims(&self) -> usize {
        DIMS
    }

    fn context(&self) -> usize {
        CONTEXT
    }

    fn overflow_problem(&self) -> String {
        "is too long".into()
    }

    fn memory(&self) -> ModelMemory {
        ModelMemory {
            model_bytes: 1 << 20,
            bytes_per_token: 64,
            tokens_per_pass: 2048,
            tokens_per_call: 2048,
        }
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>, Never> {
        Ok(ids(&format!("q: {text}")))
    }

    fn usage(encoded: &Vec<u32>) -> Usage {
        Usage {
            tokens: encoded.len(),
            truncated: false,
        }
    }

    fn ids(encoded: &Vec<u32>) -> &[u32] {
        encoded
    }

    fn bytes_read(&self, text: &str, _: &Vec<u32>) -> usize {
        text.len()
    }

    fn embed(&self, texts: &[Vec<u32>], vectors: &mut [f32]) -> Result<(), Never> {
        for (text, out) in texts.iter().zip(vectors.chunks_mut(DIMS)) {
            out.copy_from_slice(&vector(text));
        }
        Ok(())
    }
}

/// A file of vectors of numbers, and the columns `text` and `parity`.
fn index(directory: &Path, sha256: &str) -> Index {
    let input = directory.join("input.jsonl");
    let lines = (0..100).map(|row| {
        let parity = if row % 2 == 0 { "even" } else { "odd" };
        format!("{{\"id\": \"r{row}\", \"text\": \"number {row}\", \"parity\": \"{parity}\", \"half\": {}}}\n", row / 2)
    });
    fs::write(&input, lines.collect::<String>()).unwrap();
    let output = directory.join("output.arrow");
    let job = Job {
        input: vec![input],
        input_format: None,
        dialect: Dialect::default(),
        output: output.clone(),
        output_format: None,
        field: "text".into(),
        id_field: Some("id".into()),
        keep: vec!["text".into(), "parity".into(), "half".into()],
        reuse: Vec::new(),
        max_memory: 1 << 30,
        resume: None,
        force: false,
        shard: Shard::WHOLE,
        model: None,
    };
    let run = job.check().unwrap().open(Arc::new(Documents)).unwrap();
    let space = Space {
        version: "0".into(),
        model: "A fake".into(),
        model_sha256: sha256.into(),
        prompt: "document".into(),
        prompt_text: "d: ".into(),
        pooling: "mean".into(),
        dense_heads: true,
        dims: DIMS,
        precision: "f32".parse().unwrap(),
        overflow: OverflowPolicy::Error,
    };
    run.execute(space, &CancelToken::new(), &mut ()).unwrap();
    Index::open(output).unwrap()
}

fn server(sha256: &str) -> (Server, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let index = Arc::new(index(directory.path(), sha256));
    (
        Server::with(ServeOptions::default(), Limits::default(), Some(index)),
        directory,
    )
}

fn ids_of(answer: &Value) -> Vec<&str> {
    let hits = answer["hits"].as_array().unwrap().iter();
    hits.map(|hit| hit["id"].as_str().unwrap()).collect()
}

#[test]
fn a_query_finds_its_row_first() {
    let (server, _directory) = server(SHA);
    let reply = post(server.address, "/search", r#"{"query":"number 42","k":3}"#);
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("x-lanewise-space"), Some("space-query-8"));
    let answer = reply.json();
    let hit = &answer["hits"][0];
    assert_eq!(answer["hits"].as_array().unwrap().len(), 3);
    assert!((hit["score"].as_f64().unwrap() - 1.0).abs() < 1e-6);
    assert_eq!(
        (
            &hit["row"],
            &hit["file"],
            &hit["row_in_file"],
            &hit["id"],
            &hit["text"]
        ),
        (
            &json!(42),
            &json!(0),
            &json!(42),
            &json!("r42"),
            &json!("number 42")
        )
    );
    assert_eq!(
        hit["columns"],
        json!({"text": "number 42", "parity": "even", "half": 21})
    );
    assert!(answer["search_ms"].is_number() && answer["total_ms"].is_number());
    let body = json!({"vector": vector(&ids("q: number 7"))});
    let answer = post(server.address, "/search", &body.to_string()).json();
    let found = ids_of(&answer);
    assert_eq!((found[0], found.len()), ("r7", 10));
}

#[test]
fn conditions_leave_out_other_rows() {
    let (server, _directory) = server(SHA);
    let body = json!({"query": "number 42", "k": 1000, "where": {"parity": "odd"}});
    let answer = post(server.address, "/search", &body.to_string()).json();
    let found = ids_of(&answer);
    assert_eq!(found.len(), 50);
    assert!(!found.contains(&"r42"));
    let body = json!({"query": "number 42", "where": {"parity": "even", "half": 21}});
    let answer = post(server.address, "/search", &body.to_string()).json();
    assert_eq!(ids_of(&answer), ["r42"]);
}

#[test]
fn searches_that_cannot_be_done_name_the_field() {
    let (server, _directory) = server(SHA);
    for (body, field, message) in [
        (json!({}), "query", "exactly one"),
        (
            json!({"query": "a", "vector": [1.0]}),
            "query",
            "exactly one",
        ),
        (json!({"query": "a", "k": 0}), "k", "0 rows"),
        (json!({"query": "a", "k": 1001}), "k", "1001 rows"),
        (json!({"query": "a", "top_k": 3}), "top_k", "not known"),
        (
            json!({"query": "a", "where": {"color": "red"}}),
            "where",
            "no column",
        ),
        (
            json!({"query": "a", "where": {"parity": ["odd"]}}),
            "where.parity",
            "no string",
        ),
        (
            json!({"query": "a", "where": "parity=odd"}),
            "where",
            "invalid type",
        ),
        (
            json!({"query": "a", "prompt_name": "x"}),
            "prompt_name",
            "no prompt",
        ),
        (json!({"query": "a", "approximate": 8}), "approximate", ""),
        (
            json!({"query": "a".repeat(CONTEXT)}),
            "query",
            "maximum context length",
        ),
        (json!({"vector": [1.0, 2.0]}), "query", "2 values"),
        (
            json!({"vector": vec![1.0; DIMS], "prompt_name": "query"}),
            "prompt_name",
            "vector",
        ),
    ] {
        let reply = post(server.address, "/search", &body.to_string());
        let error = &reply.json()["error"];
        assert_eq!(
            (reply.status, &error["field"]),
            (400, &json!(field)),
            "{body} {error}"
        );
        assert!(
            error["message"].as_str().unwrap().contains(message),
            "{error}"
        );
    }
}

#[test]
fn texts_are_not_searched_among_vectors_of_other_models() {
    let (server, _directory) = server("01");
    let reply = post(server.address, "/search", r#"{"query":"number 42"}"#);
    assert_eq!(reply.status, 400);
    assert!(reply.text().contains("another model"));
    let body = json!({"vector": vector(&ids("q: number 7"))});
    assert_eq!(
        post(server.address, "/search", &body.to_string()).status,
        200
    );
}

#[test]
fn there_is_no_search_without_an_index() {
    let server = Server::start();
    let reply = post(server.address, "/search", r#"{"query":"a"}"#);
    assert_eq!(reply.status, 404);
    assert!(reply.text().contains("there is no index"));
}
