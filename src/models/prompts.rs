//! What a model reads before texts.

use std::borrow::Cow;

use crate::gguf::Gguf;
use crate::{Error, Prompt, Result};

/// The names of the prompts of a file, as the checkpoint has them, and their texts: keys of Lanewise's
/// own, which its converter writes.
const NAMES: &str = "lanewise.prompt.names";
const TEXTS: &str = "lanewise.prompt.texts";

/// More prompts than any model has.
const MOST: usize = 256;

/// What a model reads before a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PromptText {
    /// Always the same.
    Fixed(Cow<'static, str>),
    /// With the title of the text, if it has one.
    Titled {
        /// What is before the title.
        before: &'static str,
        /// What stands for a title.
        untitled: &'static str,
        /// What is after the title.
        after: &'static str,
    },
    /// With an instruction that says what the text is for.
    Instructed {
        /// What is before the instruction.
        before: &'static str,
        /// The instruction.
        task: Cow<'static, str>,
        /// What is after the instruction.
        after: &'static str,
    },
}

/// The prompts that a model was trained with. Every model knows [`Prompt::Raw`], which is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prompts(Vec<(Prompt, PromptText)>);

impl Prompts {
    /// The prompts of a model besides [`Prompt::Raw`].
    pub fn new(prompts: impl IntoIterator<Item = (Prompt, PromptText)>) -> Self {
        Self(prompts.into_iter().collect())
    }

    /// Prompts that are always the same.
    pub fn fixed(prompts: &[(Prompt, &'static str)]) -> Self {
        let texts = prompts.iter();
        Self::new(texts.map(|&(prompt, text)| (prompt, PromptText::Fixed(text.into()))))
    }

    /// The prompts that a file states, `None` if it states none.
    ///
    /// # Errors
    /// If there are too many of them, or not as many names as texts, or one is not UTF-8.
    pub fn of_file(gguf: &Gguf) -> Result<Option<Self>> {
        let (names, texts) = (strings(gguf, NAMES)?, strings(gguf, TEXTS)?);
        if names.len() != texts.len() {
            let problem = format!("holds {} texts for {} names", texts.len(), names.len());
            return Err(gguf.file_error(TEXTS, problem, "convert the model again"));
        }
        let mut prompts: Vec<(Prompt, PromptText)> = Vec::new();
        for (name, text) in names.into_iter().zip(texts) {
            let prompt = name.parse::<Prompt>().map_err(|error| {
                gguf.file_error(NAMES, error.to_string(), "convert the model again")
            })?;
            let text = PromptText::Fixed(text.into());
            // Its own name counts more than another one for the same.
            match prompts.iter_mut().find(|(known, _)| *known == prompt) {
                _ if prompt == Prompt::Raw => {}
                None => prompts.push((prompt, text)),
                Some((_, old)) if name == prompt.name() => *old = text,
                Some(_) => {}
            }
        }
        Ok((!prompts.is_empty()).then_some(Self(prompts)))
    }

    /// Has every prompt with an instruction read this one.
    ///
    /// # Errors
    /// If none has one, or the instruction is empty.
    pub fn instruct(&mut self, instruction: &str) -> Result<()> {
        let error = |problem: &str, remedy: &str| Error::Argument {
            name: "instruction".into(),
            problem: problem.into(),
            remedy: remedy.into(),
        };
        if instruction.trim().is_empty() {
            return Err(error(
                "is empty",
                "say what queries are for, or leave it out",
            ));
        }
        let mut read = false;
        for (_, text) in &mut self.0 {
            if let PromptText::Instructed { task, .. } = text {
                *task = instruction.to_owned().into();
                read = true;
            }
        }
        match read {
            true => Ok(()),
            false => Err(error(
                "the model reads no instructions",
                "leave it out, or use a model that does, such as Qwen3-Embedding",
            )),
        }
    }

    /// The same prompts with each fixed text that `of_text` knows as another kind.
    pub(super) fn map_fixed(mut self, of_text: fn(&str) -> Option<PromptText>) -> Self {
        for (_, text) in &mut self.0 {
            if let PromptText::Fixed(fixed) = text
                && let Some(other) = of_text(fixed)
            {
                *text = other;
            }
        }
        self
    }

    /// The prompts that the model knows, [`Prompt::Raw`] first.
    pub fn known(&self) -> impl Iterator<Item = Prompt> + '_ {
        let others = self.0.iter().map(|&(prompt, _)| prompt);
        std::iter::once(Prompt::Raw).chain(others)
    }

    /// What the model reads before a text with this title. Only where it has a place in some prompt is
    /// a title ignored with the others.
    ///
    /// # Errors
    /// If the model does not know the prompt; if there is a title, and none of its prompts has a place
    /// for one.
    pub fn text(&self, prompt: Prompt, title: Option<&str>) -> Result<Cow<'_, str>> {
        let titled = |(_, text): &(Prompt, PromptText)| matches!(text, PromptText::Titled { .. });
        if title.is_some() && !self.0.iter().any(titled) {
            return Err(Error::Argument {
                name: "title".into(),
                problem: "the model reads no titles".into(),
                remedy: "leave it out, or begin the text with it".into(),
            });
        }
        if prompt == Prompt::Raw {
            return Ok("".into());
        }
        let known = self.0.iter().find(|(known, _)| *known == prompt);
        match known.map(|(_, text)| text) {
            Some(PromptText::Fixed(text)) => Ok(text.as_ref().into()),
            Some(PromptText::Titled {
                before,
                untitled,
                after,
            }) => Ok(format!("{before}{}{after}", title.unwrap_or(untitled)).into()),
            Some(PromptText::Instructed {
                before,
                task,
                after,
            }) => Ok(format!("{before}{task}{after}").into()),
            None => {
                let known: Vec<&str> = self.known().map(Prompt::name).collect();
                Err(Error::Argument {
                    name: "prompt".into(),
                    problem: format!("of this model, none called '{prompt}' is known"),
                    remedy: format!(
                        "use one of {}, or begin the text with what its model card says",
                        known.join(", ")
                    ),
                })
            }
        }
    }

