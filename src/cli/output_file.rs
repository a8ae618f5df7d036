//! A file of results, which gets its name when it is complete.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::report::is_same_file;

/// A file that is being written.
pub struct OutputFile {
    path: PathBuf,
    /// Where it is written. The file itself if it is a device or a pipe.
    staging: PathBuf,
    out: BufWriter<File>,
    is_complete: bool,
}

impl OutputFile {
    /// Begins the file, which must not be one of those that are read, nor be there unless `force` is given.
    pub fn create(path: &Path, force: bool, read: &[&Path]) -> Result<Self, Failure> {
        let refuse = |problem: &str, remedy: &str| Err(Failure::file(path, problem, remedy));
        // Where it leads if it is a symbolic link.
        let path_itself = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let path_itself = path_itself.as_path();
        if read.iter().any(|read| is_same_file(read, path_itself)) {
            return refuse("this file is read as well", "take another name");
        }
        let there = fs::metadata(path_itself);
        let is_file = there.as_ref().map_or(true, fs::Metadata::is_file);
        if there.is_ok_and(|there| there.is_dir()) {
            return refuse("is a directory", "name a file in it");
        }
        if !is_file {
            let file = File::options().write(true).open(path_itself);
            let file = file.map_err(|error| cannot_write(path, &error))?;
            return Ok(Self {
                path: path_itself.to_owned(),
                staging: path_itself.to_owned(),
                out: BufWriter::new(file),
                is_complete: true,
            });
        }
        if !force && path_itself.exists() {
            return refuse(
                "is there already",
                "give --force to replace it, or another name",
            );
        }
        let mut staging = path_itself.as_os_str().to_owned();
        staging.push(".writing");
        let staging = PathBuf::from(staging);
        if force && fs::symlink_metadata(&staging).is_ok_and(|there| there.is_file()) {
            fs::remove_file(&staging).map_err(|error| cannot_write(&staging, &error))?;
        }
        let file = match File::create_new(&staging) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let problem = "is of a command that is at work, or was killed";
                let remedy = "wait for it, or give --force";
                return Err(Failure::file(&staging, problem, remedy));
            }
            file => file.map_err(|error| cannot_write(&staging, &error))?,
        };
        Ok(Self {
            path: path_itself.to_owned(),
            staging,
            out: BufWriter::new(file),
            is_complete: false,
        })
    }

    /// Gives the file its name.
    pub fn commit(mut self) -> Result<(), Failure> {
        let done = self.out.flush().and_then(|()| match self.is_complete {
            true => Ok(()),
            false => {
                self.out.get_ref().sync_all()?;
                fs::rename(&self.staging, &self.path)
            }
        });
        done.map_err(|error| self.failure(&error))?;
        self.is_complete = true;
        Ok(())
    }

    /// What ends the command if the file cannot be written.
    pub fn failure(&self, error: &io::Error) -> Failure {
        cannot_write(&self.path, error)
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if !self.is_complete {
            let _ = fs::remove_file(&self.staging);
        }
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    let problem = format_args!("cannot write: {error}");
    Failure::file(path, problem, "check the directory and its disk")
}
