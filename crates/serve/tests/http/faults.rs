use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use lanewise_serve::ServeOptions;
use lanewise_serve::schedule::Limits;
use serde_json::json;

use crate::client::{connect, get, post, reply, request, send, send_and_close, values};
use crate::fake::{Server, ids, vector, wait_until};

const PATHS: [&str; 9] = [
    "/v1/embeddings",
    "/embed",
    "/similarity",
    "/tokenize",
    "/decode",
    "/api/embed",
    "/api/embeddings",
    "/rerank",
    "/",
];

/// Whether the server still works.
#[track_caller]
fn check(server: &Server) {
    let reply = post(server.address, "/embed", r#"{"inputs":"alive"}"#);
    assert_eq!(values(&reply.json()[0]), vector(&ids("alive")));
}

#[test]
fn bodies_that_are_no_requests_are_refused() {
    let server = Server::start();
    let deep = [&b"{\"inputs\":"[..], &b"[".repeat(100_000)].concat();
    for path in PATHS.into_iter().filter(|path| *path != "/rerank") {
        for body in [
            &b""[..],
            b"{",
            b"null",
            b"[]",
            b"\"a\"",
            b"{\"model\":\"fake\",\"input\":\"\xff\"}",
            b"{\"inputs\":\"\xc3\x28\"}",
            b"{\"inputs\":\"a\0b\"}",
            b"\0\0\0\0",
            b"{\"inputs\":\"\\ud800\"}",
            b"{\"inputs\":\"a\"} {}",
            b"{\"inputs\":\"a\",\"inputs\":\"b\"}",
            b"{\"inputs\":1e999}",
            b"\xef\xbb\xbf{\"inputs\":\"a\"}",
            &deep,
        ] {
            let reply = send(server.address, "POST", path, &[], body);
            assert!(
                (400..423).contains(&reply.status),
                "{path} {body:?} {}",
                reply.status
            );
            assert!(reply.json()["error"].is_string() || reply.json()["error"].is_object());
        }
    }
    check(&server);
}

#[test]
fn a_zero_character_is_a_character() {
    let server = Server::start();
    let reply = post(server.address, "/embed", "{\"inputs\":\"a\\u0000b\"}");
    assert_eq!(values(&reply.json()[0]), vector(&ids("a\0b")));
}

#[test]
fn a_million_empty_inputs_are_refused() {
    let server = Server::start();
    let empty = vec!["\"\""; 1_000_000].join(",");
    let lists = vec!["[]"; 1_000_000].join(",");
    let numbers = vec!["1"; 1_000_000].join(",");
    for (path, body) in [
        ("/embed", format!("{{\"inputs\":[{empty}]}}")),
        ("/tokenize", format!("{{\"inputs\":[{empty}]}}")),
        ("/decode", format!("{{\"ids\":[{lists}]}}")),
        ("/embed", format!("{{\"inputs\":[{numbers}]}}")),
        (
            "/v1/embeddings",
            format!("{{\"model\":\"fake\",\"input\":[{empty}]}}"),
        ),
        (
            "/api/embed",
            format!("{{\"model\":\"fake\",\"input\":[{empty}]}}"),
        ),
        (
            "/similarity",
            format!("{{\"inputs\":{{\"source_sentence\":\"\",\"sentences\":[{empty}]}}}}"),
        ),
    ] {
        let reply = post(server.address, path, &body);
        assert!(
            [400, 413].contains(&reply.status),
            "{path} {}",
            reply.text()
        );
    }
    check(&server);
}

#[test]
fn bodies_that_are_too_large_are_refused() {
    let options = ServeOptions {
        max_body: 10_000,
        ..ServeOptions::default()
    };
    let server = Server::with(options, Limits::default(), None);
    let body = json!({"inputs": "a".repeat(3_000_000)}).to_string();
    let reply = post(server.address, "/embed", &body);
    assert_eq!(reply.status, 413);
    assert!(reply.text().contains("10000 bytes"));
    // A client that asks before it sends.
    let mut stream = connect(server.address);
    let head = "POST /embed HTTP/1.1\r\nhost: a\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-length: 20000\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(reply_of(&stream), 413);
    // The same without its length in the header.
    let mut stream = connect(server.address);
    let head = "POST /embed HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    for _ in 0..20 {
        let chunk = [b"3e8\r\n", " ".repeat(1000).as_bytes(), b"\r\n"].concat();
        stream.write_all(&chunk).unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    assert_eq!(reply_of(&stream), 413);
    check(&server);
}

#[track_caller]
fn reply_of(stream: &std::net::TcpStream) -> u16 {
    reply(stream).expect("an answer").status
}

#[test]
fn chunked_bodies_are_read() {
    let server = Server::start();
    let mut stream = connect(server.address);
    let head = "POST /embed HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    for part in ["{\"inp", "uts\":", "\"one\"}"] {
        stream
            .write_all(format!("{:x}\r\n{part}\r\n", part.len()).as_bytes())
            .unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    let reply = reply(&stream).unwrap();
    assert_eq!(values(&reply.json()[0]), vector(&ids("one")));
}

#[test]
fn compressed_bodies_are_refused_by_name() {
    let server = Server::start();
    let reply = send(
        server.address,
        "POST",
        "/embed",
        &[("content-encoding", "gzip")],
        b"\x1f\x8b",
    );
    assert_eq!(reply.status, 415);
    assert!(reply.text().contains("content-encoding: "));
}

#[test]
fn memory_for_requests_is_bounded() {
    let options = ServeOptions {
        max_memory: 100_000,
        ..ServeOptions::default()
    };
    let server = Server::with(options, Limits::default(), None);
    // One request has a part of the memory as long as it waits.
    server.model.set_open(false);
    let body = json!({"inputs": "a".repeat(20_000), "truncate": true}).to_string();
    let mut first = connect(server.address);
    first
        .write_all(&request("POST", "/embed", &[], body.as_bytes()))
        .unwrap();
    wait_until(|| {
        server.scheduler.snapshot().tokens == 0 && !metrics_say(&server, "lanewise_request_bytes 0")
    });
    let refused = post(server.address, "/embed", &body);
    assert_eq!(refused.status, 429, "{}", refused.text());
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.json()["error_type"], "Overloaded");
    server.model.set_open(true);
    assert_eq!(reply_of(&first), 200);
    wait_until(|| metrics_say(&server, "lanewise_request_bytes 0"));
    // What never fits is another error.
    let body = json!({"inputs": "a".repeat(200_000)}).to_string();
    assert_eq!(post(server.address, "/embed", &body).status, 413);
    check(&server);
}

fn metrics_say(server: &Server, line: &str) -> bool {
    get(server.address, "/metrics")
        .text()
        .lines()
        .any(|found| found == line)
}

#[test]
fn a_full_queue_says_when_to_come_again() {
    let limits = Limits {
        waiting_texts: 4,
        ..Limits::default()
    };
    let server = Server::with(ServeOptions::default(), limits, None);
    let held = server.hold();
    let mut waiting = Vec::new();
    for text in ["1", "2", "3", "4"] {
        let mut stream = connect(server.address);
        let body = json!({"model": "fake", "input": text}).to_string();
        let bytes = request("POST", "/v1/embeddings", &[], body.as_bytes());
        stream.write_all(&bytes).unwrap();
        waiting.push((text, stream));
    }
    wait_until(|| server.scheduler.snapshot().interactive == 4);
    for (path, body) in [
        ("/v1/embeddings", json!({"model": "fake", "input": "5"})),
        ("/embed", json!({"inputs": "5"})),
        ("/api/embed", json!({"model": "fake", "input": "5"})),
    ] {
        let refused = post(server.address, path, &body.to_string());
        assert_eq!(refused.status, 429, "{path}");
        assert!(
            refused
                .header("retry-after")
                .unwrap()
                .parse::<u64>()
                .unwrap()
                >= 1
        );
    }
    server.model.set_open(true);
    for (text, stream) in waiting {
        let answer = reply(&stream).expect("an answer").json();
        assert_eq!(values(&answer["data"][0]["embedding"]), vector(&ids(text)));
    }
    assert_eq!(reply_of(&held), 200);
    assert!(metrics_say(&server, "lanewise_refused_requests_total 3"));
}

#[test]
fn what_clients_that_vanish_wait_for_is_dropped() {
    let server = Server::start();
    let held = server.hold();
    let waiting = |count: usize| {
        let line = format!("lanewise_waiting_texts{{lane=\"bulk\"}} {count}");
        metrics_say(&server, &line)
    };
    let body = r#"{"inputs":["a","b","c"]}"#;
    send_and_close(server.address, "/embed", body, || waiting(3));
    wait_until(|| {
        metrics_say(
            &server,
            "lanewise_requests_total{route=\"/embed\",status=\"499\"} 1",
        )
    });
    server.model.set_open(true);
    assert_eq!(reply_of(&held), 200);
    wait_until(|| waiting(0));
    assert!(metrics_say(&server, "lanewise_dropped_texts_total 3"));
    assert_eq!(server.model.embedded.load(Ordering::Relaxed), 1);
    check(&server);
}

#[test]
fn slow_headers_and_bodies_time_out() {
    let options = ServeOptions {
        header_timeout: Duration::from_millis(200),
        body_timeout: Duration::from_millis(200),
        max_connections: 4,
        ..ServeOptions::default()
    };
    let server = Server::with(options, Limits::default(), None);
    // As many as there may be, each with a byte now and then.
    let slow: Vec<_> = (0..4)
        .map(|_| {
            let mut stream = connect(server.address);
            thread::spawn(move || {
                for byte in b"GET /health HTTP/1.1\r\nhost: a-name-that-takes-its-time\r\n" {
                    if stream.write_all(&[*byte]).is_err() {
                        break;
                    }
                    thread::sleep(Duration::from_millis(20));
                }
                // The server has closed it, with or without a word.
                let _ = stream.read_to_end(&mut Vec::new());
            })
        })
        .collect();
    check(&server);
    slow.into_iter().for_each(|slow| slow.join().unwrap());
    let mut stream = connect(server.address);
    stream
        .write_all(
            b"POST /embed HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 100\r\n\r\n{",
        )
        .unwrap();
    assert_eq!(reply_of(&stream), 408);
    check(&server);
}

#[test]
fn clients_that_read_no_answer_are_left() {
    let options = ServeOptions {
        write_timeout: Duration::from_millis(300),
        ..ServeOptions::default()
    };
    let server = Server::with(options, Limits::default(), None);
    // More than the buffers of a connection take.
    let body = json!({"inputs": vec!["a".repeat(90); 2048]}).to_string();
    let mut stream = connect(server.address);
    for _ in 0..100 {
        let request = format!(
            "POST /tokenize HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(request.as_bytes()).is_err() {
            break;
        }
    }
    wait_until(|| metrics_say(&server, "lanewise_request_bytes 0"));
    check(&server);
}

#[test]
fn a_half_closed_connection_counts_as_closed() {
    let server = Server::start();
    server.model.set_open(false);
    let mut stream = connect(server.address);
    stream
        .write_all(&request("POST", "/embed", &[], b"{\"inputs\":\"a\"}"))
        .unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert!(reply(&stream).is_none());
    server.model.set_open(true);
    check(&server);
}

#[test]
fn requests_on_one_connection_follow_each_other() {
    let server = Server::start();
    let mut stream = connect(server.address);
    let body = r#"{"inputs":"a"}"#;
    let one = format!(
        "POST /embed HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let last = request("POST", "/embed", &[], body.as_bytes());
    stream
        .write_all(&[one.as_bytes(), one.as_bytes(), &last].concat())
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 3);
}

#[test]
fn a_thousand_connections_are_served() {
    let server = Server::start();
    let streams: Vec<_> = (0..1000)
        .map(|number| {
            let mut stream = connect(server.address);
            let body = json!({"inputs": format!("text {number}")}).to_string();
            stream
                .write_all(&request("POST", "/embed", &[], body.as_bytes()))
                .unwrap();
            stream
        })
        .collect();
    for (number, stream) in streams.iter().enumerate() {
        let answer = reply(stream).expect("an answer").json();
        assert_eq!(values(&answer[0]), vector(&ids(&format!("text {number}"))));
    }
}

#[test]
fn bugs_are_errors_of_the_request_alone() {
    let server = Server::start();
    let reply = post(server.address, "/embed", r#"{"inputs":"a bug"}"#);
    assert_eq!(
        (reply.status, &reply.json()["error_type"]),
        (424, &json!("Backend"))
    );
    server.model.panics.store(true, Ordering::Relaxed);
    let reply = post(
        server.address,
        "/v1/embeddings",
        r#"{"model":"fake","input":"a"}"#,
    );
    assert_eq!(
        (reply.status, &reply.json()["error"]["type"]),
        (500, &json!("server_error"))
    );
    server.model.panics.store(false, Ordering::Relaxed);
    check(&server);
}

#[test]
fn other_routes_and_methods_are_refused() {
    let server = Server::start();
    assert_eq!(post(server.address, "/v2/embeddings", "{}").status, 404);
    assert_eq!(get(server.address, "/v1/embeddings/").status, 404);
    for path in PATHS.into_iter().filter(|path| *path != "/") {
        let reply = get(server.address, path);
        assert_eq!(reply.status, 405, "{path}");
        assert_eq!(reply.header("allow"), Some("POST"), "{path}");
        assert!(reply.text().contains("other methods"), "{path}");
    }
}
