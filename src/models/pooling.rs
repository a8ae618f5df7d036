//! How a file pools the vectors of a text's tokens: what it says, and what whoever opens it says.

use super::OpenOptions;
use crate::engine::Pooling;
use crate::gguf::Gguf;
use crate::{Error, Result};

/// The pooling of a file of `architecture`.
///
/// # Errors
/// If the file does not state it and the options do not either, if they contradict each other, or if the
/// file states one that is not supported.
pub(super) fn of(gguf: &Gguf, architecture: &str, options: &OpenOptions) -> Result<Pooling> {
    let key = key(architecture);
    let pooling = match gguf.optional_u32(&key)? {
        Some(1) => Pooling::Mean,
        Some(2) => Pooling::Cls,
        Some(3) => Pooling::Last,
        Some(other) => {
            let name = match other {
                0 => " (none)",
                4 => " (rank: a reranker)",
                _ => "",
            };
            let problem =
                format!("is {other}{name}, but only 1 (mean), 2 (cls) and 3 (last) are supported");
            return Err(gguf.file_error(key, problem, "use an embedding model"));
        }
        None => {
            return options.pooling.ok_or_else(|| Error::MissingPooling {
                path: gguf.path().to_path_buf(),
                key,
            });
        }
    };
    check_asked(gguf, architecture, pooling, options)?;
    Ok(pooling)
}

/// [`of`] for an architecture of which only some kinds of pooling are known.
///
/// # Errors
/// As [`of`], or if it is none of `known`.
pub(super) fn one_of(
    known: &[Pooling],
    gguf: &Gguf,
    architecture: &str,
    options: &OpenOptions,
) -> Result<Pooling> {
    let pooling = of(gguf, architecture, options)?;
    if known.contains(&pooling) {
        return Ok(pooling);
    }
    let names: Vec<&str> = known.iter().map(|known| known.name()).collect();
    let names = names.join(" or ");
    Err(gguf.file_error(
        key(architecture),
        format!("is to be {pooling}, but models of this kind have {names}"),
        format!("convert the model again with the pooling of its checkpoint, or ask for {names}"),
    ))
}

/// Refuses options that ask for another pooling than that of the file.
///
/// # Errors
/// If they do.
pub(super) fn check_asked(
    gguf: &Gguf,
    architecture: &str,
    pooling: Pooling,
    options: &OpenOptions,
) -> Result<()> {
    match options.pooling.filter(|&asked| asked != pooling) {
        None => Ok(()),
        Some(asked) => Err(gguf.file_error(
            key(architecture),
            format!("says {pooling}, but {asked} is asked for"),
            format!("ask for {pooling}, or for none in particular"),
        )),
    }
}

fn key(architecture: &str) -> String {
    format!("{architecture}.pooling_type")
}
