//! From inputs to vectors: what all APIs have in common.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;

use super::App;
use super::answer::{Held, json};
use super::inputs::{Count, Inputs};
use super::memory::Reservation;
use super::problem::{Kind, Problem};
use super::receive::Received;
use crate::error::Refusal;
use crate::model::{Model, Tokens};
use crate::schedule::{Lane, Vector};

/// The header with the fingerprint of the vectors' space.
pub const SPACE: HeaderName = HeaderName::from_static("x-lanewise-space");

/// The header with the number of texts that were cut, if there are any.
const TRUNCATED: HeaderName = HeaderName::from_static("x-lanewise-truncated");

/// Larger bodies and answers are worked on beside the connections: less takes about a millisecond.
const INLINE_BYTES: usize = 16 << 10;

/// The bytes of a value of a vector: in memory and in JSON.
const VALUE_BYTES: usize = 4 + 12;

/// A single input of at most this many tokens is interactive without being said to be.
const INTERACTIVE_TOKENS: usize = 64;

/// What is to be embedded, and how.
pub struct Job {
    /// The model.
    pub model: Arc<dyn Model>,
    /// The name of the prompt.
    pub prompt: String,
    /// Texts or ids.
    pub inputs: Inputs,
    /// The field that they were in, for messages.
    pub field: String,
    /// The length of the vectors.
    pub dims: usize,
    /// Whether texts that are too long are cut.
    pub truncate: bool,
}

/// Tokens, and what is said of them.
pub struct Encoded {
    model: Arc<dyn Model>,
    texts: Vec<Tokens>,
    dims: usize,
    space: String,
    /// The characters of all texts.
    pub characters: usize,
    /// Of all texts.
    pub tokens: usize,
    /// When the request came.
    pub start: Instant,
    /// How long tokenizing took.
    pub tokenizing: Duration,
    /// The lane asked for.
    lane: Option<Lane>,
    reservation: Reservation,
}

/// Vectors, and what is said of them.
pub struct Embedded {
    /// Of the length asked for, in the order of the inputs.
    pub vectors: Vec<Vector>,
    /// The characters of all texts.
    pub characters: usize,
    /// Of all texts.
    pub tokens: usize,
    /// When the request came.
    pub start: Instant,
    /// How long tokenizing took.
    pub tokenizing: Duration,
    /// How long the vectors took, waiting included.
    pub embedding: Duration,
    space: String,
    truncated: usize,
    reservation: Reservation,
}

