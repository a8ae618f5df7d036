//! Which model file is used when none is named.

use std::env;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// What `tools/get-model` writes unless told otherwise.
const PREFERRED: &str = "embeddinggemma-300m-q8_0.gguf";

const REMEDY: &str = "run tools/get-model to fetch one, or name a GGUF file of EmbeddingGemma by the \
                      environment variable LANEWISE_MODEL";

/// The model file to use when none is named: `LANEWISE_MODEL` if it is set, else what
/// `tools/get-model` put into the cache directory.
///
/// In the cache directory (`$XDG_CACHE_HOME/lanewise`, else `~/.cache/lanewise`) the file
/// `embeddinggemma-300m-q8_0.gguf` is preferred, else the only `.gguf` file is taken.
///
/// # Errors
/// If there is no such file, or several and none of the preferred name. That the file can be used
/// is not checked.
pub fn find_model() -> Result<PathBuf> {
    match env::var_os("LANEWISE_MODEL").filter(|path| !path.is_empty()) {
        Some(path) => Ok(path.into()),
        None => find_in(&cache_directory()?),
    }
}

/// Lanewise's directory among those of other programs' caches. An unset or relative
/// `XDG_CACHE_HOME` does not count, as its specification asks.
///
/// # Errors
/// If there is no home directory either.
pub(crate) fn cache_directory() -> Result<PathBuf> {
    let named = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    named
        .filter(|path| path.is_absolute())
        .or_else(|| env::home_dir().map(|home| home.join(".cache")))
        .map(|cache| cache.join("lanewise"))
        .ok_or_else(|| Error::Argument {
            name: "model".into(),
            problem: "none is named, and there is no home directory to look into".into(),
            remedy: REMEDY.into(),
        })
}

fn find_in(directory: &Path) -> Result<PathBuf> {
    let preferred = directory.join(PREFERRED);
    if preferred.exists() {
        return Ok(preferred);
    }
    let mut found: Vec<PathBuf> = directory
        .read_dir()
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    found.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "gguf")
    });
    found.sort();
    let problem = match found.as_slice() {
        [_] => return Ok(found.remove(0)),
        [] => "there is none here".into(),
        several => {
            let names = several.iter().filter_map(|path| path.file_name());
            let names: Vec<_> = names.map(|name| name.to_string_lossy()).collect();
            let names = names.join(", ");
            format!("there are several here: {names}")
        }
    };
    Err(Error::File {
        path: directory.into(),
        field: "model".into(),
        problem,
        remedy: REMEDY.into(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn preferred_file_wins_else_the_only_one_else_error() {
        let directory = env::temp_dir().join(format!("lanewise-locate-{}", std::process::id()));
        let message = |result: Result<PathBuf>| result.unwrap_err().to_string();

        assert!(message(find_in(&directory)).contains("tools/get-model"));
        fs::create_dir(&directory).unwrap();
        assert!(message(find_in(&directory)).contains("there is none"));
        fs::write(directory.join("a.gguf"), "").unwrap();
        fs::write(directory.join("a.gguf.ok"), "").unwrap();
        assert_eq!(find_in(&directory).unwrap(), directory.join("a.gguf"));
        fs::write(directory.join("b.gguf"), "").unwrap();
        assert!(message(find_in(&directory)).contains("a.gguf, b.gguf"));
        fs::write(directory.join(PREFERRED), "").unwrap();
        assert_eq!(find_in(&directory).unwrap(), directory.join(PREFERRED));

        fs::remove_dir_all(&directory).unwrap();
    }
}
