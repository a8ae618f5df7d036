//! The API of text-embeddings-inference: vectors and similarities.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::answer::json_of;
use super::embed::{Embedded, Job, Times};
use super::fields::Fields;
use super::inputs::{self, Inputs};
use super::problem::{Kind, Problem, rendered};
use super::receive::Received;
use super::{App, names, tokens};
use crate::model::Model;
use crate::schedule::Vector;

/// The routes. A client that is given the address of the server alone sends texts to `/`.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/", post(embed))
        .route("/embed", post(embed))
        .route("/similarity", post(similarity))
        .route("/tokenize", post(tokens::tokenize))
        .route("/decode", post(tokens::decode))
        .route("/embed_all", post(embed_all))
        .route("/embed_sparse", post(embed_sparse))
        .route("/rerank", post(rerank))
        .route("/predict", post(predict))
        .route("/info", get(info))
        .route("/health", get(health))
        .layer(map_response(async |response| rendered(response, shape)))
}

/// How errors look.
fn shape(problem: &Problem) -> (StatusCode, Value) {
    let (status, kind) = match problem.kind {
        Kind::Field => (StatusCode::UNPROCESSABLE_ENTITY, "Validation"),
        Kind::TooLong => (StatusCode::PAYLOAD_TOO_LARGE, "Validation"),
        Kind::Empty => (problem.status(), "Empty"),
        Kind::Busy => (problem.status(), "Overloaded"),
        Kind::Stopping => (problem.status(), "Unhealthy"),
        Kind::Unsupported | Kind::Model => (StatusCode::FAILED_DEPENDENCY, "Backend"),
        _ => (problem.status(), "Validation"),
    };
    (
        status,
        json!({ "error": problem.message, "error_type": kind }),
    )
}

async fn embed(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    let received = app.receive(request).await?;
    let write = |embedded: &Embedded, ()| {
        let vectors: Vec<&[f32]> = embedded.vectors.iter().map(Vector::as_ref).collect();
        serde_json::to_vec(&vectors).unwrap_or_default()
    };
    timed(&app, received, parse_embed, write).await
}

fn parse_embed(app: &App, body: &[u8]) -> Result<(Job, ()), Problem> {
    let mut fields = Fields::of_body(body)?;
    let model = app.scheduler.model();
    let info = model.info();
    let options = Options::take(&mut fields, &*model)?;
    if fields.take("normalize")? == Some(false) {
        let problem = "vectors always have unit length";
        return Err(Problem::field(
            "normalize",
            problem,
            "leave it out, or give true",
        ));
    }
    let dims = fields.take("dimensions")?;
    let given = inputs::required(&mut fields, "inputs", app.options.max_inputs, info.context)?;
    fields.finish()?;
    if given.inputs.len() == 0 {
        return Err(empty("inputs"));
    }
    names::check_ids(&given.inputs, "prompt_name", &options.prompt)?;
    let job = Job {
        prompt: options.prompt,
        inputs: given.inputs,
        field: "inputs".into(),
        dims: App::dims(&*model, dims)?,
        truncate: options.truncate,
        model,
    };
    Ok((job, ()))
}

async fn similarity(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    let received = app.receive(request).await?;
    let write = |embedded: &Embedded, ()| {
        let scores: Vec<f32> = match &*embedded.vectors {
            [source, others @ ..] => others.iter().map(|other| cosine(source, other)).collect(),
            [] => Vec::new(),
        };
        serde_json::to_vec(&scores).unwrap_or_default()
    };
    timed(&app, received, parse_similarity, write).await
}

fn parse_similarity(app: &App, body: &[u8]) -> Result<(Job, ()), Problem> {
    let mut fields = Fields::of_body(body)?;
    let model = app.scheduler.model();
    let context = model.info().context;
    let options = match fields.take_fields("parameters")? {
        Some(mut parameters) => {
            let options = Options::take(&mut parameters, &*model)?;
            parameters.finish()?;
            options
        }
        None => Options::default(),
    };
    let Some(mut inner) = fields.take_fields("inputs")? else {
        return Err(Problem::field("inputs", "is missing", "add it"));
    };
    fields.finish()?;
    let source: String = inner.require("source_sentence")?;
    let most = app.options.max_inputs;
    let given = inputs::required(&mut inner, "sentences", most, context)?;
    inner.finish()?;
    let texts = match given.inputs {
        Inputs::Texts(texts) if !given.is_single => texts,
        _ => {
            let problem = "is no list of strings";
            return Err(Problem::field("inputs.sentences", problem, "give one"));
        }
    };
    if texts.is_empty() {
        return Err(empty("inputs.sentences"));
    }
    let texts = [source].into_iter().chain(texts).collect();
    let job = Job {
        dims: model.info().dims,
        model,
        prompt: options.prompt,
        inputs: Inputs::Texts(texts),
        field: "inputs".into(),
        truncate: options.truncate,
    };
    Ok((job, ()))
}

