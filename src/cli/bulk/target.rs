//! Where a run writes, and what must not be lost there.

use std::fs;
use std::path::{Path, PathBuf};

use super::output::{OutputFormat, with_suffix};
use super::settings::Shard;
use crate::cli::failure::Failure;

/// The files of an output.
pub struct Target {
    /// How the output is written.
    pub format: OutputFormat,
    /// The file asked for, or the shard in its place.
    pub output: PathBuf,
    /// Where the rows are until it is complete.
    pub spool: PathBuf,
    companions: Vec<PathBuf>,
}

impl Target {
    /// The files of an output or one shard of it.
    pub fn new(output: &Path, format: OutputFormat, shard: Shard) -> Self {
        let (output, companions) = if shard.is_whole() {
            (output.to_owned(), format.companions(output))
        } else {
            let suffix = format!(".shard-{}-of-{}", shard.number, shard.of);
            (with_suffix(output, &suffix), Vec::new())
        };
        Self {
            format,
            spool: with_suffix(&output, ".partial"),
            output,
            companions,
        }
    }

    /// Makes sure that nothing that is there would be lost.
    pub fn check_free(&self) -> Result<(), Failure> {
        if self.spool.exists() {
            let problem = "an unfinished run is there";
            let remedy = "continue it with --resume, or start over with --force";
            return Err(Failure::file(&self.spool, problem, remedy));
        }
        let there = std::iter::once(&self.output)
            .chain(&self.companions)
            .find(|path| path.exists());
        match there {
            Some(path) => {
                let remedy = "take another output, or replace it with --force";
                Err(Failure::file(path, "is there already", remedy))
            }
            None => Ok(()),
        }
    }

    /// Makes sure that the output can have its name, and that it is no input's.
    pub fn check_name(&self, inputs: &[PathBuf]) -> Result<(), Failure> {
        let refuse =
            |problem: &str, remedy: &str| Err(Failure::file(&self.output, problem, remedy));
        if self.output.is_dir() {
            return refuse("is a folder", "name a file in it");
        }
        // Renaming the complete output to its name would replace a device by a file.
        let is_special = fs::metadata(&self.output).is_ok_and(|found| !found.is_file());
        if is_special || self.output.as_os_str() == "-" {
            return refuse(
                "a run that can be resumed needs a file to write to",
                "name one; lines on standard input give vectors on standard output without --input and --output",
            );
        }
        let Ok(output) = fs::canonicalize(&self.output) else {
            return Ok(());
        };
        let same = |input: &&PathBuf| fs::canonicalize(input).is_ok_and(|input| input == output);
        match inputs.iter().find(same) {
            Some(_) => refuse("is an input as well", "take another output"),
            None => Ok(()),
        }
    }
}

/// The format of an output.
pub fn output_format(given: Option<OutputFormat>, output: &Path) -> Result<OutputFormat, Failure> {
    given.or_else(|| OutputFormat::of_name(output)).ok_or_else(|| {
        Failure::usage(format!(
            "{}: the name does not tell the format (it would by ending in {}); give it with --output-format",
            output.display(),
            OutputFormat::known_endings()
        ))
    })
}
