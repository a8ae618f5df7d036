//! Keys that clients must give, if the server has any.

use std::hint::black_box;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::HeaderValue;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::App;
use super::problem::{Kind, Problem};

/// Routes that need no key: they tell nothing but that the server runs.
pub const OPEN: [&str; 2] = ["/health", "/ready"];

/// Lets requests through that have one of the keys as `Authorization: Bearer KEY`.
pub async fn check(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let keys = &app.options.api_keys;
    let route = request.extensions().get::<MatchedPath>();
    let is_open = route.is_some_and(|route| OPEN.contains(&route.as_str()));
    let given = request.headers().get(AUTHORIZATION);
    if keys.is_empty() || is_open || given.is_some_and(|given| is_known(keys, given.as_bytes())) {
        return next.run(request).await;
    }
    let message = "authorization: the key is missing or not known; send a header \"Authorization: Bearer KEY\"";
    let mut response = Problem::new(Kind::Key, message).into_response();
    let bearer = HeaderValue::from_static("Bearer");
    response.headers_mut().insert(WWW_AUTHENTICATE, bearer);
    response
}

/// Whether a header has one of the keys. All of them are compared.
fn is_known(keys: &[String], header: &[u8]) -> bool {
    let Some((scheme, given)) = header.split_at_checked("bearer ".len()) else {
        return false;
    };
    let is_bearer = scheme.eq_ignore_ascii_case(b"bearer ");
    let known = keys.iter().map(|key| same(key.as_bytes(), given));
    is_bearer & known.fold(false, |any, same| any | same)
}

/// Compares in a time that tells nothing of the key but that it is not empty.
fn same(key: &[u8], given: &[u8]) -> bool {
    let of_key = key.iter().cycle();
    let different = of_key.zip(given).fold(0, |different, (key, given)| {
        black_box(different | (key ^ given))
    });
    (different == 0) & (key.len() == given.len()) & !key.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_keys_are_known() {
        let keys = ["secret".to_owned(), "other".to_owned(), String::new()];
        for (header, known) in [
            ("Bearer secret", true),
            ("bearer other", true),
            ("Bearer ", false),
            ("Bearer", false),
            ("Bearer secre", false),
            ("Bearer secretsecret", false),
            ("Bearer secret ", false),
            ("Basic  secret", false),
            ("secret", false),
        ] {
            assert_eq!(is_known(&keys, header.as_bytes()), known, "{header}");
        }
    }
}
