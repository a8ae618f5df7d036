//! Files that the real pyarrow and Polars have written go in, and what comes out is read by them.
//!
//! `tests/real_writers/install target/real_writers` makes the environment; `LANEWISE_PYTHON` names
//! the Python of another one.
#![cfg(feature = "bulk")]

mod bulk_support;
mod cli_support;

use std::path::{Path, PathBuf};
use std::process::Command;

use bulk_support::Directory;
use lanewise_testkit::assets;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real_writers");

/// The directory of the environment.
fn environment() -> Option<PathBuf> {
    let installed = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../real_writers/bin/python");
    let python = std::env::var_os("LANEWISE_PYTHON").map_or(installed, PathBuf::from);
    if !python.exists() {
        let install = "tests/real_writers/install target/real_writers makes it";
        assets::skip(format!("{} is missing: {install}", python.display()));
        return None;
    }
    Some(python.parent()?.parent()?.into())
}

#[track_caller]
fn python(environment: &Path, script: &str, arguments: &[&str], directory: &Directory) -> String {
    let mut command = Command::new(environment.join("bin/python"));
    command.arg(Path::new(SCRIPTS).join(script)).args(arguments);
    let output = command.current_dir(directory.path("")).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{script} {arguments:?}: {text}");
    text
}

/// Embeds each of the files with the columns `keep` (Arrow files also with `only_arrow`), and
/// compares the outputs in these formats with it.
#[track_caller]
fn check(environment: &Path, directory: &Directory, keep: &str, only_arrow: &str, to: &[&str]) {
    let all = directory.names();
    let names = all.iter().filter(|name| name.contains('.'));
    let names: Vec<&String> = names.collect();
    assert!(names.len() > 5, "{names:?}");
    let mut pairs = Vec::new();
    for name in names {
        let has_all = name.ends_with(".arrow") || name.ends_with(".arrows");
        let columns = match name.split('.').next() {
            Some("deltas" | "replaced") => "word".to_owned(),
            Some("empty-batches") => keep.replace(",dictionary", ""),
            _ if has_all => format!("{keep}{only_arrow}"),
            _ => keep.to_owned(),
        };
        // Of some files of Polars 1.0 pyarrow and later versions of Polars take dictionaries for
        // texts. The newest version has written the same.
        let reference = format!("reference/{name}");
        let has_reference = name.contains("-newest") && directory.path(&reference).exists();
        let given = if has_reference { &reference } else { name };
        for ending in to {
            let output = format!("of-{name}.{ending}");
            // Parquet has no intervals of months.
            let columns = match *ending {
                "parquet" => columns.replace(",interval", ""),
                _ => columns.clone(),
            };
            let arguments = format!(
                "embed --quiet --input {name} --output {output} --id-field id --keep text,{columns}"
            );
            let run = directory.run(&arguments);
            assert_eq!((run.code, run.err.as_str()), (0, ""), "{arguments}");
            pairs.extend([given.clone(), output]);
        }
    }
    let pairs: Vec<&str> = pairs.iter().map(String::as_str).collect();
    python(environment, "check.py", &pairs, directory);
}

#[test]
fn columns_of_pyarrow_files_arrive_as_they_were() {
    let Some(environment) = environment() else {
        return;
    };
    let directory = Directory::new();
    python(&environment, "write.py", &["arrow", "."], &directory);
    let keep = "bool,int8,uint64,float32,large,binary,uuid,date,time,naive,utc,zone,duration,decimal,list,fixed,struct,map,dictionary,null";
    let only_arrow = ",view,runs,views,seconds,clock,date64,interval";
    let formats = ["arrow", "parquet", "jsonl"];
    check(&environment, &directory, keep, only_arrow, &formats);
}

#[test]
fn columns_of_polars_files_arrive_as_they_were() {
    let Some(environment) = environment() else {
        return;
    };
    let keep = "bool,float,uint64,binary,date,time,naive,zone,duration,decimal,list,array,struct,categorical,enum";
    for version in ["", "polars-1.0.0", "polars-1.30.0", "polars-1.44.2"] {
        let directory = Directory::new();
        let path = environment.join(version);
        let path = path.to_str().unwrap();
        let older = (!version.is_empty()).then_some(path);
        let arguments: Vec<&str> = ["polars", "."].into_iter().chain(older).collect();
        python(&environment, "write.py", &arguments, &directory);
        if older.is_some() {
            std::fs::create_dir(directory.path("reference")).unwrap();
            let current = ["polars", "reference"];
            python(&environment, "write.py", &current, &directory);
        }
        let formats = ["arrow", "parquet", "jsonl"];
        let formats = if older.is_some() {
            &formats[..1]
        } else {
            &formats
        };
        check(&environment, &directory, keep, "", formats);
    }
}

#[test]
fn vectors_in_two_precisions_are_read_by_pyarrow_and_polars() {
    let Some(environment) = environment() else {
        return;
    };
    let directory = Directory::with_corpus(50);
    let names = ["v.jsonl", "v.arrow", "v.parquet"];
    for name in names {
        directory.embed(&format!("--output {name} --precision i8+binary"));
    }
    python(&environment, "vectors.py", &names, &directory);
}
