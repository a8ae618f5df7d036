//! Files that tests need and a checkout does not contain: the real model and the golden vectors.
//!
//! If such a file is missing, the test is skipped and prints `SKIPPED`; if the environment variable
//! `LANEWISE_REQUIRE_MODEL` is `1`, the test fails instead. The float32 file (1.2 GB) is required
//! only if `LANEWISE_MODEL_F32` names it.

use std::env;
use std::fmt::Display;
use std::path::{Path, PathBuf};

/// A variant of the real model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Matrices in Q8_0; `LANEWISE_MODEL` overrides the path.
    Q8_0,
    /// The float32 checkpoint; `LANEWISE_MODEL_F32` overrides the path.
    F32,
}

/// The path of the real model, or `None` if it is missing.
///
/// # Panics
/// If the file is missing although it is required.
pub fn real_model(variant: Variant) -> Option<PathBuf> {
    let (variable, name) = match variant {
        Variant::Q8_0 => ("LANEWISE_MODEL", "q8_0"),
        Variant::F32 => ("LANEWISE_MODEL_F32", "f32"),
    };
    if let Some(path) = env::var_os(variable) {
        return found(path.into(), true);
    }
    let cache = env::home_dir().unwrap_or_default().join(".cache");
    let [own, shared] = ["lanewise", "embeddinggemma"].map(|directory| {
        let name = format!("embeddinggemma-300m-{name}.gguf");
        cache.join(directory).join(name)
    });
    let path = if own.exists() { own } else { shared };
    found(path, variant == Variant::Q8_0)
}

/// The path of all-MiniLM-L6-v2, or `None` if it is missing. `LANEWISE_MODEL_MINILM` overrides that of
/// the file in Q8_0, `LANEWISE_MODEL_MINILM_F32` that of the float32 one, which is required only then.
///
/// # Panics
/// If the file is missing although it is required.
pub fn minilm(variant: Variant) -> Option<PathBuf> {
    let (variable, name) = match variant {
        Variant::Q8_0 => ("LANEWISE_MODEL_MINILM", "q8_0"),
        Variant::F32 => ("LANEWISE_MODEL_MINILM_F32", "f32"),
    };
    if let Some(path) = env::var_os(variable) {
        return found(path.into(), true);
    }
    let cache = env::home_dir().unwrap_or_default().join(".cache/lanewise");
    let path = cache.join(format!("all-minilm-l6-v2-{name}.gguf"));
    found(path, variant == Variant::Q8_0)
}

/// The path of multilingual-e5-small in Q4_0, or `None` if it is missing. `LANEWISE_MODEL_E5` overrides it.
///
/// # Panics
/// If the file is missing although it is required.
pub fn e5_small() -> Option<PathBuf> {
    let path = env::var_os("LANEWISE_MODEL_E5").map(PathBuf::from);
    let path = path.unwrap_or_else(|| {
        let cache = env::home_dir().unwrap_or_default().join(".cache/lanewise");
        cache.join("multilingual-e5-small-q4_0.gguf")
    });
    found(path, true)
}

/// The path of a file of the golden set of EmbeddingGemma, or `None` if it is missing.
///
/// # Panics
/// If the file is missing although it is required.
pub fn golden(name: &str) -> Option<PathBuf> {
    shared(&format!("golden/{name}"))
}

/// The path of a file beside the checkout that tests share, or `None` if it is missing.
///
/// # Panics
/// If the file is missing although it is required.
pub fn shared(name: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    found(root.join("../shared").join(name), true)
}

/// Prints why a test or a benchmark that needs the real model is skipped.
///
/// # Panics
/// If the model is required.
#[track_caller]
pub fn skip(reason: impl Display) {
    let required = env::var("LANEWISE_REQUIRE_MODEL").is_ok_and(|value| value == "1");
    assert!(!required, "{reason}");
    println!("SKIPPED: {reason}");
}

fn found(path: PathBuf, can_be_required: bool) -> Option<PathBuf> {
    if path.exists() {
        return Some(path);
    }
    let reason = format!("{} is missing", path.display());
    if can_be_required {
        skip(reason);
    } else {
        println!("SKIPPED: {reason}");
    }
    None
}