    /// A text after its prompt: all that the model reads but the special tokens at both ends.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub fn prompted<'a>(
        &self,
        prompt: Prompt,
        title: Option<&str>,
        text: &'a str,
    ) -> Result<Cow<'a, str>> {
        let before = self.text(prompt, title)?;
        Ok(match before.is_empty() {
            true => text.into(),
            false => format!("{before}{text}").into(),
        })
    }
}

/// The strings of an array, none if it is not there.
fn strings(gguf: &Gguf, key: &str) -> Result<Vec<String>> {
    let wrong = |problem: String| gguf.file_error(key, problem, "convert the model again");
    let Some(array) = gguf.optional_array(key)? else {
        return Ok(Vec::new());
    };
    if array.len() > MOST {
        let problem = format!("holds {} strings, more than {MOST}", array.len());
        return Err(wrong(problem));
    }
    let strings = gguf.strings(array);
    let strings = strings.ok_or_else(|| wrong("is no array of strings".into()))?;
    let text = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec());
        text.map_err(|_| wrong(format!("has \"{}\", not UTF-8", bytes.escape_ascii())))
    };
    strings.map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_that_the_model_lacks_is_refused_with_those_it_has() {
        let prompts = Prompts::fixed(&[(Prompt::Query, "query: "), (Prompt::Document, "")]);
        assert_eq!(
            prompts.prompted(Prompt::Query, None, "a").unwrap(),
            "query: a"
        );
        assert_eq!(prompts.prompted(Prompt::Raw, None, "a").unwrap(), "a");
        let error = prompts.text(Prompt::Clustering, None).unwrap_err();
        let message = error.to_string();
        let parts = ["'clustering'", "raw, query, document"];
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }

    #[test]
    fn a_title_is_refused_where_no_prompt_has_a_place_for_it() {
        let prompts = Prompts::fixed(&[(Prompt::Document, "passage: ")]);
        let error = prompts.text(Prompt::Document, Some("Moons")).unwrap_err();
        assert!(error.to_string().starts_with("title: "), "{error}");
    }
}
