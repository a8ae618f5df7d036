//! Which model file is used when none is named.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::gguf::bundled_path;
use crate::{Error, Result};

/// What `tools/get-model` writes unless told otherwise.
const PREFERRED: &str = "embeddinggemma-300m-q8_0.gguf";

const REMEDY: &str = "run tools/get-model to fetch one, or name a GGUF file by the environment \
                      variable LANEWISE_MODEL";

/// The name of the model inside the program.
const BUNDLED: &str = "bundled";

/// Short names of models that `tools/get-model` fetches, and their files.
const NAMES: [(&str, &str); 3] = [
    ("embeddinggemma", PREFERRED),
    ("e5-small", "multilingual-e5-small-q4_0.gguf"),
    ("minilm", "all-minilm-l6-v2-q8_0.gguf"),
];

/// The model file to use when none is named: `LANEWISE_MODEL` if it is set, as
/// [`resolve_model`] takes it, else the model inside the program (feature `bundled`), else what
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
        Some(model) => resolve_model(model),
        None => match bundled_path() {
            Some(path) => Ok(path.into()),
            None => find_in(&cache_directory()?),
        },
    }
}

/// The file of a model that a user names: a path, or the name of a model in the cache directory.
///
/// A name has no separator of directories, does not end with `.gguf`, and is not that of a file in
/// the current directory: `minilm`, `embeddinggemma`, or a file's name in the cache directory
/// without its ending. `bundled` is the model inside the program, if the feature of this name has put one
/// there. Anything else is a path, and returned as it is.
///
/// # Errors
/// If there is no model of that name; the message lists those there are.
pub fn resolve_model(model: impl AsRef<Path>) -> Result<PathBuf> {
    let model = model.as_ref();
    match model_name(model) {
        Some(BUNDLED) if !model.exists() => bundled(),
        Some(name) if !model.exists() => named(name, &cache_directory()?),
        _ => Ok(model.into()),
    }
}

/// What people call the model in a file: the short name of one that `tools/get-model` fetches, else the file's
/// name without its ending.
pub fn short_name(path: &Path) -> String {
    let file = path.file_name().and_then(OsStr::to_str);
    let known = NAMES.iter().find(|(_, known)| file == Some(known));
    let stem = || path.file_stem().unwrap_or_default().to_string_lossy();
    known.map_or_else(|| stem().into_owned(), |(short, _)| (*short).into())
}

fn bundled() -> Result<PathBuf> {
    let path = bundled_path().map(PathBuf::from);
    path.ok_or_else(|| Error::Argument {
        name: "model".into(),
        problem: "there is none inside this program".into(),
        remedy: "name another, or build the program with one inside (feature bundled)".into(),
    })
}

/// The name that is no path.
fn model_name(model: &Path) -> Option<&str> {
    let name = model.to_str()?;
    let is_plain = model.file_name() == Some(model.as_os_str());
    (is_plain && !name.ends_with(".gguf")).then_some(name)
}

fn named(name: &str, directory: &Path) -> Result<PathBuf> {
    let file = NAMES.iter().find(|(short, _)| *short == name);
    let file = file.map_or_else(|| format!("{name}.gguf"), |(_, file)| (*file).into());
    let path = directory.join(file);
    if path.exists() {
        return Ok(path);
    }
    let found = models_in(directory);
    let names = found.iter().filter_map(|path| path.file_stem());
    let names: Vec<_> = names.map(OsStr::to_string_lossy).collect();
    let there = match names.as_slice() {
        [] => "no model is there".into(),
        names => format!("there are: {}", names.join(", ")),
    };
    let known = NAMES.map(|(short, _)| short).join(", ");
    Err(Error::File {
        path: directory.into(),
        field: format!("model {name:?}"),
        problem: format!("is no file here, and no model of this name has been fetched; {there}"),
        remedy: format!(
            "fetch one with tools/get-model (it has the names {known}), or give the path of a GGUF file"
        ),
    })
}

/// Lanewise's directory among those of other programs' caches. An unset or relative
/// `XDG_CACHE_HOME` does not count, as its specification asks.
///
/// # Errors
/// If there is no home directory either.
pub fn cache_directory() -> Result<PathBuf> {
    let named = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    named
        .filter(|path| path.is_absolute())
        .or_else(|| env::home_dir().map(|home| home.join(".cache")))
        .map(|cache| cache.join("lanewise"))
        .ok_or_else(|| Error::Argument {
            name: "model".into(),
            problem: "there is no home directory to look for one in".into(),
            remedy: REMEDY.into(),
        })
}

fn find_in(directory: &Path) -> Result<PathBuf> {
    let preferred = directory.join(PREFERRED);
    if preferred.exists() {
        return Ok(preferred);
    }
    let mut found = models_in(directory);
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

/// The GGUF files of a directory, in the order of their names.
fn models_in(directory: &Path) -> Vec<PathBuf> {
    let entries = directory.read_dir().into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    found.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "gguf")
    });
    found.sort();
    found
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

    #[test]
    fn names_are_looked_up_and_paths_are_not() {
        let directory = env::temp_dir().join(format!("lanewise-names-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        for file in ["all-minilm-l6-v2-q8_0.gguf", "mine.gguf"] {
            fs::write(directory.join(file), "").unwrap();
        }
        let found = |name| named(name, &directory).unwrap();
        assert_eq!(
            found("minilm"),
            directory.join("all-minilm-l6-v2-q8_0.gguf")
        );
        assert_eq!(found("mine"), directory.join("mine.gguf"));
        let message = named("e6", &directory).unwrap_err().to_string();
        for part in ["\"e6\"", "all-minilm-l6-v2-q8_0, mine", "tools/get-model"] {
            assert!(message.contains(part), "no {part} in {message}");
        }
        for path in ["x.gguf", "a/b", "/a", "..", "", "./minilm"] {
            assert_eq!(model_name(Path::new(path)), None, "{path}");
        }
        fs::remove_dir_all(&directory).unwrap();
    }
}
