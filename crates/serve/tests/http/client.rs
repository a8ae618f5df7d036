//! A client that sends bytes as they are.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::fake::wait_until;

/// A response.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(known, _)| known == name);
        header.map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream
        .set_write_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream
}

/// The bytes of a request.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nhost: server\r\nconnection: close\r\n");
    for (name, value) in headers {
        bytes += &format!("{name}: {value}\r\n");
    }
    bytes += &format!("content-length: {}\r\n\r\n", body.len());
    [bytes.as_bytes(), body].concat()
}

/// What comes until the server closes the connection.
pub fn reply(mut stream: &TcpStream) -> Option<Reply> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines.filter_map(|line| line.split_once(": "));
    Some(Reply {
        status,
        headers: headers
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        body: bytes[end + 4..].to_vec(),
    })
}

pub fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Reply {
    let mut stream = connect(address);
    stream
        .write_all(&request(method, path, headers, body))
        .unwrap();
    reply(&stream).expect("an answer")
}

pub fn get(address: SocketAddr, path: &str) -> Reply {
    send(address, "GET", path, &[], b"")
}

pub fn post(address: SocketAddr, path: &str, body: &str) -> Reply {
    send(address, "POST", path, &[], body.as_bytes())
}

/// Sends a request and goes away once something holds.
pub fn send_and_close(address: SocketAddr, path: &str, body: &str, once: impl FnMut() -> bool) {
    let mut stream = connect(address);
    stream
        .write_all(&request("POST", path, &[], body.as_bytes()))
        .unwrap();
    wait_until(once);
    stream.shutdown(Shutdown::Both).unwrap();
}

/// The values of a vector in JSON.
pub fn values(vector: &Value) -> Vec<f32> {
    let values = vector.as_array().expect("a list").iter();
    values.map(|value| value.as_f64().unwrap() as f32).collect()
}
