//! Text to ids by the file's own vocabulary.
