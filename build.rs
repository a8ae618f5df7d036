//! Puts a model into the program, with the feature `bundled`.

use std::path::PathBuf;
use std::{env, fs, process};

/// The model to put in.
const VARIABLE: &str = "LANEWISE_BUNDLE";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={VARIABLE}");
    if env::var_os("CARGO_FEATURE_BUNDLED").is_none() {
        return;
    }
    match model() {
        Ok((path, name)) => {
            println!("cargo:rerun-if-changed={path}");
            println!("cargo:rustc-env=LANEWISE_BUNDLED_PATH={path}");
            println!("cargo:rustc-env=LANEWISE_BUNDLED_NAME={name}");
        }
        Err(problem) => {
            println!("cargo::error={VARIABLE}: {problem}");
            process::exit(1);
        }
    }
}

/// The whole path of the model, and the name of its file.
fn model() -> Result<(String, String), String> {
    const REMEDY: &str = "set it to the path of a GGUF file, or build without the feature bundled";
    let path = env::var_os(VARIABLE).map(PathBuf::from).ok_or_else(|| {
        format!("is not set, but the feature bundled puts a model into the program; {REMEDY}")
    })?;
    let shown = path.display().to_string();
    let path = fs::canonicalize(path).map_err(|error| {
        format!(
            "{shown} cannot be opened ({error}); {REMEDY}, relative to the directory of Cargo.toml"
        )
    })?;
    let bytes = fs::read(&path).map_err(|error| format!("{shown}: {error}"))?;
    if !bytes.starts_with(b"GGUF") {
        return Err(format!("{shown} is no GGUF file; {REMEDY}"));
    }
    let utf8 = |text: Option<&str>| {
        let plain = text.filter(|text| !text.contains('\n'));
        let owned = plain.map(str::to_owned);
        owned.ok_or_else(|| format!("{shown}: its path is not UTF-8 of one line; rename it"))
    };
    let name = path.file_name().and_then(|name| name.to_str());
    Ok((utf8(path.to_str())?, utf8(name)?))
}
