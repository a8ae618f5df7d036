//! The routes of the server.
//!
//! | module | has |
//! | --- | --- |
//! | `openai`, `tei`, `ollama`, `search` | the routes of an API and the shape of its errors; `tokens` more of `tei` |
//! | `embed` | what they have in common: tokens, lanes, vectors |
//! | `receive`, `memory` | bodies, in bounded memory and time |
//! | `fields`, `inputs`, `names` | what bodies say: nothing unknown is passed over |
//! | `problem`, `answer` | errors and answers |
//! | `keys` | who is served |
//! | `metrics`, `observe` | what is counted and logged |

mod answer;
mod embed;
mod fields;
mod inputs;
mod keys;
mod memory;
mod metrics;
mod names;
mod observe;
mod ollama;
mod openai;
mod openapi;
mod problem;
mod receive;
mod search;
mod tei;
mod tokens;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::available_parallelism;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use lanewise_search::Index;
use tokio::sync::Semaphore;

use crate::error::Refusal;
use crate::schedule::Scheduler;
use crate::server::ServeOptions;
use memory::Memory;
use metrics::Metrics;
use observe::Numbers;
use problem::{Kind, Problem, rendered};

/// What all requests share.
pub struct App {
    scheduler: Arc<Scheduler>,
    index: Option<Arc<Index>>,
    options: ServeOptions,
    memory: Memory,
    /// Who may work beside the connections.
    workers: Arc<Semaphore>,
    workers_count: usize,
    metrics: Metrics,
    numbers: Numbers,
    /// In Unix time.
    started_at: u64,
    is_stopping: AtomicBool,
}

impl App {
    /// Of a scheduler and perhaps an index.
    pub fn new(
        scheduler: Arc<Scheduler>,
        index: Option<Arc<Index>>,
        options: ServeOptions,
    ) -> Self {
        let workers_count = available_parallelism().map_or(1, usize::from);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let started_at = now.map_or(0, |time| time.as_secs());
        let memory = Memory::new(options.max_memory);
        Self {
            metrics: Metrics::new(Arc::clone(&scheduler), memory.clone(), started_at),
            scheduler,
            index,
            options,
            memory,
            workers: Arc::new(Semaphore::new(workers_count)),
            workers_count,
            numbers: Numbers::default(),
            started_at,
            is_stopping: AtomicBool::new(false),
        }
    }

    /// From now on `/ready` says no.
    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }
}

/// Every route, over what they share.
pub fn router(app: Arc<App>) -> Router {
    let own = Router::new()
        .route("/metrics", get(metrics::metrics))
        .route("/openapi.json", get(openapi::document))
        .route("/ready", get(ready))
        .fallback(no_route)
        .layer(map_response(async |response| {
            rendered(response, search::shape)
        }));
    let all = own
        .merge(openai::routes())
        .merge(tei::routes())
        .merge(ollama::routes())
        .merge(search::routes())
        .method_not_allowed_fallback(no_method);
    let checked = from_fn_with_state(Arc::clone(&app), keys::check);
    let all = all.layer(checked);
    let all = all.layer(map_response(async |response| {
        rendered(response, search::shape)
    }));
    let observed = from_fn_with_state(Arc::clone(&app), observe::observe);
    all.layer(observed).with_state(app)
}

/// Whether requests are taken.
async fn ready(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    match app.is_stopping.load(Ordering::Relaxed) {
        false => Ok(StatusCode::OK.into_response()),
        true => Err(Refusal::Stopping.into()),
    }
}

async fn no_route() -> Problem {
    let message = "there is no such route; /openapi.json lists those that exist";
    Problem::new(Kind::NotFound, message)
}

async fn no_method() -> Problem {
    let message = "this route has other methods; /openapi.json lists them";
    Problem::new(Kind::Method, message)
}
