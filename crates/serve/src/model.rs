//! What the server asks of a model.

use std::sync::Arc;

use crate::error::Result;

/// What clients are told of a model.
#[derive(Debug, Clone)]
pub struct ModelInfo {
    /// The name under which clients ask for it, such as `embeddinggemma`.
    pub name: String,
    /// The name that its file states.
    pub title: String,
    /// The SHA-256 of its file, in hexadecimal.
    pub sha256: String,
    /// The architecture, as GGUF names it.
    pub architecture: String,
    /// How the vectors of tokens become one.
    pub pooling: String,
    /// The length of whole vectors.
    pub dims: usize,
    /// Every length that vectors can have, the longest first; of a model whose vectors can have any from
    /// [`shortest`](Self::shortest) on, the whole one alone.
    pub lengths: Vec<usize>,
    /// The shortest vectors, where all lengths from there on are possible.
    pub shortest: Option<usize>,
    /// The most tokens of a text, the special ones at both ends included.
    pub context: usize,
    /// Tokens are below it.
    pub vocabulary: usize,
    /// The prompts that it knows, `raw` first.
    pub prompts: Vec<PromptInfo>,
}

/// A prompt of a model.
#[derive(Debug, Clone)]
pub struct PromptInfo {
    /// The name that messages use.
    pub name: String,
    /// Other names of it.
    pub aliases: Vec<String>,
    /// What stands in front of each text.
    pub text: String,
}

impl ModelInfo {
    /// The prompt of a name, which is read in any case, with spaces, hyphens or underscores.
    pub fn prompt(&self, name: &str) -> Option<&PromptInfo> {
        self.prompt_number(name).map(|number| &self.prompts[number])
    }

    /// Its place among the [`prompts`](Self::prompts).
    pub fn prompt_number(&self, name: &str) -> Option<usize> {
        let is_it = |known: &str| letters(known).eq(letters(name));
        self.prompts.iter().position(|prompt| {
            is_it(&prompt.name) || prompt.aliases.iter().any(|alias| is_it(alias))
        })
    }
}

/// A name as it is compared.
fn letters(name: &str) -> impl Iterator<Item = char> + '_ {
    let kept = name.chars().filter(|c| !matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase)
}

/// A text's tokens, as the model reads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// The ids, with those of the special tokens at both ends.
    pub ids: Arc<[u32]>,
    /// Whether the text went on after them.
    pub truncated: bool,
}

/// An open model. Calls of [`embed`](Self::embed) come one after the other, of everything else at any time.
pub trait Model: Send + Sync {
    /// What clients are told of it.
    fn info(&self) -> &ModelInfo;

    /// The tokens of a text behind the prompt of this name, cut to the model's context.
    ///
    /// # Errors
    /// If the model does not know the prompt.
    fn encode(&self, prompt: &str, text: &str) -> Result<Tokens>;

    /// The tokens that a client gives as numbers: they are read as they are.
    ///
    /// # Errors
    /// If there are none, one is not of the vocabulary, or there are more than the model reads.
    fn tokens(&self, ids: Vec<u32>) -> Result<Tokens>;

    /// The text of tokens.
    fn decode(&self, ids: &[u32]) -> String;

    /// A token as text, for those who look at single ones.
    fn piece(&self, id: u32) -> String;

    /// Whole vectors of unit length, [`dims`](ModelInfo::dims) values each, of texts in their order.
    ///
    /// # Errors
    /// If the model cannot be used any more, or memory ran out.
    fn embed(&self, texts: &[&[u32]], out: &mut [f32]) -> Result<()>;

    /// Checks that vectors can have this length.
    ///
    /// # Errors
    /// If they cannot; the field is `dimensions`.
    fn check_dims(&self, dims: usize) -> Result<()>;

    /// The first values of a whole vector as one of unit length.
    ///
    /// # Errors
    /// If vectors of the model cannot have this length; the argument is `dimensions`.
    fn shorten(&self, vector: &[f32], dims: usize) -> Result<Vec<f32>>;

    /// The fingerprint of the space of vectors with this prompt and length.
    fn space(&self, prompt: &str, dims: usize) -> String;
}
