//! The virtual environment that the peers run in, made once and kept in the cache directory.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Pinned, so that figures can be compared from machine to machine.
const PACKAGES: [&str; 2] = ["llama-cpp-python==0.3.36", "numpy==2.4.6"];

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
        .ok_or("there is no home directory for the cache; name a Python with --python")?;
    let directory = cache.join("lanewise/compare-venv");
    let python = directory.join("bin/python");
    // Written last, so a setup that was interrupted is done again.
    let ready = directory.join("ready");
    if fs::read_to_string(&ready).is_ok_and(|packages| packages == PACKAGES.join(" ")) {
        return Ok(python);
    }
    // pip brings cmake and ninja itself where they are missing.
    if !(found("c++") && found("python3")) {
        step(Command::new("apt-get").args(["update", "-q"]))
            .and_then(|()| {
                let install = ["install", "-y", "-q", "g++", "python3-venv"];
                step(Command::new("apt-get").args(install))
            })
            .map_err(|error| {
                let packages = PACKAGES.join(" and ");
                format!("{error}; install a C++ compiler and Python 3, or name with --python one that has {packages}")
            })?;
    }
    eprintln!("compare: building llama.cpp for this machine takes some minutes, once");
    let directory = directory.to_string_lossy();
    step(Command::new("python3").args(["-m", "venv", "--clear", &directory]))?;
    let mut install = Command::new(&python);
    install
        .args(["-m", "pip", "install", "--quiet"])
        .arg("--disable-pip-version-check")
        .args(PACKAGES)
        // All instructions that this CPU has.
        .env("CMAKE_ARGS", "-DGGML_NATIVE=ON");
    step(&mut install)?;
    step(Command::new(&python).args(["-c", "import llama_cpp, numpy"]))?;
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
fn step(command: &mut Command) -> Result<(), String> {
    eprintln!("compare: {command:?}");
    match command.stdout(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?} ended with {status}")),
        Err(error) => Err(format!("cannot run {command:?}: {error}")),
    }
}
