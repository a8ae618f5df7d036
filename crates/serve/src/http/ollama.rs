//! The API of Ollama.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Serialize;
use serde_json::{Value, json};

use super::answer::json_of;
use super::embed::{Embedded, Job};
use super::fields::Fields;
use super::inputs::{self, Count, Inputs};
use super::problem::{Problem, rendered};
use super::{App, names};
use crate::schedule::Vector;

/// Options that say how to compute, or how to choose words, and so do not change a vector.
const OPTIONS: [&str; 30] = [
    "draft_num_predict",
    "f16_kv",
    "frequency_penalty",
    "logits_all",
    "low_vram",
    "main_gpu",
    "min_p",
    "mirostat",
    "mirostat_eta",
    "mirostat_tau",
    "num_batch",
    "num_gpu",
    "num_keep",
    "num_predict",
    "num_thread",
    "numa",
    "penalize_newline",
    "presence_penalty",
    "repeat_last_n",
    "repeat_penalty",
    "seed",
    "stop",
    "temperature",
    "tfs_z",
    "top_k",
    "top_p",
    "typical_p",
    "use_mlock",
    "use_mmap",
    "vocab_only",
];

/// The routes.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/api/embed", post(embed))
        .route("/api/embeddings", post(embeddings))
        .route("/api/tags", get(tags))
        .route("/api/version", get(version))
        .layer(map_response(async |response| rendered(response, shape)))
}

/// How errors look.
fn shape(problem: &Problem) -> (StatusCode, Value) {
    (problem.status(), json!({ "error": problem.message }))
}

#[derive(Serialize)]
struct Embeddings<'a> {
    model: &'a str,
    embeddings: Vec<&'a [f32]>,
    total_duration: u64,
    load_duration: u64,
    prompt_eval_count: usize,
}

#[derive(Serialize)]
struct Embedding<'a> {
    embedding: &'a [f32],
}

async fn embed(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    let received = app.receive(request).await?;
    let write = |embedded: &Embedded, model: String| {
        let total = embedded.start.elapsed().as_nanos();
        let body = Embeddings {
            model: &model,
            embeddings: embedded.vectors.iter().map(Vector::as_ref).collect(),
            total_duration: u64::try_from(total).unwrap_or(u64::MAX),
            load_duration: 0,
            prompt_eval_count: embedded.tokens,
        };
        serde_json::to_vec(&body).unwrap_or_default()
    };
    let (response, _) = app.embed(received, parse_embed, write).await?;
    Ok(response)
}

fn parse_embed(app: &App, body: &[u8]) -> Result<(Job, String), Problem> {
    let mut fields = Fields::of_body(body)?;
    let model = app.scheduler.model();
    let info = model.info();
    let name: String = fields.require("model")?;
    let dims = fields.take("dimensions")?;
    let truncate = fields.take("truncate")?.unwrap_or(true);
    without_effect(&mut fields, info.context)?;
    let given = inputs::required(&mut fields, "input", app.options.max_inputs, info.context)?;
    fields.finish()?;
    let Inputs::Texts(texts) = &given.inputs else {
        let problem = "this API has no token ids";
        return Err(Problem::field(
            "input",
            problem,
            "send texts, or ids to /v1/embeddings",
        ));
    };
    // Ollama loads the model if there is no text.
    let is_none = given.is_single && texts.iter().all(String::is_empty);
    let inputs = match is_none {
        true => Inputs::Texts(Vec::new()),
        false => given.inputs,
    };
    let job = Job {
        prompt: names::of_model(info, &name)?,
        inputs,
        field: "input".into(),
        dims: App::dims(&*model, dims)?,
        truncate,
        model,
    };
    Ok((job, name))
}

async fn embeddings(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    let received = app.receive(request).await?;
    let write = |embedded: &Embedded, ()| {
        let embedding = embedded.vectors.first().map_or(&[][..], |vector| vector);
        serde_json::to_vec(&Embedding { embedding }).unwrap_or_default()
    };
    let (response, _) = app.embed(received, parse_embeddings, write).await?;
    Ok(response)
}

fn parse_embeddings(app: &App, body: &[u8]) -> Result<(Job, ()), Problem> {
    let mut fields = Fields::of_body(body)?;
    let model = app.scheduler.model();
    let info = model.info();
    let name: String = fields.require("model")?;
    without_effect(&mut fields, info.context)?;
    let text: Option<String> = fields.take("prompt")?;
    fields.finish()?;
    let texts = text.into_iter().filter(|text| !text.is_empty());
    let job = Job {
        prompt: names::of_model(info, &name)?,
        inputs: Inputs::Texts(texts.collect()),
        field: "prompt".into(),
        dims: info.dims,
        truncate: true,
        model,
    };
    Ok((job, ()))
}

/// Takes the fields that do not change a vector, and refuses options that would.
fn without_effect(fields: &mut Fields<'_>, context: usize) -> Result<(), Problem> {
    fields.take_raw("keep_alive");
    let Some(mut options) = fields.take_fields("options")? else {
        return Ok(());
    };
    for name in OPTIONS {
        options.take_raw(name);
    }
    let num_ctx: Option<Count> = options.take("num_ctx")?;
    if num_ctx.is_some_and(|Count(num_ctx)| num_ctx < context) {
        let problem = format!("texts are cut at {context} tokens, at no fewer");
        let remedy = "leave it out, or shorten the texts";
        return Err(Problem::field(options.name("num_ctx"), &problem, remedy));
    }
    options.finish()
}

async fn tags(State(app): State<Arc<App>>) -> Response {
    let model = app.scheduler.model();
    let info = model.info();
    let models = names::all(info).into_iter().map(|name| {
        let name = match name.contains(':') {
            true => name,
            false => format!("{name}:{}", names::LATEST),
        };
        json!({
            "name": name,
            "model": name,
            "digest": info.sha256,
            "details": {
                "format": "gguf",
                "family": info.architecture,
                "families": [info.architecture],
            },
        })
    });
    json_of(&json!({ "models": models.collect::<Vec<_>>() }))
}

async fn version() -> Response {
    json_of(&json!({ "version": env!("CARGO_PKG_VERSION") }))
}
