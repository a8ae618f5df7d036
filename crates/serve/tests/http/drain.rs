use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use lanewise_serve::ServeOptions;
use lanewise_serve::schedule::Limits;
use serde_json::json;

use crate::client::{connect, reply, request, values};
use crate::fake::{Server, ids, vector, wait_until};

#[test]
fn the_end_under_load_answers_what_was_admitted() {
    let mut server = Server::start();
    let held = server.hold();
    let streams: Vec<_> = (0..100)
        .map(|number| {
            let mut stream = connect(server.address);
            let body = json!({"inputs": format!("text {number}")}).to_string();
            stream
                .write_all(&request("POST", "/embed", &[], body.as_bytes()))
                .unwrap();
            stream
        })
        .collect();
    let idle = connect(server.address);
    wait_until(|| server.scheduler.snapshot().interactive == 100);
    server.stop();
    // Nobody is accepted any more, and idle connections are closed.
    assert!(reply(&idle).is_none());
    wait_until(|| TcpStream::connect(server.address).is_err());
    server.model.set_open(true);
    for (number, stream) in streams.iter().enumerate() {
        let answer = reply(stream).expect("an answer").json();
        assert_eq!(values(&answer[0]), vector(&ids(&format!("text {number}"))));
    }
    assert_eq!(reply(&held).expect("an answer").status, 200);
    server.join();
}

#[test]
fn the_end_does_not_wait_longer_than_the_drain() {
    let options = ServeOptions {
        drain: Duration::from_millis(200),
        ..ServeOptions::default()
    };
    let mut server = Server::with(options, Limits::default(), None);
    let held = server.hold();
    let start = Instant::now();
    server.join();
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(reply(&held).is_none());
}
