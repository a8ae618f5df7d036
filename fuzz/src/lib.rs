//! What the fuzz targets do with their bytes; `fuzz/run` runs them.

pub mod gguf;
pub mod kernels;
pub mod tokenizer;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use libfuzzer_sys::arbitrary::Unstructured;

/// The file that the reader opens: in memory, and this process's own.
static SCRATCH: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = Some(Path::new("/dev/shm")).filter(|folder| folder.is_dir());
    let folder = folder.map_or_else(std::env::temp_dir, Path::to_path_buf);
    folder.join(format!("lanewise-fuzz-{}.gguf", std::process::id()))
});

/// Writes a model file and gives its path to `open`.
fn with_file<T>(bytes: &[u8], open: impl FnOnce(&Path) -> T) -> T {
    std::fs::write(&*SCRATCH, bytes).expect("scratch can be written");
    let result = open(&SCRATCH);
    // A map that is still open keeps the old bytes; the next file is a new one.
    std::fs::remove_file(&*SCRATCH).expect("scratch can be removed");
    result
}

/// One byte of the input, 0 once it is used up.
fn byte(input: &mut Unstructured) -> u8 {
    input.arbitrary().unwrap_or_default()
}

/// One of `choices`.
fn pick<T: Copy>(input: &mut Unstructured, choices: &[T]) -> T {
    choices[usize::from(byte(input)) % choices.len()]
}
