//! Layers point down: no file imports a layer above its own, and no package depends on one.

mod source;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use source::{Names, names};
use table::{
    FLAGS_OF_OTHERS, FOR_TESTS, FORBIDDEN, KNOW_FLAGS, LAYERS, Layer, MADE_OF_FIXTURES, layer_named,
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The modules of a file below the root of its crate: `["gguf", "map"]` for `src/gguf/map.rs`.
fn module_of(file: &Path) -> Vec<&str> {
    let parts = file.iter().map(|part| part.to_str().unwrap());
    let mut parts: Vec<&str> = parts.skip_while(|part| *part != "src").skip(1).collect();
    let name = parts.pop().unwrap_or_default();
    match name.trim_end_matches(".rs") {
        "mod" | "lib" | "main" => {}
        name => parts.push(name),
    }
    parts
}

/// The names that a crate's root shows, with the module or crate that each comes from.
fn reexports(root: &str) -> BTreeMap<String, String> {
    let paths = names(root, &[]).paths.into_iter();
    let pairs = paths.filter_map(|path| {
        let segments = path.segments.strip_prefix(&["crate".into()]);
        let segments = segments.unwrap_or(&path.segments);
        Some((segments.last()?.clone(), segments.first()?.clone()))
    });
    pairs.filter(|(name, _)| name != "*").collect()
}

/// What is wrong with a file of `layer`, as lines that begin with the file and the line.
fn violations(
    file: &Path,
    layer: &Layer,
    source: &str,
    reexports: &BTreeMap<String, String>,
) -> Vec<String> {
    let own = layer.name;
    let Names { paths, literals } = names(source, &module_of(file));
    let mut found = Vec::new();
    for path in paths {
        let written = path.segments.join("::");
        if is_forbidden(layer, &path.segments) {
            found.push((path.line, format!("{own} may not use {written}")));
        }
        let Some(name) = imported(layer, &path.segments, reexports) else {
            continue;
        };
        match layer_named(&name) {
            None => found.push((path.line, format!("no layer holds {written}"))),
            Some(target) if !layer.may_use(target.name) => found.push((
                path.line,
                format!("{own} may not use {} ({written})", target.name),
            )),
            Some(_) => {}
        }
    }
    let in_tests = file.iter().any(|part| part == "tests") || file.ends_with("tests.rs");
    if !KNOW_FLAGS.contains(&own) && !in_tests {
        for literal in literals.iter().filter(|literal| !literal.in_tests) {
            let flags = flags(&literal.text);
            found.extend(
                flags.map(|flag| (literal.line, format!("{own} may not name the flag {flag}"))),
            );
        }
    }
    let lines = found.into_iter();
    lines
        .map(|(line, what)| format!("{}:{line}: {what}", file.display()))
        .collect()
}

fn is_forbidden(layer: &Layer, segments: &[String]) -> bool {
    let rules = FORBIDDEN.iter().filter(|(name, _)| *name == layer.name);
    rules.flat_map(|(_, sequences)| *sequences).any(|sequence| {
        let mut windows = segments.windows(sequence.len());
        windows.any(|window| window == *sequence)
    })
}

/// The name of the layer that a path leads to, which there may not be. `None` for paths within a
/// package that is one layer, and to packages from elsewhere.
fn imported(
    layer: &Layer,
    segments: &[String],
    reexports: &BTreeMap<String, String>,
) -> Option<String> {
    let mut name = &segments[0];
    if name == "crate" && !layer.is_package() {
        name = segments.get(1)?;
        match reexports.get(name) {
            Some(module) if layer_named(name).is_none() => name = module,
            _ => {}
        }
        if !name.starts_with("lanewise_") {
            return Some(name.clone());
        }
    }
    // The name of a package has hyphens where its crate has underscores.
    let is_ours = name == "lanewise" || name.starts_with("lanewise_");
    is_ours.then(|| name.replace('_', "-"))
}

/// The flags of a command line in a text.
fn flags(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !(c.is_alphanumeric() || c == '-'));
    words.filter(|word| {
        word.strip_prefix("--")
            .is_some_and(|name| name.starts_with(|c: char| c.is_ascii_lowercase()))
            && !FLAGS_OF_OTHERS.contains(word)
    })
}

