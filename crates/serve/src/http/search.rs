//! Search over the index.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::post;
use lanewise_search::{Error, Filter, Index, Search, Where};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::answer::json_of;
use super::embed::{Job, SPACE};
use super::fields::Fields;
use super::inputs::{Count, Inputs};
use super::problem::{Kind, Problem, rendered};
use super::receive::Received;
use super::{App, names};

/// How many rows are found if the request does not say.
const K: usize = 10;

/// The most rows that can be asked for: of each, a record batch is decoded.
const MOST_K: usize = 1000;

/// The routes.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/search", post(search))
        .layer(map_response(async |response| rendered(response, shape)))
}

/// How errors look.
pub fn shape(problem: &Problem) -> (StatusCode, Value) {
    let error = json!({ "message": problem.message, "field": problem.field });
    (problem.status(), json!({ "error": error }))
}

/// What was found. Scores are written as short as they can be and still be read back exactly.
#[derive(Serialize)]
struct Answer {
    hits: Vec<Found>,
    search_ms: f64,
    total_ms: f64,
}

#[derive(Serialize)]
struct Found {
    row: u64,
    score: f32,
    file: usize,
    row_in_file: u64,
    id: Option<Value>,
    text: Option<String>,
    columns: Map<String, Value>,
}

/// What is searched for.
struct Asked {
    query: Query,
    k: usize,
    conditions: Vec<Where>,
    approximate: Option<usize>,
}

enum Query {
    Vector(Vec<f32>),
    Text(Box<Job>),
}

async fn search(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    let Some(index) = app.index.clone() else {
        let message = "search: there is no index; start the server with one";
        return Err(Problem::new(Kind::NotFound, message));
    };
    let received = app.receive(request).await?;
    let (start, size) = (received.start, received.body.len());
    let for_work = (Arc::clone(&app), Arc::clone(&index));
    let read = move || {
        let (app, index) = for_work;
        Ok((parse(&app, &index, &received)?, received))
    };
    let (asked, received) = app.work(size, read).await?;
    let (vector, space) = match asked.query {
        Query::Vector(vector) => (vector, None),
        Query::Text(job) => {
            let (vector, space) = app.embed_one(*job, received).await?;
            (vector.to_vec(), Some(space))
        }
    };
    let begin = Instant::now();
    let find = move || {
        let search = Search {
            approximate: asked.approximate,
            filter: match &*asked.conditions {
                [] => Filter::All,
                conditions => Filter::Where(conditions),
            },
            ..Search::exact(asked.k)
        };
        let found = index.search_batch(&[vector], &search).map_err(failed)?;
        let hits = found.into_iter().flatten();
        let hits = hits.map(|hit| {
            let record = index.record(hit.row).map_err(failed)?;
            Ok(Found {
                row: hit.row,
                score: hit.score,
                file: record.file,
                row_in_file: record.row_in_file,
                id: record.id,
                text: record.text,
                columns: record.kept.into_iter().collect(),
            })
        });
        hits.collect::<Result<Vec<_>, Problem>>()
    };
    // A search takes all threads of the index, and waits for others.
    let hits = app.work(usize::MAX, find).await?;
    let milliseconds = |time: std::time::Duration| time.as_secs_f64() * 1e3;
    let mut response = json_of(&Answer {
        hits,
        search_ms: milliseconds(begin.elapsed()),
        total_ms: milliseconds(start.elapsed()),
    });
    if let Some(space) = space.and_then(|space| HeaderValue::from_str(&space).ok()) {
        response.headers_mut().insert(SPACE, space);
    }
    Ok(response)
}

fn parse(app: &App, index: &Index, received: &Received) -> Result<Asked, Problem> {
    let mut fields = Fields::of_body(&received.body)?;
    let model = app.scheduler.model();
    let info = model.info();
    let text: Option<String> = fields.take("query")?;
    let vector: Option<Vec<f32>> = fields.take("vector")?;
    let k = fields.take("k")?.map_or(K, |Count(k)| k);
    let approximate: Option<Count> = fields.take("approximate")?;
    let conditions: Option<Map<String, Value>> = fields.take("where")?;
    let prompt: Option<String> = fields.take("prompt_name")?;
    fields.finish()?;
    if !(1..=MOST_K).contains(&k) {
        let remedy = format!("give a number from 1 to {MOST_K}");
        return Err(Problem::field(
            "k",
            &format!("{k} rows cannot be found at a time"),
            &remedy,
        ));
    }
    let query = match (text, vector) {
        (None, Some(vector)) => {
            if prompt.is_some() {
                let problem = "a prompt cannot stand in front of a vector";
                return Err(Problem::field("prompt_name", problem, "leave it out"));
            }
            Query::Vector(vector)
        }
        (Some(text), None) => {
            let space = index.space();
            if space.model_sha256 != info.sha256 {
                let problem = format!(
                    "the index has vectors of another model, {} with SHA-256 {}",
                    space.model, space.model_sha256
                );
                let remedy = "send a vector of it instead, or start the server with that model";
                return Err(Problem::field("query", &problem, remedy));
            }
            let default = info.prompt("query").map(|prompt| prompt.name.as_str());
            let prompt = prompt.as_deref().or(default);
            Query::Text(Box::new(Job {
                prompt: names::of_field(info, "prompt_name", prompt)?,
                inputs: Inputs::Texts(vec![text]),
                field: "query".into(),
                dims: App::dims(&*model, Some(Count(index.dims())))?,
                truncate: false,
                model,
            }))
        }
        _ => {
            let problem = "exactly one of query and vector says what to search for";
            return Err(Problem::field("query", problem, "give one of them"));
        }
    };
    let conditions = conditions.into_iter().flatten();
    let conditions = conditions.map(|(column, value)| {
        let value = match value {
            Value::String(text) => text,
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            _ => {
                let problem = "is no string, number or truth value";
                let column: String = column.chars().take(super::fields::LONGEST_QUOTE).collect();
                return Err(Problem::field(
                    format!("where.{column}"),
                    problem,
                    "give one",
                ));
            }
        };
        Ok(Where { column, value })
    });
    Ok(Asked {
        query,
        k,
        conditions: conditions.collect::<Result<_, _>>()?,
        approximate: approximate.map(|Count(times)| times),
    })
}

fn failed(error: Error) -> Problem {
    let message = error.to_string();
    match error {
        Error::Argument { name, .. } => Problem {
            field: Some(name.into()),
            ..Problem::new(Kind::Field, message)
        },
        _ => Problem::new(Kind::Model, message),
    }
}
