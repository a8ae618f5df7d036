use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::client::{get, post, values};
use crate::fake::{CONTEXT, Server, ids, unit, vector};

const PATH: &str = "/v1/embeddings";

#[test]
fn openai_inputs_are_texts_or_tokens() {
    let server = Server::start();
    let one = vector(&ids("one"));
    let two = vector(&ids("two"));
    for (input, expected) in [
        (json!("one"), vec![&one]),
        (json!(["one", "two"]), vec![&one, &two]),
        (json!(ids("one")), vec![&one]),
        (json!([ids("two"), ids("one")]), vec![&two, &one]),
    ] {
        let body = json!({"model": "fake", "input": input, "encoding_format": "float"});
        let reply = post(server.address, PATH, &body.to_string());
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.header("x-lanewise-space"), Some("space-raw-8"));
        assert_eq!(reply.header("content-type"), Some("application/json"));
        let answer = reply.json();
        assert_eq!(answer["object"], "list");
        assert_eq!(answer["model"], "fake");
        let tokens = 5 * expected.len();
        assert_eq!(
            answer["usage"],
            json!({"prompt_tokens": tokens, "total_tokens": tokens})
        );
        let data = answer["data"].as_array().unwrap();
        assert_eq!(data.len(), expected.len());
        for (at, (item, expected)) in data.iter().zip(expected).enumerate() {
            assert_eq!(item["object"], "embedding");
            assert_eq!(item["index"], at);
            assert_eq!(&values(&item["embedding"]), expected);
        }
    }
}

#[test]
fn openai_vectors_are_written_as_base64_and_shortened() {
    let server = Server::start();
    let body = json!({
        "model": "fake:document", "input": ["one"], "encoding_format": "base64", "dimensions": 4, "user": "me",
    });
    let reply = post(server.address, PATH, &body.to_string());
    assert_eq!(reply.header("x-lanewise-space"), Some("space-document-4"));
    let answer = reply.json();
    assert_eq!(answer["model"], "fake:document");
    let text = answer["data"][0]["embedding"].as_str().unwrap();
    let bytes = STANDARD.decode(text).unwrap();
    let expected = unit(vector(&ids("d: one"))[..4].to_vec());
    let expected: Vec<u8> = expected
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    assert_eq!(bytes, expected);
}

#[test]
fn openai_errors_name_the_field() {
    let server = Server::start();
    let long = "a".repeat(CONTEXT);
    for (body, status, param, code, message) in [
        (
            json!({"model": "fake"}),
            400,
            json!("input"),
            Value::Null,
            "is missing",
        ),
        (
            json!({"input": "a"}),
            400,
            json!("model"),
            Value::Null,
            "is missing",
        ),
        (
            json!({"model": "fake", "input": "a", "prompt": "b"}),
            400,
            json!("prompt"),
            Value::Null,
            "not known",
        ),
        (
            json!({"model": "fake", "input": []}),
            400,
            json!("input"),
            Value::Null,
            "nothing to embed",
        ),
        (
            json!({"model": "fake", "input": [[]]}),
            400,
            json!("input"),
            Value::Null,
            "are no tokens",
        ),
        (
            json!({"model": "fake", "input": [[1], [999]]}),
            400,
            json!("input[1]"),
            Value::Null,
            "are no tokens",
        ),
        (
            json!({"model": "fake", "input": {"a": 1}}),
            400,
            json!("input"),
            Value::Null,
            "invalid type: map",
        ),
        (
            json!({"model": "fake", "input": "a", "dimensions": 5}),
            400,
            json!("dimensions"),
            Value::Null,
            "8, 4",
        ),
        (
            json!({"model": "fake", "input": "a", "dimensions": "4"}),
            400,
            json!("dimensions"),
            Value::Null,
            "string",
        ),
        (
            json!({"model": "fake", "input": "a", "dimensions": -4}),
            400,
            json!("dimensions"),
            Value::Null,
            "-4",
        ),
        (
            json!({"model": "fake", "input": "a", "encoding_format": "f16"}),
            400,
            json!("encoding_format"),
            Value::Null,
            "float or base64",
        ),
        (
            json!({"model": "other", "input": "a"}),
            404,
            json!("model"),
            json!("model_not_found"),
            "fake:document",
        ),
        (
            json!({"model": "fake:x", "input": "a"}),
            404,
            json!("model"),
            json!("model_not_found"),
            "fake:query",
        ),
        (
            json!({"model": "faked", "input": "a"}),
            404,
            json!("model"),
            json!("model_not_found"),
            "fake:query",
        ),
        (
            json!({"model": "fake:query", "input": [1]}),
            400,
            json!("model"),
            Value::Null,
            "cannot stand in front of token ids",
        ),
        (
            json!({"model": "fake", "input": ["a", long]}),
            400,
            json!("input[1]"),
            json!("context_length_exceeded"),
            "maximum context length is 100 tokens",
        ),
        (
            json!({"model": "fake", "input": vec![1; CONTEXT + 1]}),
            400,
            json!("input"),
            json!("context_length_exceeded"),
            "100 tokens",
        ),
        (
            json!({"model": "fake", "input": vec!["a"; 2049]}),
            413,
            json!("input"),
            Value::Null,
            "2048 elements",
        ),
    ] {
        let reply = post(server.address, PATH, &body.to_string());
        assert_eq!(reply.status, status, "{}", reply.text());
        let error = &reply.json()["error"];
        assert_eq!(error["type"], "invalid_request_error");
        assert_eq!(error["param"], param, "{error}");
        assert_eq!(error["code"], code, "{error}");
        assert!(
            error["message"].as_str().unwrap().contains(message),
            "{error}"
        );
    }
}

#[test]
fn openai_models_are_the_model_with_each_prompt() {
    let server = Server::start();
    let answer = get(server.address, "/v1/models").json();
    let models = answer["data"].as_array().unwrap().iter();
    let models: Vec<_> = models.map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(models, ["fake", "fake:raw", "fake:query", "fake:document"]);
    for model in models {
        let body = json!({"model": model, "input": "a"});
        assert_eq!(
            post(server.address, PATH, &body.to_string()).status,
            200,
            "{model}"
        );
    }
}