/// The dot product of vectors of unit length.
fn cosine(left: &[f32], right: &[f32]) -> f32 {
    let products = left
        .iter()
        .zip(right)
        .map(|(left, right)| f64::from(*left) * f64::from(*right));
    products.sum::<f64>() as f32
}

fn empty(field: &str) -> Problem {
    Problem::about(
        Kind::Empty,
        field,
        "there is nothing to embed",
        "give a text",
    )
}

/// What several routes can be told.
struct Options {
    prompt: String,
    truncate: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            prompt: names::RAW.into(),
            truncate: false,
        }
    }
}

impl Options {
    fn take(fields: &mut Fields<'_>, model: &dyn Model) -> Result<Self, Problem> {
        let truncate = fields.take("truncate")?.unwrap_or(false);
        let direction: Option<String> = fields.take("truncation_direction")?;
        if !matches!(direction.as_deref(), None | Some("Right" | "right")) {
            return Err(Problem::field(
                fields.name("truncation_direction"),
                "texts are cut at their end, on the right, only",
                "leave it out, or give \"Right\"",
            ));
        }
        let prompt: Option<String> = fields.take("prompt_name")?;
        let field = fields.name("prompt_name");
        Ok(Self {
            prompt: names::of_field(model.info(), &field, prompt.as_deref())?,
            truncate,
        })
    }
}

/// Embeds, with the headers that say how long it took.
async fn timed(
    app: &Arc<App>,
    received: Received,
    parse: impl FnOnce(&App, &[u8]) -> Result<(Job, ()), Problem> + Send + 'static,
    write: impl FnOnce(&Embedded, ()) -> Vec<u8> + Send + 'static,
) -> Result<Response, Problem> {
    let (mut response, times) = app.embed(received, parse, write).await?;
    let Times {
        characters, tokens, ..
    } = times;
    let headers = response.headers_mut();
    let mut insert = |name, value| headers.insert(HeaderName::from_static(name), value);
    let milliseconds = |time: Duration| HeaderValue::from(time.as_millis() as u64);
    insert("x-compute-type", HeaderValue::from_static("cpu"));
    insert("x-compute-time", milliseconds(times.total));
    insert("x-compute-characters", characters.into());
    insert("x-compute-tokens", tokens.into());
    insert("x-total-time", milliseconds(times.total));
    insert("x-tokenization-time", milliseconds(times.tokenizing));
    // The time in the queue is in it: other requests' texts are in the same passes.
    insert("x-inference-time", milliseconds(times.embedding));
    Ok(response)
}

async fn embed_all() -> Problem {
    unsupported("gives a text one vector, and none for each token", "/embed")
}

async fn embed_sparse() -> Problem {
    unsupported("gives dense vectors only", "/embed")
}

async fn rerank() -> Problem {
    unsupported("is no reranker", "/similarity")
}

async fn predict() -> Problem {
    unsupported("is no classifier", "/embed")
}

fn unsupported(problem: &str, other: &str) -> Problem {
    let message = format!("this is not supported by this model: it {problem}; use {other}");
    Problem::new(Kind::Unsupported, message)
}

async fn info(State(app): State<Arc<App>>) -> Response {
    let model = app.scheduler.model();
    let info = model.info();
    json_of(&json!({
        "model_id": info.name,
        "model_sha": info.sha256,
        "model_dtype": "int8",
        "model_type": { "embedding": { "pooling": info.pooling } },
        "max_concurrent_requests": app.options.max_connections,
        "max_input_length": info.context,
        "max_client_batch_size": app.options.max_inputs,
        "auto_truncate": false,
        "tokenization_workers": app.workers_count,
        "version": env!("CARGO_PKG_VERSION"),
        "title": info.title,
        "architecture": info.architecture,
        "dimensions": info.lengths,
        "prompts": info
            .prompts
            .iter()
            .map(|prompt| (prompt.name.clone(), prompt.text.clone().into()))
            .collect::<serde_json::Map<_, _>>(),
    }))
}

async fn health() -> Response {
    StatusCode::OK.into_response()
}
