//! Counts requests, and tells logs of them: never their texts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use tracing::info;

use super::App;
use super::metrics::VANISHED;

/// The header with the number under which logs have a request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Requests so far.
#[derive(Debug, Default)]
pub struct Numbers(AtomicU64);

/// A request in work. Dropped without an answer, its client has gone away.
struct Observed {
    app: Arc<App>,
    id: String,
    method: Method,
    route: String,
    start: Instant,
    is_done: bool,
}

impl Observed {
    fn done(&mut self, status: u16) {
        self.is_done = true;
        let time = self.start.elapsed();
        self.app.metrics.answered(&self.route, status, time);
        info!(
            request = self.id,
            method = self.method.as_str(),
            route = self.route,
            status,
            milliseconds = time.as_secs_f64() * 1e3,
        );
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        if !self.is_done {
            self.done(VANISHED);
        }
    }
}

/// Observes each request.
pub async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let number = app.numbers.0.fetch_add(1, Ordering::Relaxed);
    // Routes that do not exist have one name, so that clients cannot make up more.
    let route = request.extensions().get::<MatchedPath>();
    let mut observed = Observed {
        id: format!("{:x}-{number:x}", app.started_at),
        method: request.method().clone(),
        route: route.map_or("none", |route| route.as_str()).to_owned(),
        start: Instant::now(),
        is_done: false,
        app,
    };
    let mut response = next.run(request).await;
    if let Ok(id) = HeaderValue::from_str(&observed.id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    observed.done(response.status().as_u16());
    response
}
