//! Errors of requests, before an API gives them its shape.

use std::time::Duration;

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::error::Refusal;

/// What sort of error it is; each API has statuses and names of its own for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The body is no JSON, or no object.
    Syntax,
    /// A field that cannot be used.
    Field,
    /// No inputs.
    Empty,
    /// A text of more tokens than the model reads.
    TooLong,
    /// A body or batch that is too large.
    TooLarge,
    /// A body that is compressed.
    Encoding,
    /// No key, or one that is not known.
    Key,
    /// No model or route of this name.
    NotFound,
    /// A route that has other methods.
    Method,
    /// A body that comes too slowly.
    Slow,
    /// More is in work than may be.
    Busy,
    /// The server is being stopped.
    Stopping,
    /// What models of this kind cannot do.
    Unsupported,
    /// The model or index failed.
    Model,
}

/// Why a request gets no result. As a response it has no body yet: [`rendered`] adds it.
#[derive(Debug, Clone)]
pub struct Problem {
    /// The sort of error.
    pub kind: Kind,
    /// The field of the request that it is about.
    pub field: Option<String>,
    /// The whole message.
    pub message: String,
    /// When to try again.
    pub retry_after: Option<Duration>,
}

impl Problem {
    /// An error about no field.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            field: None,
            message: message.into(),
            retry_after: None,
        }
    }

    /// A field that cannot be used.
    pub fn field(field: impl Into<String>, problem: &str, remedy: &str) -> Self {
        Self::about(Kind::Field, field, problem, remedy)
    }

    /// An error about a field.
    pub fn about(kind: Kind, field: impl Into<String>, problem: &str, remedy: &str) -> Self {
        let field = field.into();
        Self {
            kind,
            message: format!("{field}: {problem}; {remedy}"),
            field: Some(field),
            retry_after: None,
        }
    }

    /// A request for which there is no room now.
    pub fn busy(message: impl Into<String>, retry_after: Duration) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(Kind::Busy, message)
        }
    }

    /// The status with which HTTP would say it.
    pub fn status(&self) -> StatusCode {
        match self.kind {
            Kind::Syntax | Kind::Field | Kind::Empty | Kind::TooLong => StatusCode::BAD_REQUEST,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::Encoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Kind::Key => StatusCode::UNAUTHORIZED,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Method => StatusCode::METHOD_NOT_ALLOWED,
            Kind::Slow => StatusCode::REQUEST_TIMEOUT,
            Kind::Busy => StatusCode::TOO_MANY_REQUESTS,
            Kind::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Unsupported => StatusCode::NOT_IMPLEMENTED,
            Kind::Model => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        let (kind, field, retry_after) = match refusal {
            Refusal::Field { field, .. } => (Kind::Field, Some(field), None),
            Refusal::TooLarge { what, .. } => (Kind::TooLarge, Some(what), None),
            Refusal::Busy { retry_after, .. } => (Kind::Busy, None, Some(retry_after)),
            Refusal::Stopping => (Kind::Stopping, None, None),
            Refusal::Model(_) => (Kind::Model, None, None),
        };
        Self {
            kind,
            field,
            message,
            retry_after,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Gives errors the shape of an API, of which `shape` makes status and body.
pub fn rendered(
    mut response: Response,
    shape: impl FnOnce(&Problem) -> (StatusCode, serde_json::Value),
) -> Response {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else {
        return response;
    };
    let (status, body) = shape(&problem);
    let mut rendered = super::answer::json(status, body.to_string());
    for (name, value) in response.headers() {
        if name != axum::http::header::CONTENT_LENGTH {
            rendered.headers_mut().insert(name, value.clone());
        }
    }
    if let Some(after) = problem.retry_after {
        let seconds = HeaderValue::from(after.as_secs().max(1));
        rendered.headers_mut().insert(RETRY_AFTER, seconds);
    }
    rendered
}
