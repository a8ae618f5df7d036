//! Requests before anything of them is understood: their body, in bounded memory and time, and their lane.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, EXPECT};
use http_body_util::BodyExt;
use tokio::time::timeout_at;

use super::App;
use super::fields::LONGEST_QUOTE;
use super::memory::Reservation;
use super::problem::{Kind, Problem};
use crate::schedule::Lane;

/// The header with which a client says that it waits, or does not.
const PRIORITY: &str = "x-priority";

/// A body may come this slowly after the time in which it must have begun.
const BYTES_PER_SECOND: u64 = 64 << 10;

/// A body that is too large is read and thrown away for so long, since most clients read the answer only when
/// they have sent everything.
const DISCARD: Duration = Duration::from_secs(5);

/// The memory of a body's fields and tokens, in bodies.
const COPIES: usize = 3;

/// A request with its whole body.
pub struct Received {
    /// The body.
    pub body: Vec<u8>,
    /// The lane that the client asks for.
    pub lane: Option<Lane>,
    /// When its header had come.
    pub start: Instant,
    /// The memory of the body and of what is made of it.
    pub reservation: Reservation,
}

impl App {
    /// Reads a request.
    ///
    /// # Errors
    /// If it is too large, comes too slowly, has a query or other headers that cannot be used, or there is no
    /// memory for it now.
    pub(crate) async fn receive(&self, request: Request) -> Result<Received, Problem> {
        let start = Instant::now();
        let (parts, body) = request.into_parts();
        if let Some(query) = parts.uri.query().filter(|query| !query.is_empty()) {
            let name = query.split(['=', '&']).next().unwrap_or_default();
            let name: String = name.chars().take(LONGEST_QUOTE).collect();
            let problem = "nothing of the address after \"?\" is known";
            let remedy = "give it as a field of the body";
            return Err(Problem::field(name, problem, remedy));
        }
        let lane = lane(&parts.headers)?;
        if let Some(encoding) = parts.headers.get(CONTENT_ENCODING)
            && encoding != "identity"
        {
            let problem = "compressed bodies are not read";
            let remedy = "send it without this header, as it is";
            let name = "content-encoding";
            return Err(Problem::about(Kind::Encoding, name, problem, remedy));
        }
        let mut reservation = self.memory.reservation();
        let body = self.body(&parts.headers, body, &mut reservation).await?;
        Ok(Received {
            body,
            lane,
            start,
            reservation,
        })
    }

    async fn body(
        &self,
        headers: &HeaderMap,
        mut body: Body,
        reservation: &mut Reservation,
    ) -> Result<Vec<u8>, Problem> {
        let most = self.options.max_body;
        let stated = headers
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok());
        let stated: Option<u64> = stated.and_then(|length| length.parse().ok());
        if stated.is_some_and(|stated| stated > most as u64) {
            // A client that asks first needs to send nothing.
            if !headers.contains_key(EXPECT) {
                discard(body).await;
            }
            return Err(too_large(most));
        }
        let begin = tokio::time::Instant::now() + self.options.body_timeout;
        let mut read = Vec::new();
        loop {
            let allowance = Duration::from_secs(read.len() as u64 / BYTES_PER_SECOND);
            let frame = timeout_at(begin + allowance, body.frame()).await;
            let frame = frame.map_err(|_| {
                let message = "body: it came too slowly; send it again in one go";
                Problem::new(Kind::Slow, message)
            })?;
            let Some(frame) = frame else {
                return Ok(read);
            };
            let broken = |_| Problem::new(Kind::Syntax, "body: it ended early; send it again");
            let Ok(data) = frame.map_err(broken)?.into_data() else {
                continue;
            };
            let whole = read.len() + data.len();
            if whole > most {
                discard(body).await;
                return Err(too_large(most));
            }
            if whole > read.capacity() {
                let capacity = whole.max(2 * read.capacity()).min(most);
                if let Err(problem) = reservation.grow_to(COPIES * capacity) {
                    discard(body).await;
                    return Err(problem);
                }
                read.reserve_exact(capacity - read.len());
            }
            read.extend_from_slice(&data);
        }
    }
}

fn lane(headers: &HeaderMap) -> Result<Option<Lane>, Problem> {
    let Some(value) = headers.get(PRIORITY) else {
        return Ok(None);
    };
    match value.as_bytes() {
        b"interactive" => Ok(Some(Lane::Interactive)),
        b"bulk" => Ok(Some(Lane::Bulk)),
        _ => Err(Problem::field(
            PRIORITY,
            "this header has another value than interactive and bulk",
            "give one of them, or leave it out",
        )),
    }
}

fn too_large(most: usize) -> Problem {
    let problem = format!("is larger than {most} bytes");
    let remedy = "send fewer texts at a time";
    Problem::new(Kind::TooLarge, format!("body: {problem}; {remedy}"))
}

async fn discard(mut body: Body) {
    let end = async { while let Some(Ok(_)) = body.frame().await {} };
    // Afterwards the client gets its answer, whether it reads it or not.
    let _ = tokio::time::timeout(DISCARD, end).await;
}
