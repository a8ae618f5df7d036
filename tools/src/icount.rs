//! Exact instruction counts of the AVX-512 kernels, which valgrind cannot run: each is single-stepped on the real CPU.

mod tracer;

use std::path::Path;

use lanewise_kernels::{Isa, Kernels};

use lanewise_workloads::counts::Table;
use lanewise_workloads::{COUNTED, Counted};

/// The hidden command in which a kernel is stepped.
pub const CHILD_COMMAND: &str = "icount-child";

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../kernels/counts/avx512.txt");

const ACCEPT: &str = "cargo run --release -p lanewise-tools -- icount --write";

const ABOUT: &str = "\
Instructions of the AVX-512 kernels: of a call on 8 blocks of 32 values and of one on 16, exact and the same on each run.
Made by: cargo run --release -p lanewise-tools -- icount --write";

/// Two sizes, so that the difference is what a block takes. Multiples of 8 fill every unrolled loop.
const BLOCKS: [usize; 2] = [8, 16];

/// What to do with the counts.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Options {
    /// Fail if a kernel takes more instructions than the committed table has
    #[arg(long)]
    check: bool,
    /// Accept the counts: write them into the committed table
    #[arg(long, conflicts_with = "check")]
    write: bool,
}

/// The kernel call that the child runs.
#[derive(Clone, Debug, clap::Args)]
pub struct ChildOptions {
    name: String,
    blocks: usize,
}

/// Counts, and prints, checks or writes the counts.
///
/// # Errors
///
/// If a child fails, or the check does.
pub fn run(options: Options) -> Result<String, String> {
    if !Isa::Avx512.is_supported() {
        return Ok("SKIPPED: this CPU has no AVX-512, whose kernels this counts\n".into());
    }
    // The tracer and what it steps take turns: on one CPU no turn waits for another CPU to wake up.
    if let Some(core) = core_affinity::get_core_ids().and_then(|cores| cores.first().copied()) {
        core_affinity::set_for_current(core);
    }
    let mut table = Table::new(["8_blocks", "16_blocks"]);
    let mut text = String::from("instructions                a block    a call\n");
    let overhead = match count("", 0) {
        Ok(count) => count,
        Err(tracer::Error::Refused) => {
            return Ok(
                "SKIPPED: this system does not let a process trace its child (ptrace)\n".into(),
            );
        }
        Err(error) => return Err(error.to_string()),
    };
    for Counted { name, .. } in COUNTED {
        let mut counts = Vec::new();
        for blocks in BLOCKS {
            let count = count(name, blocks).map_err(|error| format!("{name}: {error}"))?;
            counts.push(count - overhead);
        }
        let a_block = (counts[1] as f64 - counts[0] as f64) / (BLOCKS[1] - BLOCKS[0]) as f64;
        let a_call = counts[0] as f64 - BLOCKS[0] as f64 * a_block;
        text += &format!("{name:<26} {a_block:>8} {a_call:>9}\n");
        table.rows.insert(name.into(), counts);
    }
    let path = Path::new(TABLE);
    if options.write {
        table.write(path, ABOUT)?;
    } else if options.check {
        text += &table.check(path, 0.0, ACCEPT)?;
    }
    Ok(text)
}

fn count(name: &str, blocks: usize) -> Result<u64, tracer::Error> {
    tracer::count(CHILD_COMMAND, &[name, &blocks.to_string()])
}

/// Runs the call between two marks, in the child.
///
/// # Errors
///
/// If the call is unknown or cannot be traced.
pub fn run_child(options: &ChildOptions) -> Result<(), String> {
    let kernels = Kernels::for_isa(Isa::Avx512).ok_or("no AVX-512")?;
    // The empty name stands for no kernel: what the marks and the call through a pointer take.
    let work = match options.name.as_str() {
        "" => lanewise_workloads::nothing(),
        name => Counted::named(name)
            .ok_or_else(|| format!("no kernel is called {name}"))?
            .work(kernels, options.blocks),
    };
    let mut prepared = work.prepare();
    prepared.run();
    tracer::between_marks(|| prepared.run());
    Ok(())
}
