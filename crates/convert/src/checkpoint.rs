//! The weights of a directory: one safetensors file, or several that an index lists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, FETCH_AGAIN, Result, input};
use crate::files;
use crate::safetensors::{self, Entry, field};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// The longest index: a line for each of 65,536 tensors.
const MAX_INDEX: u64 = 16 << 20;
/// More files than any model is cut into.
const MAX_SHARDS: usize = 512;

const CONVERT_PICKLES: &str = "such files run code when they are loaded: fetch model.safetensors of \
                               the model instead, or load and save it again with transformers";

/// The tensors of a checkpoint, by name. What is converted is taken out.
pub struct Checkpoint {
    directory: PathBuf,
    files: Vec<(PathBuf, File)>,
    tensors: BTreeMap<String, Stored>,
    /// How many of the files belong to the transformer; the others to modules after it.
    shards: usize,
}

/// Where a tensor is.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The number of its file.
    pub file: usize,
    pub entry: Entry,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Reads the headers of a directory's weights.
    ///
    /// # Errors
    /// If there are none, some are missing, or a header cannot be used.
    pub fn open(directory: &Path) -> Result<Self> {
        let mut checkpoint = Self {
            directory: directory.to_path_buf(),
            files: Vec::new(),
            tensors: BTreeMap::new(),
            shards: 0,
        };
        let index = directory.join(INDEX);
        if directory.join(SINGLE).exists() {
            checkpoint.add(directory.join(SINGLE), None)?;
        } else if index.exists() {
            checkpoint.add_shards(&index)?;
        } else {
            return Err(no_weights(directory));
        }
        checkpoint.shards = checkpoint.files.len();
        Ok(checkpoint)
    }

    fn add_shards(&mut self, path: &Path) -> Result<()> {
        let bytes = files::bytes(path, MAX_INDEX)?;
        let Index { weight_map } = files::parse(path, &bytes)?;
        let shards: BTreeSet<&str> = weight_map.values().map(String::as_str).collect();
        if !(1..=MAX_SHARDS).contains(&shards.len()) {
            let problem = format!("names {} files, not 1 to {MAX_SHARDS}", shards.len());
            return Err(input(path, "weight_map", problem, FETCH_AGAIN));
        }
        for shard in shards {
            if !is_plain_name(shard) {
                let problem = format!("names the file {shard:.60?}, which is not in the directory");
                return Err(input(path, "weight_map", problem, FETCH_AGAIN));
            }
            let file = self.directory.join(shard);
            if !file.exists() {
                let problem = format!("names the file {shard}, which is missing");
                let remedy = "fetch all of the model's files into one directory";
                return Err(input(path, "weight_map", problem, remedy));
            }
            self.add(file, Some(&weight_map))?;
        }
        if let Some(name) = weight_map
            .keys()
            .find(|name| !self.tensors.contains_key(*name))
        {
            let problem = format!("is not in {}, where it should be", weight_map[name]);
            return Err(input(path, field(name), problem, FETCH_AGAIN));
        }
        Ok(())
    }

    /// Adds the tensors of a file. With an index, each must be listed there for this file.
    fn add(&mut self, path: PathBuf, index: Option<&BTreeMap<String, String>>) -> Result<()> {
        let (file, tensors) = safetensors::read(&path)?;
        let number = self.files.len();
        for (name, entry) in tensors {
            let listed = index.map(|index| index.get(&name).map(String::as_str));
            let own = path.file_name().and_then(|name| name.to_str());
            if listed.is_some_and(|listed| listed != own) {
                let problem = format!("is not what {INDEX} says of this file");
                return Err(input(&path, field(&name), problem, FETCH_AGAIN));
            }
            let file = number;
            self.tensors.insert(name, Stored { file, entry });
        }
        self.files.push((path, file));
        Ok(())
    }

    /// Adds the tensors of a module's own directory, each name after `prefix`.
    pub fn add_module(&mut self, directory: &Path, prefix: &str) -> Result<()> {
        let path = directory.join(SINGLE);
        if !path.exists() {
            return Err(no_weights(directory));
        }
        let (file, tensors) = safetensors::read(&path)?;
        let number = self.files.len();
        for (name, entry) in tensors {
            let file = number;
            self.tensors
                .insert(format!("{prefix}{name}"), Stored { file, entry });
        }
        self.files.push((path, file));
        Ok(())
    }

    /// Whether a tensor belongs to a module after the transformer.
    pub fn is_of_module(&self, stored: &Stored) -> bool {
        stored.file >= self.shards
    }

    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Takes a tensor out.
    pub fn take(&mut self, name: &str) -> Result<Stored> {
        self.tensors.remove(name).ok_or_else(|| {
            let remedy = "give the complete checkpoint of the model";
            input(
                &self.directory,
                field(name),
                "is in no safetensors file",
                remedy,
            )
        })
    }

    /// Checks that what has not been taken is of no use.
    ///
    /// # Errors
    /// Names the first tensor that the family does not know: leaving it out could give wrong
    /// vectors.
    pub fn expect_rest(&self, is_useless: impl Fn(&str) -> bool) -> Result<()> {
        match self.tensors.iter().find(|(name, _)| !is_useless(name)) {
            Some((name, stored)) => Err(self.error(
                stored,
                name,
                "has no place in this architecture",
                "give a model of the usual form, adapters merged into it",
            )),
            None => Ok(()),
        }
    }

    pub fn path(&self, stored: &Stored) -> &Path {
        &self.files[stored.file].0
    }

    /// Reads bytes of a tensor's file from `start` on.
    pub fn read(&self, stored: &Stored, start: u64, out: &mut [u8]) -> Result<()> {
        let (path, file) = &self.files[stored.file];
        safetensors::read_at(path, file, start, out)
    }

    /// An error in a tensor.
    pub fn error(
        &self,
        stored: &Stored,
        name: &str,
        problem: impl Into<String>,
        remedy: &str,
    ) -> Error {
        input(self.path(stored), field(name), problem, remedy)
    }
}

/// Whether this is the name of a file in the same directory.
pub fn is_plain_name(name: &str) -> bool {
    let path = Path::new(name);
    path.file_name().is_some_and(|own| own == path.as_os_str())
}

/// Why there are no weights, from what is there instead.
fn no_weights(directory: &Path) -> Error {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    let ends = |endings: &[&str]| {
        let mut names = names.iter();
        names.find(|name| endings.iter().any(|ending| name.ends_with(ending)))
    };
    let has = |what: &str| format!("is missing, and there is {what}");
    let (problem, remedy) = if let Some(name) = ends(&[".bin", ".pt", ".pth", ".ckpt", ".pkl"]) {
        (has(&format!("{name}, a pickle, instead")), CONVERT_PICKLES)
    } else if let Some(name) = ends(&[".gguf"]) {
        let remedy = "this file is the model as it is used: name it instead of the directory";
        (has(&format!("{name} instead")), remedy)
    } else if let Some(name) = ends(&[".safetensors"]) {
        let remedy = "fetch the index with the files, or rename a single file to model.safetensors";
        (has(&format!("{name} without {INDEX}")), remedy)
    } else if let Some(name) = ends(&[".onnx", ".h5", ".msgpack", ".ot"]) {
        let remedy = "fetch model.safetensors of the model";
        (has(&format!("{name} instead")), remedy)
    } else {
        let remedy = "fetch the whole directory of the model";
        ("is missing".into(), remedy)
    };
    input(directory, SINGLE, problem, remedy)
}
