//! Disks that are full, may not be written to, or are known to be too small: small file systems in
//! memory, which only root may mount.
#![cfg(target_os = "linux")]
#![cfg(feature = "bulk")]

mod bulk_support;
mod cli_support;

use std::process::Command;

use bulk_support::Directory;

const ROWS: usize = 600;
/// Enough for anything here.
const LARGE: &str = "64m";

/// A file system at `disk` in a directory, unmounted at the end.
struct Disk<'a> {
    directory: &'a Directory,
}

impl<'a> Disk<'a> {
    /// `None`, and a word about it, where mounting is not allowed.
    fn mount(directory: &'a Directory, options: &str) -> Option<Self> {
        std::fs::create_dir(directory.path("disk")).unwrap();
        let mounted = mount(directory, &["-t", "tmpfs", "-o", options, "tmpfs"]);
        match mounted {
            Ok(()) => Some(Self { directory }),
            Err(reason) => {
                println!("SKIPPED: cannot mount a file system: {reason}");
                None
            }
        }
    }

    fn grow(&self) {
        mount(self.directory, &["-o", &format!("remount,size={LARGE}")]).unwrap();
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory.path("disk")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let unmounted = Command::new("umount")
            .arg(self.directory.path("disk"))
            .status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

fn mount(directory: &Directory, arguments: &[&str]) -> Result<(), String> {
    let mut command = Command::new("mount");
    let output = command.args(arguments).arg(directory.path("disk")).output();
    let output = output.map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

/// Runs out of room, and goes on when there is some.
fn fill_and_resume(size: &str, output: &str, full: &str, left: &[&str]) {
    let directory = Directory::with_corpus(ROWS);
    let Some(disk) = Disk::mount(&directory, &format!("size={size}")) else {
        return;
    };
    directory.embed(&format!("--output {output}"));
    let run = directory.run(&format!(
        "embed --input corpus.jsonl --output disk/{output}"
    ));
    assert_eq!(run.code, 1, "{}", run.err);
    let problem = format!("{full}: cannot write: No space left on device");
    assert!(run.err.contains(&problem), "{}", run.err);
    let remedy = "make room, then run the same command with --resume";
    assert!(run.err.contains(remedy), "{}", run.err);
    assert_eq!(disk.names(), left);
    disk.grow();
    directory.embed(&format!("--output disk/{output} --resume"));
    assert!(directory.read(&format!("disk/{output}")) == directory.read(output));
}

#[test]
fn a_disk_that_fills_while_embedding_loses_no_rows() {
    let spool = "disk/v.parquet.partial";
    fill_and_resume("64k", "v.parquet", spool, &["v.parquet.partial"]);
}

#[test]
fn a_disk_that_fills_while_writing_the_output_loses_no_rows() {
    for name in ["v.csv", "v.jsonl", "v.npy", "v.parquet", "v.arrow"] {
        let spool = format!("{name}.partial");
        fill_and_resume("248k", name, &format!("disk/{name}"), &[&spool]);
    }
}

#[test]
fn a_read_only_disk_is_reported_at_the_start() {
    let directory = Directory::with_corpus(ROWS);
    let Some(_disk) = Disk::mount(&directory, "ro") else {
        return;
    };
    let run = directory.run("embed --input corpus.jsonl --output disk/v.npy");
    assert_eq!(run.code, 1, "{}", run.err);
    let problem = "disk/v.npy.partial: cannot write: Read-only file system";
    assert!(run.err.contains(problem), "{}", run.err);
    let remedy = "take a directory that can be written to";
    assert!(run.err.contains(remedy), "{}", run.err);
}

#[test]
fn a_disk_too_small_for_known_rows_is_reported_at_the_start() {
    let directory = Directory::with_corpus(ROWS);
    let Some(disk) = Disk::mount(&directory, "size=248k") else {
        return;
    };
    // An output of Lanewise may be an input.
    directory.embed("--output corpus.parquet --keep text");
    let run = directory.run("embed --input corpus.parquet --output disk/v.csv");
    assert_eq!(run.code, 1, "{}", run.err);
    let problem = "600 rows need about 1 MB while the run lasts, and the disk has 1 MB left";
    assert!(run.err.contains(problem), "{}", run.err);
    assert!(disk.names().is_empty());
}

/// Runs `embed` on a text with the disk as cache directory, which changes no output.
fn with_cache_on_the_disk(directory: &Directory) -> cli_support::Run {
    let mut command = directory.command();
    let usual = cli_support::run(&["embed", "a"]);
    command
        .env("XDG_CACHE_HOME", directory.path("disk"))
        .env_remove("LANEWISE_PACKED_WEIGHTS")
        .args(["embed", "a"]);
    let run = cli_support::feed(command, b"");
    assert_eq!((run.code, &run.out), (0, &usual.out), "{}", run.err);
    run
}

#[test]
fn no_room_for_packed_weights_is_a_message() {
    let directory = Directory::new();
    let Some(disk) = Disk::mount(&directory, "size=64k") else {
        return;
    };
    let run = with_cache_on_the_disk(&directory);
    if lanewise::Isa::Avx512.is_supported() {
        assert!(run.err.contains("No space left on device"), "{}", run.err);
        assert!(run.err.contains("they are not needed"), "{}", run.err);
    }
    let packed = std::fs::read_dir(directory.path("disk/lanewise/packed"));
    assert_eq!(packed.into_iter().flatten().count(), 0);
    disk.grow();
    with_cache_on_the_disk(&directory);
    assert_eq!(with_cache_on_the_disk(&directory).err, "");
}

#[test]
fn packed_weights_on_a_read_only_disk_are_nothing_to_mention() {
    let directory = Directory::new();
    let Some(_disk) = Disk::mount(&directory, "ro") else {
        return;
    };
    assert_eq!(with_cache_on_the_disk(&directory).err, "");
}
