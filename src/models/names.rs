//! What the name of a model tells of it, where its file does not.

use crate::gguf::Gguf;

/// What `of_words` finds in the words of the model's name, or else in those of the file's own.
pub(super) fn find<T>(gguf: &Gguf, of_words: impl Fn(&[&str]) -> Option<T>) -> Option<T> {
    let name = gguf.optional_str("general.name").ok().flatten();
    let stem = gguf.path().file_stem().and_then(|stem| stem.to_str());
    let named = name.and_then(|name| of(&name, &of_words));
    named.or_else(|| of(stem?, &of_words))
}

/// What `of_words` finds in the words of a name, in lower case.
pub(super) fn of<T>(name: &str, of_words: impl Fn(&[&str]) -> Option<T>) -> Option<T> {
    let lower = name.to_lowercase();
    let words: Vec<&str> = lower
        .split(|character: char| !character.is_alphanumeric())
        .collect();
    of_words(&words)
}
