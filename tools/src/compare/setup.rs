//! The virtual environment that the peers run in, made once and kept in the cache folder.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const PACKAGES: [&str; 2] = ["llama-cpp-python==0.3.36", "numpy"];

/// The environment's Python, which takes some minutes to set up the first time.
///
/// # Errors
///
/// If a step fails; its own output, on standard error, says why.
pub fn python() -> Result<PathBuf, String> {
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let cache = cache
        .or_else(|| env::home_dir().map(|home| home.join(".cache")))
        .ok_or("there is no home folder for the cache; name a Python with --python")?;
    let folder = cache.join("lanewise/compare-venv");
    let python = folder.join("bin/python");
    // Written last, so a setup that was interrupted is done again.
    let ready = folder.join("ready");
    if fs::read_to_string(&ready).is_ok_and(|packages| packages == PACKAGES.join(" ")) {
        return Ok(python);
    }
    if !(found("cmake") && found("c++")) {
        step(Path::new("apt-get"), &["update", "-q"])?;
        step(
            Path::new("apt-get"),
            &["install", "-y", "-q", "cmake", "g++"],
        )?;
    }
    step(
        Path::new("python3"),
        &["-m", "venv", &folder.to_string_lossy()],
    )?;
    eprintln!("building llama.cpp takes some minutes, once");
    let install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ];
    step(&python, &[&install[..], &PACKAGES[..]].concat())?;
    fs::write(&ready, PACKAGES.join(" "))
        .map_err(|error| format!("{}: {error}", ready.display()))?;
    Ok(python)
}

fn found(program: &str) -> bool {
    let mut command = Command::new(program);
    command
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Says what is run and runs it; standard output is kept for results.
fn step(program: &Path, arguments: &[&str]) -> Result<(), String> {
    let shown = format!("{} {}", program.display(), arguments.join(" "));
    eprintln!("compare: {shown}");
    let status = Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{shown}` ended with {status}")),
        Err(error) => Err(format!("cannot run `{shown}`: {error}")),
    }
}
