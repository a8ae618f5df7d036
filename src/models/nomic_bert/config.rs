//! The hyperparameters, each read from the file.

use super::FAMILY;
use crate::Result;
use crate::gguf::Gguf;
use crate::models::bert::{Config, Variant};
use crate::models::keys::Keys;
use crate::models::{Dims, OpenOptions, names};

/// The longest texts that the models were trained with, in tokens. Beyond it they scale the angles of RoPE by
/// the length of the text, which is not in the file.
const TRAINED_CONTEXT: usize = 2048;

/// The width of nomic-embed-text, and the shorter lengths that v1.5 was trained to be cut to.
const TRAINED_DIMS: [usize; 5] = [768, 512, 256, 128, 64];

/// Reads and checks the hyperparameters.
///
/// # Errors
/// If a key is missing, out of its limits, or requires what this engine does not support.
pub(super) fn of_file(gguf: &Gguf, options: &OpenOptions) -> Result<Config> {
    let keys = Keys {
        gguf,
        architecture: FAMILY.architecture,
    };
    // The models have another base than the 10,000 that is otherwise usual, so that none is taken for
    // granted.
    let rope_base = keys.positive("rope.freq_base")?;
    let mut config = Config::of_variant(&keys, options, Variant::Nomic { rope_base })?;
    keys.check_plain_rope("", config.head_dim())?;
    config.context = config.context.min(TRAINED_CONTEXT);
    config.dims = dims(config.hidden, names::find(gguf, is_v1).unwrap_or(false));
    Ok(config)
}

/// The lengths that vectors may have. Those of v1 are not to be cut, but only its name tells it from v1.5.
fn dims(hidden: usize, is_v1: bool) -> Dims {
    match (hidden, is_v1) {
        (768, true) => Dims::Trained(&TRAINED_DIMS[..1]),
        (768, false) => Dims::Trained(&TRAINED_DIMS),
        (width, _) => Dims::UpTo(width),
    }
}

/// Whether a model is v1 rather than v1.5, if its name has a version.
fn is_v1(words: &[&str]) -> Option<bool> {
    let version = words.iter().position(|&word| word == "v1")?;
    Some(words.get(version + 1) != Some(&"5"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_model_called_v1_has_no_shorter_vectors() {
        for (name, expected) in [
            ("nomic-embed-text-v1", &TRAINED_DIMS[..1]),
            ("nomic-embed-text-v1.Q8_0", &TRAINED_DIMS[..1]),
            ("nomic-embed-text-v1.5", &TRAINED_DIMS),
            ("Nomic Embed Text v1.5 f16", &TRAINED_DIMS),
            ("nomic-embed-text", &TRAINED_DIMS),
        ] {
            let is_v1 = names::of(name, is_v1).unwrap_or(false);
            assert_eq!(dims(768, is_v1), Dims::Trained(expected), "{name}");
        }
        assert_eq!(dims(128, true), Dims::UpTo(128));
    }
}