impl App {
    /// Embeds what `parse` finds in a body; `write` makes the body of the response of it.
    ///
    /// # Errors
    /// Those of `parse`, and whatever comes after.
    pub(crate) async fn embed<T: Send + 'static>(
        self: &Arc<Self>,
        received: Received,
        parse: impl FnOnce(&Self, &[u8]) -> Result<(Job, T), Problem> + Send + 'static,
        write: impl FnOnce(&Embedded, T) -> Vec<u8> + Send + 'static,
    ) -> Result<(Response, Times), Problem> {
        let app = Arc::clone(self);
        let size = received.body.len();
        let (encoded, more) = self
            .work(size, move || {
                let (job, more) = parse(&app, &received.body)?;
                Ok((app.encode(job, received)?, more))
            })
            .await?;
        let embedded = self.vectors(encoded).await?;
        let values = embedded.vectors.iter().map(|vector| vector.len());
        let size = VALUE_BYTES * values.sum::<usize>();
        self.work(size, move || {
            let bytes = write(&embedded, more);
            let times = Times::of(&embedded);
            Ok((embedded.response(bytes), times))
        })
        .await
    }

    /// The vector of a single input, and its space.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) async fn embed_one(
        self: &Arc<Self>,
        job: Job,
        received: Received,
    ) -> Result<(Vector, String), Problem> {
        let app = Arc::clone(self);
        let size = received.body.len();
        let encoded = self.work(size, move || app.encode(job, received)).await?;
        let mut embedded = self.vectors(encoded).await?;
        let none = || {
            Problem::new(
                Kind::Model,
                "the model gave no vector; this is a bug of Lanewise",
            )
        };
        let vector = embedded.vectors.pop().ok_or_else(none)?;
        Ok((vector, embedded.space))
    }

    /// Does work that takes time beside the connections, if it is large.
    ///
    /// # Errors
    /// Those of the work, and [`Kind::Model`] if it panics.
    pub(crate) async fn work<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let work = move || {
            catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
                let message = "reading the request panicked; this is a bug of Lanewise";
                Err(Problem::new(Kind::Model, message))
            })
        };
        if bytes <= INLINE_BYTES {
            return work();
        }
        let stopping = |_| Problem::from(Refusal::Stopping);
        let permit = Arc::clone(&self.workers).acquire_owned().await;
        let permit = permit.map_err(|_| Problem::from(Refusal::Stopping))?;
        let work = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        work.await.map_err(stopping)?
    }

    /// Makes tokens of the inputs of a job.
    fn encode(&self, job: Job, received: Received) -> Result<Encoded, Problem> {
        let begin = Instant::now();
        let Received {
            body,
            lane,
            start,
            mut reservation,
        } = received;
        let bytes = body.len();
        drop(body);
        let count = job.inputs.len();
        // The parsed inputs, their tokens, and the answer.
        reservation.grow_to(3 * bytes + count * job.dims * VALUE_BYTES)?;
        let mut texts = Vec::with_capacity(count);
        let mut characters = 0;
        match job.inputs {
            Inputs::Texts(inputs) => {
                for (at, text) in inputs.iter().enumerate() {
                    let tokens = job.model.encode(&job.prompt, text)?;
                    if tokens.truncated && !job.truncate {
                        let context = job.model.info().context;
                        return Err(Problem::about(
                            Kind::TooLong,
                            element(&job.field, at, count),
                            &format!(
                                "this model's maximum context length is {context} tokens, prompt included, and the \
                                 text has more"
                            ),
                            "shorten it or cut it into several texts",
                        ));
                    }
                    characters += text.chars().count();
                    texts.push(tokens);
                }
            }
            Inputs::Ids(lists) => {
                for (at, ids) in lists.into_iter().enumerate() {
                    let tokens = job.model.tokens(ids).map_err(|refusal| match refusal {
                        Refusal::Field {
                            problem, remedy, ..
                        } => Problem::field(element(&job.field, at, count), &problem, &remedy),
                        other => other.into(),
                    })?;
                    texts.push(tokens);
                }
            }
        }
        Ok(Encoded {
            space: job.model.space(&job.prompt, job.dims),
            tokens: texts.iter().map(|text| text.ids.len()).sum(),
            model: job.model,
            texts,
            dims: job.dims,
            characters,
            start,
            tokenizing: begin.elapsed(),
            lane,
            reservation,
        })
    }

    /// Waits for the vectors of tokens.
    async fn vectors(&self, encoded: Encoded) -> Result<Embedded, Problem> {
        let begin = Instant::now();
        let Encoded { model, texts, .. } = encoded;
        let lane = encoded.lane.unwrap_or(match &*texts {
            [text] if text.ids.len() <= INTERACTIVE_TOKENS => Lane::Interactive,
            _ => Lane::Bulk,
        });
        let truncated = texts.iter().filter(|text| text.truncated).count();
        let pending = self.scheduler.submit(&model, &texts, lane)?;
        drop(texts);
        let mut vectors = pending.vectors().await?;
        self.metrics.waited(lane, begin.elapsed());
        if encoded.dims != model.info().dims {
            for vector in &mut vectors {
                *vector = model.shorten(vector, encoded.dims)?.into();
            }
        }
        Ok(Embedded {
            vectors,
            characters: encoded.characters,
            tokens: encoded.tokens,
            start: encoded.start,
            tokenizing: encoded.tokenizing,
            embedding: begin.elapsed(),
            space: encoded.space,
            truncated,
            reservation: encoded.reservation,
        })
    }

    /// The length of vectors that a client asks for.
    ///
    /// # Errors
    /// If vectors of the model cannot have it.
    pub(super) fn dims(model: &dyn Model, dims: Option<Count>) -> Result<usize, Problem> {
        match dims {
            None => Ok(model.info().dims),
            Some(Count(dims)) => {
                model.check_dims(dims)?;
                Ok(dims)
            }
        }
    }
}

impl Embedded {
    /// A response of these bytes, with the headers that all APIs have.
    fn response(self, bytes: Vec<u8>) -> Response {
        let reservation = self.reservation;
        let mut response = json(axum::http::StatusCode::OK, Held { bytes, reservation });
        let headers = response.headers_mut();
        if let Ok(space) = HeaderValue::from_str(&self.space) {
            headers.insert(SPACE, space);
        }
        if self.truncated > 0 {
            headers.insert(TRUNCATED, self.truncated.into());
        }
        response
    }
}

/// How long the steps of a request took.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// The characters of all texts.
    pub characters: usize,
    /// Of all texts.
    pub tokens: usize,
    /// All of it.
    pub total: Duration,
    /// Tokenizing.
    pub tokenizing: Duration,
    /// The vectors, waiting included.
    pub embedding: Duration,
}

impl Times {
    fn of(embedded: &Embedded) -> Self {
        Self {
            characters: embedded.characters,
            tokens: embedded.tokens,
            total: embedded.start.elapsed(),
            tokenizing: embedded.tokenizing,
            embedding: embedded.embedding,
        }
    }
}

/// The name of an input in messages.
fn element(field: &str, at: usize, count: usize) -> String {
    match count {
        1 => field.to_owned(),
        _ => format!("{field}[{at}]"),
    }
}
