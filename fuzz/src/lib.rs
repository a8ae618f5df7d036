//! What the fuzz targets do with their bytes; `fuzz/run` runs them.

pub mod converter;
pub mod families;
pub mod gguf;
pub mod index;
pub mod inputs;
pub mod kernels;
pub mod tokenizer;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use libfuzzer_sys::arbitrary::Unstructured;

/// The numbers that lengths, counts and offsets go wrong at.
const EDGES: [u64; 16] = [
    0,
    1,
    2,
    31,
    32,
    33,
    64,
    255,
    1 << 16,
    (1 << 31) - 1,
    1 << 32,
    1 << 53,
    1 << 63,
    u64::MAX / 34,
    u64::MAX - 31,
    u64::MAX,
];

/// The file that the reader opens: in memory, and this process's own.
static SCRATCH: LazyLock<PathBuf> = LazyLock::new(|| {
    let directory = Some(Path::new("/dev/shm")).filter(|directory| directory.is_dir());
    let directory = directory.map_or_else(std::env::temp_dir, Path::to_path_buf);
    directory.join(format!("lanewise-fuzz-{}.gguf", std::process::id()))
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

/// Writes over some of the first `reach` bytes, takes some out, or cuts the rest off.
fn damage(bytes: &mut Vec<u8>, reach: usize, input: &mut Unstructured) {
    let at = input.arbitrary::<u32>().unwrap_or_default() as usize;
    let at = at % reach.min(bytes.len()).max(1);
    match byte(input) % 8 {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..bytes.len().min(at + usize::from(byte(input))))),
        2..=4 => {
            let edge = number(input).to_le_bytes();
            let width = pick(input, &[1, 2, 4, 8]);
            let old = bytes.iter_mut().skip(at);
            old.zip(&edge[..width]).for_each(|(old, new)| *old = *new);
        }
        _ => bytes
            .iter_mut()
            .skip(at)
            .take(1)
            .for_each(|old| *old = byte(input)),
    }
}

/// An edge, or any number.
fn number(input: &mut Unstructured) -> u64 {
    match byte(input) {
        edge @ 0..=191 => EDGES[usize::from(edge) % EDGES.len()],
        192..=223 => u64::from(byte(input)),
        _ => input.arbitrary().unwrap_or_default(),
    }
}
