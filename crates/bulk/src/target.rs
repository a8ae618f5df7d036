//! The files that a run writes, and checks that nothing is lost there.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::format::OutputFormat;
use crate::message::{Message, Setting, message};
use crate::output::companions;
use crate::shard::Shard;
use crate::staged::with_suffix;

/// The files of an output.
#[derive(Debug)]
pub struct Target {
    /// How the output is written.
    pub format: OutputFormat,
    /// The file asked for, or the shard in its place.
    pub output: PathBuf,
    /// The spool, which has the rows until the output is complete.
    pub spool: PathBuf,
    companions: Vec<PathBuf>,
}

impl Target {
    /// The files of an output or one shard of it.
    pub fn new(output: &Path, format: OutputFormat, shard: Shard) -> Self {
        let (output, companions) = if shard.is_whole() {
            (output.to_owned(), companions(format, output))
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

    /// Checks that no existing file would be lost.
    pub fn check_free(&self) -> Result<()> {
        if self.spool.exists() {
            let problem = "an unfinished run is there";
            let remedy = message![
                "continue it with ",
                Setting::Resume,
                ", or start over with ",
                Setting::Force,
            ];
            return Err(Error::file(&self.spool, problem, remedy));
        }
        let there = std::iter::once(&self.output)
            .chain(&self.companions)
            .find(|path| path.exists());
        match there {
            Some(path) => {
                let remedy = message!["take another output, or replace it with ", Setting::Force];
                Err(Error::file(path, "is there already", remedy))
            }
            None => Ok(()),
        }
    }

    /// Checks that the output's name can be used and is not that of an input.
    pub fn check_name(&self, inputs: &[PathBuf]) -> Result<()> {
        let refuse =
            |problem: &str, remedy: Message| Err(Error::file(&self.output, problem, remedy));
        if self.output.is_dir() {
            return refuse("is a directory", "name a file in it".into());
        }
        // Renaming the complete output to its name would replace a device by a file.
        let is_special = fs::metadata(&self.output).is_ok_and(|found| !found.is_file());
        if is_special || self.output.as_os_str() == "-" {
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
        let Ok(output) = fs::canonicalize(&self.output) else {
            return Ok(());
        };
        let same = |input: &&PathBuf| fs::canonicalize(input).is_ok_and(|input| input == output);
        match inputs.iter().find(same) {
            Some(_) => refuse("is an input as well", "take another output".into()),
            None => Ok(()),
        }
    }
}
