use lanewise_serve::ServeOptions;
use lanewise_serve::schedule::Limits;
use serde_json::{Value, json};

use crate::client::{get, post, send};
use crate::fake::Server;

#[test]
fn metrics_count_requests_and_passes() {
    let server = Server::start();
    post(server.address, "/embed", r#"{"inputs":["one","two"]}"#);
    post(server.address, "/embed", r#"{"inputs":1}"#);
    get(server.address, "/made/up");
    let reply = get(server.address, "/metrics");
    assert!(
        reply
            .header("content-type")
            .unwrap()
            .starts_with("application/openmetrics-text")
    );
    let text = reply.text();
    for line in [
        "lanewise_requests_total{route=\"/embed\",status=\"200\"} 1",
        "lanewise_requests_total{route=\"/embed\",status=\"422\"} 1",
        "lanewise_requests_total{route=\"none\",status=\"404\"} 1",
        "lanewise_request_seconds_count{route=\"/embed\"} 2",
        "lanewise_vector_seconds_count{lane=\"bulk\"} 1",
        "lanewise_embedded_texts_total 2",
        "lanewise_embedded_tokens_total 10",
        "lanewise_waiting_texts{lane=\"interactive\"} 0",
        "lanewise_waiting_tokens 0",
        "lanewise_cache_hits_total 0",
        "lanewise_dropped_texts_total 0",
        "lanewise_refused_requests_total 0",
        "lanewise_request_bytes 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    let start = text
        .lines()
        .find_map(|line| line.strip_prefix("process_start_time_seconds "));
    assert!(start.unwrap().parse::<u64>().unwrap() > 1_700_000_000);
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn lanes_follow_the_length_and_the_header() {
    let server = Server::start();
    let lanes = || {
        let text = get(server.address, "/metrics").text();
        let count = |lane| {
            let name = format!("lanewise_vector_seconds_count{{lane=\"{lane}\"}} ");
            let count = text.lines().find_map(|line| line.strip_prefix(&name));
            count.map_or(0, |count| count.parse::<usize>().unwrap())
        };
        (count("interactive"), count("bulk"))
    };
    let short = json!({"inputs": "a"}).to_string();
    let long = json!({"inputs": "a".repeat(63)}).to_string();
    let two = json!({"inputs": ["a", "b"]}).to_string();
    for (body, priority, interactive) in [
        (&short, None, true),
        (&long, None, false),
        (&two, None, false),
        (&short, Some("bulk"), false),
        (&two, Some("interactive"), true),
    ] {
        let before = lanes();
        let headers: Vec<_> = priority
            .map(|value| ("x-priority", value))
            .into_iter()
            .collect();
        let reply = send(server.address, "POST", "/embed", &headers, body.as_bytes());
        assert_eq!(reply.status, 200, "{}", reply.text());
        let after = lanes();
        let expected = match interactive {
            true => (before.0 + 1, before.1),
            false => (before.0, before.1 + 1),
        };
        assert_eq!(after, expected, "{body} {priority:?}");
    }
    let reply = send(
        server.address,
        "POST",
        "/embed",
        &[("x-priority", "high")],
        short.as_bytes(),
    );
    assert_eq!(reply.status, 422);
    assert!(reply.text().contains("x-priority: "));
}

#[test]
fn every_answer_has_a_number_of_its_own() {
    let server = Server::start();
    let ids = ["/health", "/made/up", "/ready"].map(|path| {
        let reply = get(server.address, path);
        reply.header("x-request-id").expect("a number").to_owned()
    });
    assert!(ids[0] != ids[1] && ids[1] != ids[2]);
}

#[test]
fn keys_are_asked_for_where_there_are_any() {
    let options = ServeOptions {
        api_keys: vec!["first".into(), "second".into()],
        ..ServeOptions::default()
    };
    let server = Server::with(options, Limits::default(), None);
    for path in ["/health", "/ready"] {
        assert_eq!(get(server.address, path).status, 200, "{path}");
    }
    for (method, path) in [
        ("POST", "/v1/embeddings"),
        ("POST", "/embed"),
        ("POST", "/api/embed"),
        ("POST", "/search"),
        ("GET", "/v1/models"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
        ("GET", "/made/up"),
    ] {
        for headers in [&[][..], &[("authorization", "Bearer third")]] {
            let reply = send(server.address, method, path, headers, b"{}");
            assert_eq!(reply.status, 401, "{method} {path}");
            assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
            assert!(reply.json()["error"]["message"].is_string());
        }
        let headers = [("authorization", "Bearer second")];
        let reply = send(server.address, method, path, &headers, b"{}");
        assert_ne!(reply.status, 401, "{method} {path}");
    }
}

/// Every method and path of the document.
fn operations(document: &Value) -> Vec<(String, String)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().keys();
        methods.map(|method| (method.to_uppercase(), path.clone()))
    });
    operations.collect()
}

#[test]
fn the_document_lists_the_routes() {
    let server = Server::start();
    let document = get(server.address, "/openapi.json").json();
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let operations = operations(&document);
    assert_eq!(operations.len(), 21);
    for (method, path) in operations {
        let reply = send(server.address, &method, &path, &[], b"{}");
        assert_ne!(reply.status, 405, "{method} {path}");
        assert!(reply.status != 404 || path == "/search", "{method} {path}");
        let responses = &document["paths"][&path][method.to_lowercase()]["responses"];
        let is_stated = responses.get(reply.status.to_string()).is_some();
        assert!(is_stated, "{method} {path} gives {}", reply.status);
    }
}

#[test]
fn the_document_has_exactly_the_fields_that_are_known() {
    let server = Server::start();
    let document = get(server.address, "/openapi.json").json();
    for (method, path) in operations(&document) {
        // Without an index nothing is read, and nothing is read of what the model does not support.
        if method != "POST"
            || [
                "/search",
                "/embed_all",
                "/embed_sparse",
                "/rerank",
                "/predict",
            ]
            .contains(&&*path)
        {
            continue;
        }
        let body = &document["paths"][&path]["post"]["requestBody"]["content"]["application/json"];
        let name = body["schema"]["$ref"]
            .as_str()
            .unwrap()
            .rsplit('/')
            .next()
            .unwrap();
        let schema = &document["components"]["schemas"][name];
        assert_eq!(schema["additionalProperties"], false, "{name}");
        let mut stated: Vec<_> = schema["properties"].as_object().unwrap().keys().collect();
        stated.sort();
        // The message about a field that is not known lists the others, if no other is wrong or missing.
        let mut fields = json!({"unknown": 1});
        for name in schema["required"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
        {
            fields[name] = schema["examples"][0][name].clone();
        }
        let reply = post(server.address, &path, &fields.to_string()).text();
        let known = reply
            .split("known are ")
            .nth(1)
            .unwrap_or_else(|| panic!("{path}: {reply}"));
        let known = known.split('"').next().unwrap();
        let mut known: Vec<_> = known.split(", ").collect();
        known.sort_unstable();
        assert_eq!(known, stated, "{path}");
    }
}

#[test]
fn examples_of_the_document_work() {
    let server = Server::start();
    let document = get(server.address, "/openapi.json").json();
    for (method, path) in operations(&document) {
        if method != "POST"
            || [
                "/search",
                "/embed_all",
                "/embed_sparse",
                "/rerank",
                "/predict",
            ]
            .contains(&&*path)
        {
            continue;
        }
        let body = &document["paths"][&path]["post"]["requestBody"]["content"]["application/json"];
        let name = body["schema"]["$ref"]
            .as_str()
            .unwrap()
            .rsplit('/')
            .next()
            .unwrap();
        let examples = document["components"]["schemas"][name]["examples"]
            .as_array()
            .unwrap();
        for example in examples {
            let text = example.to_string().replace("embeddinggemma", "fake");
            let reply = post(server.address, &path, &text);
            assert_eq!(reply.status, 200, "{path} {text} {}", reply.text());
        }
    }
}
