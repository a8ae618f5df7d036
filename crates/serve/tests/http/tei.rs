use serde_json::{Value, json};

use crate::client::{get, post, values};
use crate::fake::{CONTEXT, SHA, Server, ids, unit, vector};

#[test]
fn tei_vectors_come_as_lists_with_timing_headers() {
    let server = Server::start();
    for (path, body, expected, space) in [
        (
            "/embed",
            json!({"inputs": "one"}),
            vec!["one"],
            "space-raw-8",
        ),
        (
            "/",
            json!({"inputs": ["one", "two"]}),
            vec!["one", "two"],
            "space-raw-8",
        ),
        (
            "/embed",
            json!({
                "inputs": ["one"], "prompt_name": "search", "normalize": true, "truncate": false,
                "truncation_direction": "Right", "dimensions": null,
            }),
            vec!["q: one"],
            "space-query-8",
        ),
    ] {
        let reply = post(server.address, path, &body.to_string());
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.header("x-lanewise-space"), Some(space));
        assert_eq!(reply.header("x-compute-type"), Some("cpu"));
        for name in [
            "x-compute-time",
            "x-total-time",
            "x-tokenization-time",
            "x-inference-time",
        ] {
            assert!(reply.header(name).unwrap().parse::<u64>().is_ok(), "{name}");
        }
        let tokens: usize = expected.iter().map(|text| ids(text).len()).sum();
        assert_eq!(reply.header("x-compute-tokens"), Some(&*tokens.to_string()));
        let answer = reply.json();
        let found: Vec<_> = answer.as_array().unwrap().iter().map(values).collect();
        let expected: Vec<_> = expected.iter().map(|text| vector(&ids(text))).collect();
        assert_eq!(found, expected);
    }
    let body = json!({"inputs": "one", "dimensions": 4});
    let answer = post(server.address, "/embed", &body.to_string()).json();
    assert_eq!(values(&answer[0]), unit(vector(&ids("one"))[..4].to_vec()));
}

#[test]
fn tei_texts_are_cut_only_if_asked_for() {
    let server = Server::start();
    let long = "a".repeat(CONTEXT);
    let body = json!({"inputs": ["b", long]});
    let reply = post(server.address, "/embed", &body.to_string());
    assert_eq!(reply.status, 413);
    assert_eq!(reply.json()["error_type"], "Validation");
    let body = json!({"inputs": ["b", long], "truncate": true});
    let reply = post(server.address, "/embed", &body.to_string());
    assert_eq!(reply.header("x-lanewise-truncated"), Some("1"));
    let expected = vector(&ids(&long[..CONTEXT - 2]));
    assert_eq!(values(&reply.json()[1]), expected);
}

#[test]
fn tei_errors_have_its_types() {
    let server = Server::start();
    for (path, body, status, kind, message) in [
        (
            "/embed",
            json!({"inputs": []}),
            400,
            "Empty",
            "nothing to embed",
        ),
        (
            "/embed",
            json!({"inputs": 1}),
            422,
            "Validation",
            "inputs: invalid type",
        ),
        ("/embed", json!({}), 422, "Validation", "inputs: is missing"),
        ("/embed", json!([]), 400, "Validation", "an object of JSON"),
        (
            "/embed",
            json!({"inputs": "a", "raw_scores": true}),
            422,
            "Validation",
            "raw_scores",
        ),
        (
            "/embed",
            json!({"inputs": "a", "normalize": false}),
            422,
            "Validation",
            "normalize: ",
        ),
        (
            "/embed",
            json!({"inputs": "a", "truncation_direction": "Left"}),
            422,
            "Validation",
            "truncation_direction: ",
        ),
        (
            "/embed",
            json!({"inputs": "a", "prompt_name": "x"}),
            422,
            "Validation",
            "raw, query, document",
        ),
        (
            "/embed",
            json!({"inputs": [1], "prompt_name": "query"}),
            422,
            "Validation",
            "prompt_name: ",
        ),
        (
            "/embed",
            json!({"inputs": "a", "dimensions": 3}),
            422,
            "Validation",
            "dimensions: ",
        ),
        (
            "/embed",
            json!({"inputs": vec!["a"; 2049]}),
            413,
            "Validation",
            "2048",
        ),
        (
            "/embed?prompt_name=query",
            json!({"inputs": "a"}),
            422,
            "Validation",
            "prompt_name: ",
        ),
        (
            "/embed_all",
            json!({"inputs": "a"}),
            424,
            "Backend",
            "not supported by this model",
        ),
        (
            "/embed_sparse",
            json!({"inputs": "a"}),
            424,
            "Backend",
            "not supported by this model",
        ),
        (
            "/rerank",
            json!({"query": "a", "texts": ["b"]}),
            424,
            "Backend",
            "not supported by this model",
        ),
        (
            "/predict",
            json!({"inputs": "a"}),
            424,
            "Backend",
            "not supported by this model",
        ),
        (
            "/similarity",
            json!({"inputs": {"source_sentence": "a"}}),
            422,
            "Validation",
            "inputs.sentences: ",
        ),
        (
            "/similarity",
            json!({"inputs": {"source_sentence": "a", "sentences": []}}),
            400,
            "Empty",
            "nothing",
        ),
        (
            "/similarity",
            json!({"inputs": {"source_sentence": "a", "sentences": ["b"]}, "parameters": {"x": 1}}),
            422,
            "Validation",
            "parameters.x: ",
        ),
        (
            "/tokenize",
            json!({"inputs": [1]}),
            422,
            "Validation",
            "tokens already",
        ),
        (
            "/decode",
            json!({"ids": [300]}),
            422,
            "Validation",
            "300 is no token",
        ),
        ("/decode", json!({"ids": "a"}), 422, "Validation", "no list"),
    ] {
        let reply = post(server.address, path, &body.to_string());
        let error = reply.json();
        assert_eq!(
            (reply.status, &error["error_type"]),
            (status, &json!(kind)),
            "{path} {body} {error}"
        );
        assert!(
            error["error"].as_str().unwrap().contains(message),
            "{error}"
        );
    }
}

