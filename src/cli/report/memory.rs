//! *Memory usage*: what of the process is resident at each step of loading, and what each part
//! holds.
//!
//! Linux counts it for us, in `/proc/self`; on other systems the section says that it is not
//! available.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};

use lanewise::internals::engine::Matrix;
use lanewise::internals::models::Model;
use serde::Serialize;

/// The resident pages of the process at one moment, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Snapshot {
    /// All pages in memory.
    pub resident: u64,
    /// Anonymous pages (heap, stacks, written data): what no other process shares.
    pub private: u64,
    /// Pages of mapped files (the model, the program): shared by all processes that map them.
    pub file_mapped: u64,
}

/// Memory over the life of the process, in bytes.
#[derive(Debug, Serialize)]
pub struct Memory {
    /// The program alone.
    pub before_loading: Snapshot,
    /// Model mapped, vocabulary indexed, threads started.
    pub after_loading: Snapshot,
    /// After one pass.
    pub after_forward_pass: Snapshot,
    /// The most that was ever resident until then.
    pub peak_resident: Option<u64>,
    /// What the growth of private memory is for.
    pub private_parts: PrivateParts,
    /// What of the model's file is resident after the pass.
    pub file_parts: Option<FileParts>,
}

/// Growth of private memory, step by step.
#[derive(Debug, Serialize)]
pub struct PrivateParts {
    /// Tensor list, metadata and norms in f32.
    pub model: u64,
    /// The tokenizer's index of the vocabulary.
    pub tokenizer_index: u64,
    /// Threads with their stacks, kernels chosen.
    pub threads: u64,
    /// Scratch of the forward pass: activations, packed panels, tables of RoPE.
    pub scratch: u64,
}

/// Resident bytes of the mapped model file.
#[derive(Debug, Serialize)]
pub struct FileParts {
    /// The matrices of the layers.
    pub layers: Part,
    /// The embedding table, of which a pass reads one row a token.
    pub embedding_table: Part,
    /// The two dense heads.
    pub dense_heads: Part,
    /// Header, vocabulary, norms: all else in the file.
    pub rest: Part,
}

/// A part of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Part {
    /// Bytes in memory.
    pub resident: u64,
    /// Bytes in the file.
    pub size: u64,
}

impl Snapshot {
    /// The memory of this moment, if the system tells.
    pub fn take() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/smaps_rollup").ok()?)
    }

    fn parse(rollup: &str) -> Option<Self> {
        let resident = bytes_of(rollup, "Rss:")?;
        let private = bytes_of(rollup, "Anonymous:")?;
        Some(Self {
            resident,
            private,
            file_mapped: resident.saturating_sub(private),
        })
    }
}

impl Memory {
    /// From the five snapshots: before loading, after each of model, tokenizer and runtime, and
    /// after a pass.
    pub fn new(snapshots: &[Option<Snapshot>], model: &dyn Model) -> Option<Self> {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let &[
            Some(before),
            Some(mapped),
            Some(indexed),
            Some(started),
            Some(after),
        ] = snapshots
        else {
            return None;
        };
        let growth = |from: Snapshot, to: Snapshot| to.private.saturating_sub(from.private);
        Some(Self {
            before_loading: before,
            after_loading: started,
            after_forward_pass: after,
            peak_resident: bytes_of(&status, "VmHWM:"),
            private_parts: PrivateParts {
                model: growth(before, mapped),
                tokenizer_index: growth(mapped, indexed),
                threads: growth(indexed, started),
                scratch: growth(started, after),
            },
            file_parts: FileParts::new(model),
        })
    }
}

impl FileParts {
    fn new(model: &dyn Model) -> Option<Self> {
        let pagemap = Pagemap::open()?;
        let (gguf, matrices) = (model.gguf(), model.matrices());
        let layers = pagemap.part(matrices.of_layers())?;
        let embedding_table = pagemap.part(matrices.embedding.iter().copied())?;
        let dense_heads = pagemap.part(matrices.heads.iter().copied())?;
        let size = gguf.file_len();
        let whole = pagemap.resident(gguf.bytes(0..size as usize))?;
        let parts = [layers, embedding_table, dense_heads];
        Some(Self {
            layers,
            embedding_table,
            dense_heads,
            rest: Part {
                resident: whole.saturating_sub(parts.iter().map(|part| part.resident).sum()),
                size: size.saturating_sub(parts.iter().map(|part| part.size).sum()),
            },
        })
    }

    /// All parts: the whole file.
    pub fn resident(&self) -> u64 {
        let parts = [
            self.layers,
            self.embedding_table,
            self.dense_heads,
            self.rest,
        ];
        parts.iter().map(|part| part.resident).sum()
    }
}

/// `/proc/self/pagemap`: eight bytes a page of the address space, bit 63 of which says that it is
/// in memory.
struct Pagemap {
    file: File,
    page: u64,
}

impl Pagemap {
    fn open() -> Option<Self> {
        let smaps = fs::read_to_string("/proc/self/smaps").ok()?;
        Some(Self {
            file: File::open("/proc/self/pagemap").ok()?,
            page: bytes_of(&smaps, "KernelPageSize:")?,
        })
    }

    /// All of the matrices together.
    fn part<'a>(&self, matrices: impl Iterator<Item = &'a Matrix>) -> Option<Part> {
        let mut part = Part::default();
        for matrix in matrices {
            let data = matrix.bytes();
            part.resident += self.resident(data)?;
            part.size += data.len() as u64;
        }
        Some(part)
    }

    /// Bytes of the slice that are in memory.
    fn resident(&self, bytes: &[u8]) -> Option<u64> {
        let start = bytes.as_ptr().addr() as u64;
        let end = start + bytes.len() as u64;
        let first_page = start / self.page;
        let mut entries = vec![0; (end.div_ceil(self.page) - first_page) as usize * 8];
        let mut file = &self.file;
        file.seek(SeekFrom::Start(first_page * 8)).ok()?;
        file.read_exact(&mut entries).ok()?;
        let pages = entries.as_chunks().0.iter().zip(first_page..);
        let present = pages.filter(|&(&entry, _)| u64::from_le_bytes(entry) >> 63 == 1);
        // Of the first and the last page only what belongs to the slice.
        Some(
            present
                .map(|(_, page)| {
                    (page * self.page + self.page).min(end) - (page * self.page).max(start)
                })
                .sum(),
        )
    }
}

/// The number of kB after `name` at the start of a line, in bytes.
fn bytes_of(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_is_the_sum_of_private_and_file_mapped() {
        let rollup = "5629 [rollup]\nRss:    1764 kB\nPss:  212 kB\nAnonymous:   112 kB\n";
        let expected = Snapshot {
            resident: 1764 * 1024,
            private: 112 * 1024,
            file_mapped: 1652 * 1024,
        };
        assert_eq!(Snapshot::parse(rollup), Some(expected));
        assert_eq!(Snapshot::parse("Rss: many kB\nAnonymous: 1 kB"), None);
        assert_eq!(Snapshot::parse(""), None);
    }

    #[test]
    fn only_pages_that_were_touched_are_resident() {
        let Some(pagemap) = Pagemap::open() else {
            println!("SKIPPED: no /proc/self/pagemap");
            return;
        };
        let touched = vec![1u8; 1_000_003];
        assert_eq!(pagemap.resident(&touched), Some(1_000_003));
        assert_eq!(pagemap.resident(&touched[1..1]), Some(0));
    }
}
