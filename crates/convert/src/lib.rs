//! Directories of embedding models, as Hugging Face has them, to GGUF.
//!
//! A [`ConvertJob`] reads safetensors, `config.json`, the tokenizer and the modules of Sentence
//! Transformers, and writes the keys and tensor names that llama.cpp's converter does. Weights go
//! through in pieces of a megabyte; the output gets its name when it is complete.

mod checkpoint;
mod config;
mod encode;
mod error;
mod families;
mod files;
mod gguf;
mod safetensors;
mod sentence_transformers;
mod tokenizer;
mod weights;

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

pub use error::{Error, Result};

use checkpoint::Checkpoint;
use config::Config;
use families::Source;
use sentence_transformers::Modules;
use weights::Scratch;

/// How matrices are stored. Norms, biases and tables of positions are always F32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WeightType {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// Blocks of 32 int8 with one f16 scale.
    #[default]
    Q8_0,
    /// Blocks of 32 four-bit integers with one f16 scale; the table of token embeddings has Q8_0.
    Q4_0,
}

/// How the vectors of a text's tokens become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// The first.
    Cls,
    /// The last.
    Last,
}

impl Pooling {
    /// Its number in GGUF.
    fn number(self) -> u32 {
        match self {
            Self::Mean => 1,
            Self::Cls => 2,
            Self::Last => 3,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Cls => "cls",
            Self::Last => "last",
        }
    }
}

/// A directory to be converted.
#[derive(Clone, Debug)]
pub struct ConvertJob {
    /// The model's directory.
    pub directory: PathBuf,
    /// The GGUF file to be written.
    pub output: PathBuf,
    /// How matrices are stored.
    pub weights: WeightType,
    /// The model's name in the file; the directory's unless set.
    pub name: Option<String>,
    /// How tokens are pooled, where the directory does not say it.
    pub pooling: Option<Pooling>,
    /// Whether the dense heads of EmbeddingGemma are written.
    pub dense_heads: bool,
    /// Whether a file at the output's path is replaced.
    pub force: bool,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Converted {
    /// The number of tensors.
    pub tensors: usize,
    /// The length of the file.
    pub bytes: u64,
}

/// The architectures that are converted, as `config.json` has them, with the names of their
/// families.
pub fn supported() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    families::FAMILIES
        .iter()
        .map(|family| (family.name, family.architectures))
}

impl ConvertJob {
    /// Converts the directory. `progress` is called with the bytes written so far, and their number
    /// at the end; it may end the conversion.
    ///
    /// # Errors
    /// If something in the directory is missing, damaged or not supported, the output cannot be
    /// written, or `progress` ends it; then there is no output.
    pub fn run(&self, progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>) -> Result<Converted> {
        self.check_output()?;
        let metadata = fs::metadata(&self.directory).map_err(error::read(&self.directory))?;
        if !metadata.is_dir() {
            let remedy = "give the directory that has the model's config.json and weights";
            return Err(error::input(
                &self.directory,
                "directory",
                "is a file",
                remedy,
            ));
        }
        let modules = Modules::read(&self.directory)?;
        let config = modules.transformer.join("config.json");
        if !config.exists() {
            let remedy = "give the directory of a model as Hugging Face has it";
            return Err(error::input(
                &modules.transformer,
                "config.json",
                "is missing",
                remedy,
            ));
        }
        let source = Source {
            job: self,
            name: self.name(),
            config: Config::read(config)?,
            modules,
        };
        // The architecture first: of a model that is not supported nothing else matters.
        let _ = source.family()?;
        let mut checkpoint = Checkpoint::open(&source.modules.transformer)?;
        let (metadata, tensors) = source.plan(&mut checkpoint)?;

        let header = gguf::header(&metadata, &tensors);
        drop(metadata);
        let data: u64 = tensors
            .iter()
            .map(|tensor| gguf::padded(tensor.bytes()))
            .sum();
        let total = header.len() as u64 + data;
        let failed = |source| Error::Write {
            path: self.output.clone(),
            source,
        };
        let mut out = Staged::create(&self.output).map_err(failed)?;
        out.file.write_all(&header).map_err(failed)?;
        let mut done = header.len() as u64;
        drop(header);
        let mut scratch = Scratch::default();
        for tensor in &tensors {
            let on_piece = |bytes| {
                done += bytes;
                match progress(done, total) {
                    ControlFlow::Continue(()) => Ok(()),
                    ControlFlow::Break(()) => Err(Error::Stopped),
                }
            };
            let written = tensor.write(&checkpoint, &mut out.file, &mut scratch, on_piece)?;
            written.map_err(failed)?;
        }
        out.commit(&self.output).map_err(failed)?;
        let _ = progress(total, total);
        Ok(Converted {
            tensors: tensors.len(),
            bytes: total,
        })
    }

