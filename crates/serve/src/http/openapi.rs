//! The description of all routes.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::answer::json_of;
use super::{App, keys, names};

/// OpenAPI 3.1, without what depends on the model.
const DOCUMENT: &str = include_str!("openapi.json");

/// `/openapi.json`
pub async fn document(State(app): State<Arc<App>>) -> Response {
    // A test reads it.
    let mut document: Value = serde_json::from_str(DOCUMENT).unwrap_or_default();
    document["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    let model = app.scheduler.model();
    let info = model.info();
    let prompts = info.prompts.iter();
    let prompts = prompts.flat_map(|prompt| [&prompt.name].into_iter().chain(&prompt.aliases));
    let prompts: Vec<&String> = prompts.collect();
    let with = |prompt: &str| format!("{}:{prompt}", info.name);
    let plain = [info.name.clone(), with(names::LATEST), with(names::RAW)];
    let with_prompts = prompts.iter().map(|prompt| with(prompt));
    let models: Vec<String> = plain.iter().take(2).cloned().chain(with_prompts).collect();
    let inputs = app.options.max_inputs;
    for (schema, key, value) in [
        ("ModelName", "enum", json!(models)),
        ("PlainModelName", "enum", json!(plain)),
        ("PromptName", "enum", or_null(&prompts)),
        (
            "TokenId",
            "maximum",
            json!(info.vocabulary.saturating_sub(1)),
        ),
        ("TokenIds", "maxItems", json!(info.context)),
        ("TokenLists", "maxItems", json!(inputs)),
        ("AnyTokenIds", "maxItems", json!(info.context)),
        ("AnyTextList", "maxItems", json!(inputs)),
        ("TextList", "maxItems", json!(inputs)),
        ("NumCtx", "minimum", json!(info.context)),
    ] {
        document["components"]["schemas"][schema][key] = value;
    }
    if !app.options.api_keys.is_empty() {
        let bearer = json!({ "bearer": { "type": "http", "scheme": "bearer" } });
        document["components"]["securitySchemes"] = bearer;
        document["security"] = json!([{ "bearer": [] }]);
        for open in keys::OPEN {
            document["paths"][open]["get"]["security"] = json!([]);
        }
    }
    let dimensions = &mut document["components"]["schemas"]["Dimensions"];
    match info.shortest {
        None => dimensions["enum"] = or_null(&info.lengths),
        Some(shortest) => {
            dimensions["minimum"] = shortest.into();
            dimensions["maximum"] = info.dims.into();
        }
    }
    json_of(&document)
}

fn or_null(values: &[impl serde::Serialize]) -> Value {
    let mut values = json!(values);
    if let Some(values) = values.as_array_mut() {
        values.push(Value::Null);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_json() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        assert_eq!(document["info"]["version"], "VERSION");
    }
}
