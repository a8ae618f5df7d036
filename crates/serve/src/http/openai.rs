//! The API of OpenAI.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Value, json};

use super::answer::json_of;
use super::embed::Job;
use super::fields::Fields;
use super::problem::{Kind, Problem, rendered};
use super::{App, inputs, names};
use crate::schedule::Vector;

/// The routes.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/embeddings", post(embeddings))
        .route("/v1/models", get(models))
        .layer(map_response(async |response| rendered(response, shape)))
}

/// How errors look.
fn shape(problem: &Problem) -> (StatusCode, Value) {
    let status = problem.status();
    let code = match problem.kind {
        Kind::TooLong => Some("context_length_exceeded"),
        Kind::NotFound => Some("model_not_found"),
        Kind::Busy => Some("rate_limit_exceeded"),
        _ => None,
    };
    let kind = match status {
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        status if status.is_server_error() => "server_error",
        _ => "invalid_request_error",
    };
    let error = json!({
        "message": problem.message,
        "type": kind,
        "param": problem.field,
        "code": code,
    });
    (status, json!({ "error": error }))
}

#[derive(Serialize)]
struct Embeddings<'a> {
    object: &'static str,
    data: Vec<Embedding<'a>>,
    model: &'a str,
    usage: Usage,
}

#[derive(Serialize)]
struct Embedding<'a> {
    object: &'static str,
    index: usize,
    embedding: Values<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Values<'a> {
    Float(&'a [f32]),
    Base64(String),
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
}

/// How the values of a vector are written.
#[derive(Clone, Copy)]
enum Encoding {
    Float,
    Base64,
}

impl Encoding {
    fn values(self, vector: &Vector) -> Values<'_> {
        match self {
            Self::Float => Values::Float(vector),
            Self::Base64 => {
                let bytes: Vec<u8> = vector
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect();
                Values::Base64(STANDARD.encode(bytes))
            }
        }
    }
}

async fn embeddings(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    let received = app.receive(request).await?;
    let (response, _) = app
        .embed(
            received,
            parse,
            |embedded, (name, encoding): (String, Encoding)| {
                let data = embedded.vectors.iter().enumerate();
                let data = data.map(|(index, vector)| Embedding {
                    object: "embedding",
                    index,
                    embedding: encoding.values(vector),
                });
                let body = Embeddings {
                    object: "list",
                    data: data.collect(),
                    model: &name,
                    usage: Usage {
                        prompt_tokens: embedded.tokens,
                        total_tokens: embedded.tokens,
                    },
                };
                serde_json::to_vec(&body).unwrap_or_default()
            },
        )
        .await?;
    Ok(response)
}

fn parse(app: &App, body: &[u8]) -> Result<(Job, (String, Encoding)), Problem> {
    let mut fields = Fields::of_body(body)?;
    let model = app.scheduler.model();
    let info = model.info();
    let name: String = fields.require("model")?;
    let dims = fields.take("dimensions")?;
    let encoding: Option<String> = fields.take("encoding_format")?;
    // Who the user of the client is does not change a vector.
    fields.take::<String>("user")?;
    let given = inputs::required(&mut fields, "input", app.options.max_inputs, info.context)?;
    fields.finish()?;
    let prompt = names::of_model(info, &name)?;
    let inputs = given.inputs;
    if inputs.len() == 0 {
        let problem = "there is nothing to embed";
        return Err(Problem::about(Kind::Empty, "input", problem, "give a text"));
    }
    names::check_ids(&inputs, "model", &prompt)?;
    let encoding = match encoding.as_deref() {
        None | Some("float") => Encoding::Float,
        Some("base64") => Encoding::Base64,
        Some(_) => {
            let problem = "vectors are written as float or base64";
            return Err(Problem::field(
                "encoding_format",
                problem,
                "give one of them",
            ));
        }
    };
    let dims = App::dims(&*model, dims)?;
    let job = Job {
        model,
        prompt,
        inputs,
        field: "input".into(),
        dims,
        truncate: false,
    };
    Ok((job, (name, encoding)))
}

async fn models(State(app): State<Arc<App>>) -> Response {
    let model = app.scheduler.model();
    let data = names::all(model.info()).into_iter().map(|id| {
        json!({
            "id": id,
            "object": "model",
            "created": app.started_at,
            "owned_by": "lanewise",
        })
    });
    json_of(&json!({ "object": "list", "data": data.collect::<Vec<_>>() }))
}