    /// Checks that nothing is lost by writing the output: replacing a file of the directory, whose
    /// name was given by mistake, would be.
    fn check_output(&self) -> Result<()> {
        let Ok(metadata) = fs::metadata(&self.output) else {
            return Ok(());
        };
        if !self.force {
            let path = self.output.clone();
            return Err(Error::OutputExists { path });
        }
        let mut start = [0; 4];
        let is_gguf = metadata.is_file()
            && File::open(&self.output)
                .and_then(|mut file| file.read_exact(&mut start))
                .is_ok_and(|()| start == *b"GGUF");
        if metadata.is_file() && (is_gguf || metadata.len() == 0) {
            return Ok(());
        }
        let problem = "is there and no GGUF file, and is not replaced";
        Err(error::input(
            &self.output,
            "output",
            problem,
            "choose another name",
        ))
    }

    /// The model's name in the file.
    fn name(&self) -> String {
        let directory = fs::canonicalize(&self.directory);
        let directory = directory.as_deref().unwrap_or(&self.directory);
        let own = || name_of(directory).unwrap_or_else(|| "model".into());
        self.name.clone().unwrap_or_else(own)
    }
}

/// The name of a directory. In the hub's cache it is that of the repository, for there a model's
/// directory is `models--OWNER--NAME/snapshots/COMMIT`.
fn name_of(directory: &Path) -> Option<String> {
    let name = |path: &Path| Some(path.file_name()?.to_string_lossy().into_owned());
    let parent = directory.parent();
    let repository = parent.filter(|parent| parent.ends_with("snapshots"));
    let repository = repository.and_then(|snapshots| name(snapshots.parent()?));
    let repository = repository.and_then(|name| {
        let (_, name) = name.strip_prefix("models--")?.rsplit_once("--")?;
        Some(name.to_owned())
    });
    repository.or_else(|| name(directory))
}

/// A file under a temporary name until it is complete, which is removed if it is not.
struct Staged {
    path: PathBuf,
    file: BufWriter<File>,
    is_complete: bool,
}

impl Staged {
    fn create(output: &Path) -> io::Result<Self> {
        let mut path = output.as_os_str().to_owned();
        // Its own for each process, so that two that write the same file do not mix.
        path.push(format!(".{}.writing", std::process::id()));
        let path = PathBuf::from(path);
        let file = BufWriter::with_capacity(1 << 20, File::create(&path)?);
        Ok(Self {
            path,
            file,
            is_complete: false,
        })
    }

    fn commit(mut self, output: &Path) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        fs::rename(&self.path, output)?;
        self.is_complete = true;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.is_complete {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_named_after_its_directory_or_repository() {
        for (directory, name) in [
            ("/models/all-MiniLM-L6-v2", Some("all-MiniLM-L6-v2")),
            (
                "/hub/models--BAAI--bge-small-en/snapshots/5c38ec7c405ec4b44b94cc5a9bb96e735b38267a",
                Some("bge-small-en"),
            ),
            ("/photos/snapshots/2026", Some("2026")),
            ("/", None),
        ] {
            assert_eq!(
                name_of(Path::new(directory)).as_deref(),
                name,
                "{directory}"
            );
        }
    }
}
