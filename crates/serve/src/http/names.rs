//! Which model and prompt a request means.

use super::inputs::Inputs;
use super::problem::{Kind, Problem};
use crate::model::ModelInfo;

/// The prompt of texts as they are.
pub const RAW: &str = "raw";

/// What Ollama adds to names without a tag.
pub const LATEST: &str = "latest";

/// The name of the prompt that `NAME` or `NAME:PROMPT` means; the plain name means texts as they are, and so
/// does it with [`LATEST`].
///
/// # Errors
/// [`Kind::NotFound`] if there is no such model.
pub fn of_model(info: &ModelInfo, model: &str) -> Result<String, Problem> {
    let prompt = match model.strip_prefix(&info.name) {
        Some("") => Some(RAW),
        Some(rest) => match rest.strip_prefix(':') {
            Some(LATEST) => Some(RAW),
            Some(prompt) => info.prompt(prompt).map(|prompt| prompt.name.as_str()),
            None => None,
        },
        None => None,
    };
    prompt.map(str::to_owned).ok_or_else(|| {
        let model: String = model.chars().take(super::fields::LONGEST_QUOTE).collect();
        let problem = format!("there is no model \"{model}\" here");
        let remedy = format!("use one of {}", all(info).join(", "));
        Problem::about(Kind::NotFound, "model", &problem, &remedy)
    })
}

/// The name of the prompt that a field gives, or that of texts as they are.
///
/// # Errors
/// If the model does not know it.
pub fn of_field(info: &ModelInfo, field: &str, prompt: Option<&str>) -> Result<String, Problem> {
    let Some(name) = prompt else {
        return Ok(RAW.into());
    };
    let prompt = info.prompt(name).map(|prompt| prompt.name.clone());
    prompt.ok_or_else(|| {
        let name: String = name.chars().take(super::fields::LONGEST_QUOTE).collect();
        let known: Vec<_> = prompts(info).collect();
        let remedy = format!("use one of {}", known.join(", "));
        Problem::field(
            field,
            &format!("the model has no prompt \"{name}\""),
            &remedy,
        )
    })
}

/// Refuses token ids with a prompt: it cannot stand in front of them.
///
/// # Errors
/// If there are both.
pub fn check_ids(inputs: &Inputs, field: &str, prompt: &str) -> Result<(), Problem> {
    match inputs {
        Inputs::Ids(_) if prompt != RAW => Err(Problem::field(
            field,
            &format!("the prompt \"{prompt}\" cannot stand in front of token ids"),
            "send texts, or the model's name without a prompt",
        )),
        _ => Ok(()),
    }
}

/// Every name that clients can use, the plain one first.
pub fn all(info: &ModelInfo) -> Vec<String> {
    let with_prompt = prompts(info).map(|prompt| format!("{}:{prompt}", info.name));
    [info.name.clone()].into_iter().chain(with_prompt).collect()
}

/// The names of prompts.
fn prompts(info: &ModelInfo) -> impl Iterator<Item = &str> {
    info.prompts.iter().map(|prompt| prompt.name.as_str())
}
