//! The files that a run writes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::format::OutputFormat;
use crate::message::{Message, Setting, message};
use crate::output::companions;
use crate::output_compression::OutputCompression;
use crate::shard::Shard;
use crate::staged::{staging_path, with_suffix};

/// More symbolic links than this lead in a circle.
const MOST_LINKS: usize = 40;

/// The files of an output.
#[derive(Debug)]
pub struct Target {
    /// How the output is written.
    pub format: OutputFormat,
    /// How it is compressed.
    pub compression: OutputCompression,
    /// The file asked for, or the shard in its place.
    pub output: PathBuf,
    /// The file itself: where `output` leads if it is a symbolic link.
    pub destination: PathBuf,
    /// The spool, which has the rows until the output is complete.
    pub spool: PathBuf,
    /// The files beside the output, which have the name asked for.
    pub companions: Vec<PathBuf>,
    /// Whether it is no shard.
    pub is_whole: bool,
}

impl Target {
    /// The files of an output or one shard of it.
    ///
    /// # Errors
    /// If no file can be written under that name.
    pub fn new(output: &Path, format: OutputFormat, shard: Shard) -> Result<Self> {
        let (compression, _) = OutputCompression::of_name(output);
        let (output, companions) = if shard.is_whole() {
            (output.to_owned(), companions(format, output))
        } else {
            let suffix = format!(".shard-{}-of-{}", shard.number, shard.of);
            (with_suffix(output, &suffix), Vec::new())
        };
        let destination = destination(&output).map_err(|problem| {
            let remedy = "name the file itself";
            Error::file(&output, problem.to_string(), remedy)
        })?;
        let target = Self {
            format,
            compression,
            spool: with_suffix(&output, ".partial"),
            output,
            destination,
            companions,
            is_whole: shard.is_whole(),
        };
        target.check_names()?;
        Ok(target)
    }

    /// The names of files that are not complete.
    pub fn staging(&self) -> Vec<PathBuf> {
        let files = std::iter::once(&self.destination).chain(&self.companions);
        files.map(|path| staging_path(path)).collect()
    }

    /// Every file that is written, replaced or removed.
    pub fn written(&self) -> Vec<PathBuf> {
        let mut written = vec![self.destination.clone(), self.spool.clone()];
        written.extend(self.companions.iter().cloned());
        written.extend(self.staging());
        written
    }

    /// Checks that files can have these names.
    fn check_names(&self) -> Result<()> {
        let refuse =
            |problem: &str, remedy: Message| Err(Error::file(&self.output, problem, remedy));
        if self.output.is_dir() {
            return refuse("is a directory", "name a file in it".into());
        }
        // Renaming the complete output to its name would replace a device by a file.
        let is_special = |path: &Path| fs::metadata(path).is_ok_and(|found| !found.is_file());
        if is_special(&self.output) || self.output.as_os_str() == "-" {
            return refuse(
                "a run that can be resumed needs a file to write to",
                message![
                    "name one; lines on standard input give vectors on standard output without ",
                    Setting::Input,
                    " and ",
                    Setting::Output,
                ],
            );
        }
        match self.written().iter().find(|path| is_special(path)) {
            Some(path) => {
                let problem = "is needed for the run, and is no file";
                Err(Error::file(path, problem, "take another output"))
            }
            None => Ok(()),
        }
    }
}

/// The file that a path leads to, which need not exist.
fn destination(path: &Path) -> io::Result<PathBuf> {
    let mut found = path.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&found) {
            Ok(link) => found = found.parent().unwrap_or(Path::new("")).join(link),
            Err(_) => return Ok(found),
        }
    }
    Err(io::Error::other(
        "is a symbolic link that leads in a circle",
    ))
}
