//! The files of an index.

use std::path::{Path, PathBuf};

use clap::Args;
use lanewise::EmbedderBuilder;
use lanewise::internals::RuntimeOptions;
use lanewise_search::{Index, OpenOptions};

use super::bulk;
use super::failure::{self, Failure, report};
use super::hits::failed;
use super::progress::shown_if_long;

/// What is said where a page of a file in use is lost.
const LOST_PAGE: &str = "lanewise: a page of the index or of the model file cannot be read: the file was cut short while it was in use, or \
     its disk failed; make the file whole again, and run the same command\n";

/// Files with vectors of one space.
#[derive(Debug, Args)]
pub struct IndexFiles {
    /// The index: Arrow, Parquet, .npy or JSONL as embed wrote it
    index: PathBuf,
    /// Another file of the same space that is searched with it, such as a shard; may be given several times
    #[arg(long, value_name = "FILE")]
    also: Vec<PathBuf>,
}

impl IndexFiles {
    /// All files, in the order in which their rows are numbered.
    pub fn paths(&self) -> Vec<&Path> {
        let also = self.also.iter().map(PathBuf::as_path);
        [self.first()].into_iter().chain(also).collect()
    }

    /// The file that was named first.
    pub fn first(&self) -> &Path {
        &self.index
    }

    /// Opens the index on the threads and instruction set of `builder`.
    pub fn open(&self, builder: &EmbedderBuilder) -> Result<Index, Failure> {
        bulk::silence_caught_panics();
        lanewise_map::exit_on_lost_page(failure::PARTIAL, LOST_PAGE);
        let RuntimeOptions { threads, isa, .. } = builder.runtime_options()?;
        let options = OpenOptions { threads, isa };
        // Files that are not mapped may take long.
        let open = || Index::open_all(&self.paths(), &options);
        let index = shown_if_long("opening the index", open).map_err(failed)?;
        for note in index.notes() {
            report(format_args!(
                "{note} (`lanewise convert FILE OUT.arrow` makes one)"
            ));
        }
        Ok(index)
    }
}
