//! Tokens of texts and texts of tokens, for the API of text-embeddings-inference.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::answer::{Held, json};
use super::fields::Fields;
use super::inputs::{self, Inputs};
use super::memory::Reservation;
use super::problem::{Kind, Problem};
use super::{App, names};
use crate::model::Model;

/// A token as text-embeddings-inference shows it. Where it is in the text is not known.
#[derive(Serialize)]
struct Token {
    id: u32,
    text: String,
    special: bool,
    start: Option<usize>,
    stop: Option<usize>,
}

/// The special tokens around each text.
struct Special {
    ids: Vec<u32>,
    /// How many of them stand in front.
    front: usize,
}

impl Special {
    /// Those of a model: an empty text has no others, and another text shows where it stands among them.
    fn of(model: &dyn Model) -> Result<Self, Problem> {
        let ids = model.encode(names::RAW, "")?.ids.to_vec();
        let text = model.encode(names::RAW, "a")?.ids;
        let same = ids
            .iter()
            .zip(&*text)
            .take_while(|(left, right)| left == right);
        let front = same.count();
        Ok(Self { ids, front })
    }

    /// Whether the token at a place of a text of this length is one.
    fn is_at(&self, at: usize, length: usize) -> bool {
        at < self.front || at >= length.saturating_sub(self.ids.len() - self.front)
    }
}

/// `/tokenize`
pub async fn tokenize(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    let received = app.receive(request).await?;
    let for_work = Arc::clone(&app);
    let work = move || {
        let app = for_work;
        let mut fields = Fields::of_body(&received.body)?;
        let model = app.scheduler.model();
        let context = model.info().context;
        let with_special = fields.take("add_special_tokens")?.unwrap_or(true);
        let prompt: Option<String> = fields.take("prompt_name")?;
        let given = inputs::required(&mut fields, "inputs", app.options.max_inputs, context)?;
        fields.finish()?;
        let prompt = names::of_field(model.info(), "prompt_name", prompt.as_deref())?;
        let Inputs::Texts(texts) = given.inputs else {
            let problem = "these are tokens already";
            return Err(Problem::field(
                "inputs",
                problem,
                "give a string or a list of strings",
            ));
        };
        if texts.is_empty() {
            let problem = "there is nothing to tokenize";
            return Err(Problem::about(
                Kind::Empty,
                "inputs",
                problem,
                "give a text",
            ));
        }
        let mut reservation = received.reservation;
        let special = Special::of(&*model)?;
        let mut tokens: Vec<Vec<Token>> = Vec::with_capacity(texts.len());
        let mut count = 0;
        for (at, text) in texts.iter().enumerate() {
            let encoded = model.encode(&prompt, text)?;
            if encoded.truncated {
                let problem = format!("has more tokens than the model reads, {context}");
                let field = format!("inputs[{at}]");
                return Err(Problem::about(Kind::TooLong, field, &problem, "shorten it"));
            }
            count += encoded.ids.len();
            reservation.grow_to(3 * received.body.len() + count * TOKEN_BYTES)?;
            let ids = encoded.ids.iter().enumerate();
            let shown = ids.map(|(at, &id)| Token {
                id,
                text: model.piece(id),
                special: special.is_at(at, encoded.ids.len()),
                start: None,
                stop: None,
            });
            tokens.push(
                shown
                    .filter(|token| with_special || !token.special)
                    .collect(),
            );
        }
        held(&tokens, reservation)
    };
    // Of each byte come a token and its description.
    app.work(usize::MAX, work).await
}

/// A token with its text, and the JSON of it.
const TOKEN_BYTES: usize = 200;

/// `/decode`
pub async fn decode(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    let received = app.receive(request).await?;
    let for_work = Arc::clone(&app);
    let work = move || {
        let app = for_work;
        let mut fields = Fields::of_body(&received.body)?;
        let model = app.scheduler.model();
        let info = model.info();
        let without_special = fields.take("skip_special_tokens")?.unwrap_or(true);
        let given = inputs::required(&mut fields, "ids", app.options.max_inputs, info.context)?;
        fields.finish()?;
        let Inputs::Ids(mut lists) = given.inputs else {
            let problem = "is no list of token ids";
            return Err(Problem::field(
                "ids",
                problem,
                "give one, or a list of such lists",
            ));
        };
        let special = Special::of(&*model)?;
        for ids in &mut lists {
            if let Some(id) = ids.iter().find(|&&id| id as usize >= info.vocabulary) {
                let problem = format!("{id} is no token of the model");
                let remedy = format!("give numbers below {}", info.vocabulary);
                return Err(Problem::field("ids", &problem, &remedy));
            }
            if without_special {
                ids.retain(|id| !special.ids.contains(id));
            }
        }
        let texts: Vec<_> = lists.iter().map(|ids| model.decode(ids)).collect();
        held(&texts, received.reservation)
    };
    app.work(usize::MAX, work).await
}

fn held(value: &impl Serialize, reservation: Reservation) -> Result<Response, Problem> {
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    Ok(json(StatusCode::OK, Held { bytes, reservation }))
}
