use serde_json::json;

use crate::client::{get, post, values};
use crate::fake::{CONTEXT, SHA, Server, ids, unit, vector};

#[test]
fn ollama_vectors_are_those_of_the_model() {
    let server = Server::start();
    let body = json!({
        "model": "fake:latest", "input": ["one", ""], "keep_alive": "5m", "options": {"num_thread": 2, "num_ctx": 100},
    });
    let reply = post(server.address, "/api/embed", &body.to_string());
    assert_eq!(reply.header("x-lanewise-space"), Some("space-raw-8"));
    let answer = reply.json();
    assert_eq!(answer["model"], "fake:latest");
    assert_eq!(answer["prompt_eval_count"], 7);
    assert!(answer["total_duration"].is_u64() && answer["load_duration"].is_u64());
    assert_eq!(values(&answer["embeddings"][0]), vector(&ids("one")));
    assert_eq!(values(&answer["embeddings"][1]), vector(&ids("")));
    let body = json!({"model": "fake:query", "input": "one", "dimensions": 4});
    let answer = post(server.address, "/api/embed", &body.to_string()).json();
    assert_eq!(
        values(&answer["embeddings"][0]),
        unit(vector(&ids("q: one"))[..4].to_vec())
    );
    let body = json!({"model": "fake:document", "prompt": "one"});
    let answer = post(server.address, "/api/embeddings", &body.to_string()).json();
    assert_eq!(values(&answer["embedding"]), vector(&ids("d: one")));
}

#[test]
fn ollama_cuts_texts_unless_told_otherwise() {
    let server = Server::start();
    let long = "a".repeat(CONTEXT);
    let cut = vector(&ids(&long[..CONTEXT - 2]));
    let reply = post(
        server.address,
        "/api/embed",
        &json!({"model": "fake", "input": long}).to_string(),
    );
    assert_eq!(reply.header("x-lanewise-truncated"), Some("1"));
    assert_eq!(values(&reply.json()["embeddings"][0]), cut);
    let reply = post(
        server.address,
        "/api/embeddings",
        &json!({"model": "fake", "prompt": long}).to_string(),
    );
    assert_eq!(values(&reply.json()["embedding"]), cut);
    let body = json!({"model": "fake", "input": long, "truncate": false});
    assert_eq!(
        post(server.address, "/api/embed", &body.to_string()).status,
        400
    );
}

#[test]
fn ollama_without_a_text_gives_no_vector() {
    let server = Server::start();
    for input in [json!(""), json!([])] {
        let body = json!({"model": "fake", "input": input});
        let answer = post(server.address, "/api/embed", &body.to_string()).json();
        assert_eq!(answer["embeddings"], json!([]));
    }
    let answer = post(server.address, "/api/embeddings", r#"{"model":"fake"}"#).json();
    assert_eq!(answer, json!({"embedding": []}));
}

#[test]
fn ollama_errors_are_messages() {
    let server = Server::start();
    for (path, body, status, message) in [
        (
            "/api/embed",
            json!({"model": "other", "input": "a"}),
            404,
            "\"other\"",
        ),
        (
            "/api/embed",
            json!({"model": "fake", "input": "a", "template": "b"}),
            400,
            "template: ",
        ),
        (
            "/api/embed",
            json!({"model": "fake", "input": [1]}),
            400,
            "no token ids",
        ),
        (
            "/api/embed",
            json!({"model": "fake", "input": "a", "options": {"num_ctx": 10}}),
            400,
            "options.num_ctx: ",
        ),
        (
            "/api/embed",
            json!({"model": "fake", "input": "a", "options": {"rope": 1}}),
            400,
            "options.rope: ",
        ),
        (
            "/api/embed",
            json!({"model": "fake", "input": "a", "options": []}),
            400,
            "options: ",
        ),
        (
            "/api/embeddings",
            json!({"model": "fake", "prompt": ["a"]}),
            400,
            "prompt: ",
        ),
        (
            "/api/embeddings",
            json!({"model": "fake", "prompt": "a", "dimensions": 4}),
            400,
            "dimensions: ",
        ),
    ] {
        let reply = post(server.address, path, &body.to_string());
        let error = reply.json();
        assert_eq!(reply.status, status, "{error}");
        assert!(
            error["error"].as_str().unwrap().contains(message),
            "{error}"
        );
    }
}

#[test]
fn ollama_tags_list_the_model() {
    let server = Server::start();
    let answer = get(server.address, "/api/tags").json();
    let models = answer["models"].as_array().unwrap();
    let names: Vec<_> = models
        .iter()
        .map(|model| model["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["fake:latest", "fake:raw", "fake:query", "fake:document"]
    );
    assert_eq!(models[0]["digest"], SHA);
    assert_eq!(models[0]["details"]["family"], "fakes");
    let version = get(server.address, "/api/version").json();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
}
