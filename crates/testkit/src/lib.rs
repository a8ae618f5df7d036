//! Fixtures shared by tests, benchmarks, fuzz targets and tools.
//!
//! The crate depends on no other crate of the project, so every one of them can use it in its
//! tests.

pub mod assets;
pub mod blocks;
pub mod byte_vocabulary;
pub mod checkpoint;
pub mod gguf_writer;
#[cfg(unix)]
#[cfg_attr(miri, path = "guarded_miri.rs")]
pub mod guarded;
pub mod hostile;
pub mod random;
pub mod texts;
pub mod tiny_bert;
pub mod tiny_gemma2;
pub mod tiny_model;
pub mod tiny_pre_norm;
pub mod tiny_unigram;

/// A path for a file that a test writes: in the target directory, under a name that no other test
/// program uses.
///
/// Works in integration tests and benchmarks only, for which cargo sets `CARGO_TARGET_TMPDIR`.
#[macro_export]
macro_rules! scratch {
    ($name:expr) => {
        ::std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!(
            "{}-{}",
            env!("CARGO_CRATE_NAME"),
            $name
        ))
    };
}