/// The Rust files below a directory, by their paths in the repository.
fn sources(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(root().join(directory)).unwrap() {
        let entry = entry.unwrap();
        let path = directory.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

#[test]
fn the_table_is_in_order_so_that_layers_form_no_cycle() {
    let mut before = BTreeSet::new();
    for layer in LAYERS {
        for name in layer.may_use {
            assert!(before.contains(name), "{}: {name} is above it", layer.name);
        }
        assert!(before.insert(layer.name), "{}: twice", layer.name);
        let path = root().join(layer.path);
        assert!(path.exists(), "{}: no {}", layer.name, path.display());
    }
}

#[test]
fn every_file_imports_only_layers_below_its_own() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let reexports = reexports(&lib);
    let mut files = Vec::new();
    for package in packages() {
        let manifest = Path::new(package["manifest_path"].as_str().unwrap());
        let directory = manifest.parent().unwrap().strip_prefix(root()).unwrap();
        sources(&directory.join("src"), &mut files);
    }
    let mut found = Vec::new();
    for file in &files {
        let source = fs::read_to_string(root().join(file)).unwrap();
        match LAYERS.iter().find(|layer| layer.holds(file)) {
            Some(layer) => found.extend(violations(file, layer, &source, &reexports)),
            None => found.push(format!("{}: belongs to no layer", file.display())),
        }
    }
    assert!(files.len() > 50, "only {} files", files.len());
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn every_package_depends_only_on_packages_below_its_own() {
    let mut found = Vec::new();
    for package in packages() {
        let name = package["name"].as_str().unwrap();
        let own: Vec<&Layer> = if name == "lanewise" {
            LAYERS.iter().filter(|layer| !layer.is_package()).collect()
        } else {
            LAYERS.iter().filter(|layer| layer.name == name).collect()
        };
        if own.is_empty() {
            found.push(format!("{name}: has no layer"));
        }
        for dependency in package["dependencies"].as_array().unwrap() {
            let other = dependency["name"].as_str().unwrap();
            let for_tests = dependency["kind"] == "dev" || MADE_OF_FIXTURES.contains(&name);
            let is_ours = other == "lanewise" || other.starts_with("lanewise-");
            let allowed = own.iter().any(|layer| layer.may_use.contains(&other))
                || for_tests && FOR_TESTS.contains(&other);
            if is_ours && !allowed {
                found.push(format!("{name}: may not depend on {other}"));
            }
            let forbidden = FORBIDDEN.iter().filter(|(layer, _)| *layer == name);
            for sequence in forbidden.flat_map(|(_, sequences)| *sequences) {
                if *sequence == [other] {
                    found.push(format!("{name}: may not depend on {other}"));
                }
            }
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// The packages of the workspace, as `cargo metadata` describes them.
fn packages() -> Vec<serde_json::Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .current_dir(root())
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata: {err}");
    let mut metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array_mut().unwrap();
    std::mem::take(packages)
}

/// What the check says about a source file that is not there.
fn check(file: &str, source: &str) -> Vec<String> {
    let file = Path::new(file);
    let layer = LAYERS.iter().find(|layer| layer.holds(file)).unwrap();
    let lib = "pub use error::{Error, Result};\npub use embedder::{Embedder, cosine};\npub use lanewise_kernels::Isa;";
    violations(file, layer, source, &reexports(lib))
}

#[test]
fn an_import_of_a_higher_layer_is_reported_by_file_and_line() {
    for (line, expected) in [
        ("use crate::models::Model;", "models (crate::models::Model)"),
        (
            "use {super::super::engine, crate::Error};",
            "engine (crate::engine)",
        ),
        (
            "use crate::{Isa, gguf::{self, Gguf}, embedder::*};",
            "embedder (crate::embedder::*)",
        ),
        (
            "pub use crate::Embedder as E;",
            "embedder (crate::Embedder)",
        ),
        (
            "fn f<'a>(x: &'a crate::cli::Args) {}",
            "cli (crate::cli::Args)",
        ),
        (
            "mod a { mod b { use super::super::super::super::runtime::X; } }",
            "runtime (crate::runtime::X)",
        ),
        (
            "let x = ::lanewise_bulk::run::<u8>();",
            "lanewise-bulk (lanewise_bulk::run)",
        ),
        ("use lanewise_bulk;", "lanewise-bulk (lanewise_bulk)"),
    ] {
        let source = format!("//! crate::cli::X\n/* crate::cli */ const S: &str = \"\n\";\n{line}");
        assert_eq!(
            check("src/gguf/map.rs", &source),
            [format!("src/gguf/map.rs:4: gguf may not use {expected}")]
        );
    }
    assert_eq!(
        check("src/gguf/map.rs", "use crate::new_module::X;"),
        ["src/gguf/map.rs:1: no layer holds crate::new_module::X"]
    );
}

#[test]
fn exits_and_argument_parsers_in_bulk_are_reported() {
    for (line, path) in [
        (
            "use std::process::{Command, ExitCode};",
            "std::process::ExitCode",
        ),
        ("process::exit(3);", "process::exit"),
        ("#[derive(clap::Args)]", "clap::Args"),
    ] {
        assert_eq!(
            check("crates/bulk/src/run.rs", line),
            [format!(
                "crates/bulk/src/run.rs:1: lanewise-bulk may not use {path}"
            )]
        );
    }
}

#[test]
fn flags_in_messages_of_the_library_are_reported() {
    assert_eq!(
        check(
            "src/prompt.rs",
            r##"f(r#"ask for "it" (--no-dense-head)"#)"##
        ),
        ["src/prompt.rs:1: prompt may not name the flag --no-dense-head"]
    );
    assert_eq!(check("src/cli/info.rs", r#"f("--json")"#), [""; 0]);
}

#[test]
fn imports_of_lower_layers_and_of_other_crates_are_not_reported() {
    let source = r##"
//! The runtime is at [`crate::runtime`].
use std::{io, process::{self}};
use crate::{Error, Isa, gguf::Gguf as File, Result};
use self::file::{r#type, Value};
pub(crate) fn f<'a>(c: char) -> &'a str {
    // crate::models::Model
    let quotes = ['"', '\'', '\u{7b}'];
    let lifetime: &'static str = r#"use crate::models; "--- -- a-b "#;
    Vec::<u8>::new(); b'"'; self::g(); crate::error::Error::new(1.0e3);
    process::exit(1)
}
#[cfg(test)]
mod tests {
    use super::*;
    use lanewise_testkit::random::Random;
    const FLAG: &str = "--threads";
}
"##;
    assert_eq!(check("src/gguf/mod.rs", source), [""; 0]);
}
