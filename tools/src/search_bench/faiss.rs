//! FAISS, run by a Python that has it.

use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;

const SCRIPT: &str = include_str!("faiss.py");

/// One search by FAISS.
#[derive(Debug, Deserialize)]
pub struct Measured {
    pub engine: String,
    pub vectors: String,
    pub queries: usize,
    pub median_ms: f64,
}

/// Runs the script and reads its lines.
///
/// # Errors
///
/// If Python cannot be run or fails; what it says goes to standard error.
pub fn measure(
    python: &Path,
    rows: usize,
    dims: usize,
    threads: usize,
) -> Result<Vec<Measured>, String> {
    let output = Command::new(python)
        .args(["-c", SCRIPT])
        .args([rows, dims, threads].map(|number| number.to_string()))
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot run {}: {error}", python.display()))?;
    if !output.status.success() {
        return Err(format!(
            "{} failed: {}; it needs FAISS and NumPy: pip install faiss-cpu numpy",
            python.display(),
            output.status
        ));
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| {
            serde_json::from_str(line).map_err(|error| format!("FAISS said {line:?}: {error}"))
        })
        .collect()
}