#[test]
fn tei_similarity_is_the_cosine() {
    let server = Server::start();
    let body = json!({
        "inputs": {"source_sentence": "a", "sentences": ["a", "b"]}, "parameters": {"prompt_name": "query"},
    });
    let reply = post(server.address, "/similarity", &body.to_string());
    assert_eq!(reply.header("x-lanewise-space"), Some("space-query-8"));
    let scores = values(&reply.json());
    let (a, b) = (vector(&ids("q: a")), vector(&ids("q: b")));
    let cosine: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
    assert!(
        (scores[0] - 1.0).abs() < 1e-6 && (scores[1] - cosine).abs() < 1e-6,
        "{scores:?}"
    );
}

#[test]
fn tei_tokens_are_shown_and_read_back() {
    let server = Server::start();
    let token = |id: u32, text: &str, special: bool| json!({"id": id, "text": text, "special": special, "start": null, "stop": null});
    let answer = post(server.address, "/tokenize", r#"{"inputs":["a",""]}"#).json();
    let (begin, end) = (token(256, "<256>", true), token(257, "<257>", true));
    assert_eq!(
        answer,
        json!([[begin, token(97, "a", false), end], [begin, end]])
    );
    let body = r#"{"inputs":"a","add_special_tokens":false,"prompt_name":"query"}"#;
    let answer = post(server.address, "/tokenize", body).json();
    let ids = answer[0]
        .as_array()
        .unwrap()
        .iter()
        .map(|token| token["id"].as_u64().unwrap());
    assert_eq!(ids.collect::<Vec<_>>(), b"q: a".map(u64::from));
    let answer = post(server.address, "/decode", r#"{"ids":[256,104,105,257]}"#).json();
    assert_eq!(answer, json!(["hi"]));
    let answer = post(
        server.address,
        "/decode",
        r#"{"ids":[[104],[105]],"skip_special_tokens":false}"#,
    );
    assert_eq!(answer.json(), json!(["h", "i"]));
}

#[test]
fn tei_info_tells_of_the_model() {
    let server = Server::start();
    let info = get(server.address, "/info").json();
    assert_eq!(info["model_id"], "fake");
    assert_eq!(info["model_sha"], SHA);
    assert_eq!(
        info["model_type"],
        json!({"embedding": {"pooling": "mean"}})
    );
    assert_eq!(info["max_input_length"], CONTEXT);
    assert_eq!(info["max_client_batch_size"], 2048);
    assert_eq!(
        info["prompts"],
        json!({"raw": "", "query": "q: ", "document": "d: "})
    );
    let health = get(server.address, "/health");
    assert_eq!((health.status, health.body.len()), (200, 0));
    assert_ne!(info["version"], Value::Null);
}
