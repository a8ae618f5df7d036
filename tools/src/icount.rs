//! Exact instruction counts of kernels that valgrind cannot run: each is single-stepped on the real
//! CPU.

mod tracer;

use std::path::PathBuf;

use lanewise_kernels::{Isa, Kernels};
use lanewise_workloads::counts::Table;
use lanewise_workloads::{COUNTED, Counted, Counter};

/// The hidden command that runs the kernel to be stepped.
pub const CHILD_COMMAND: &str = "icount-child";

const ACCEPT: &str = "cargo run --release -p lanewise-tools -- icount --write";

/// The committed counts of an instruction set.
fn table_path(isa: Isa) -> PathBuf {
    let counts = concat!(env!("CARGO_MANIFEST_DIR"), "/../kernels/counts");
    PathBuf::from(counts).join(format!("{isa}.txt"))
}

fn about(isa: Isa) -> String {
    format!(
        "Instructions of the {isa} kernels: of a call on 8 blocks of 32 values and of one on 16, exact and the same on each run.\n\
         Made by: cargo run --release -p lanewise-tools -- icount --write"
    )
}

/// Two sizes, whose difference shows what a block takes. Multiples of 8 fill every unrolled loop.
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
    isa: Isa,
    name: String,
    blocks: usize,
}

/// Counts, and prints, checks or writes the counts.
///
/// # Errors
///
/// If a child fails, or the check does.
pub fn run(options: Options) -> Result<String, String> {
    Isa::ALL
        .into_iter()
        .filter(|&isa| Counter::of(isa) == Counter::SingleStep)
        .map(|isa| run_isa(isa, options))
        .collect()
}

fn run_isa(isa: Isa, options: Options) -> Result<String, String> {
    if !isa.is_supported() {
        return Ok(format!(
            "SKIPPED: this CPU does not support {isa}, whose kernels this counts\n"
        ));
    }
    // The tracer and the child take turns: on one CPU none of them waits for another CPU to wake
    // up.
    if let Some(core) = core_affinity::get_core_ids().and_then(|cores| cores.first().copied()) {
        core_affinity::set_for_current(core);
    }
    let mut table = Table::new(["8_blocks", "16_blocks"]);
    let mut text = String::from("instructions                a block    a call\n");
    let overhead = match count(isa, "", 0) {
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
            let count = count(isa, name, blocks).map_err(|error| format!("{name}: {error}"))?;
            counts.push(count - overhead);
        }
        let a_block = (counts[1] as f64 - counts[0] as f64) / (BLOCKS[1] - BLOCKS[0]) as f64;
        let a_call = counts[0] as f64 - BLOCKS[0] as f64 * a_block;
        text += &format!("{name:<26} {a_block:>8} {a_call:>9}\n");
        table.rows.insert(name.into(), counts);
    }
    let path = table_path(isa);
    if options.write {
        table.write(&path, &about(isa))?;
    } else if options.check {
        text += &table.check(&path, 0.0, ACCEPT)?;
    }
    Ok(text)
}

fn count(isa: Isa, name: &str, blocks: usize) -> Result<u64, tracer::Error> {
    tracer::count(CHILD_COMMAND, &[isa.name(), name, &blocks.to_string()])
}

/// Runs the call between two marks, in the child.
///
/// # Errors
///
/// If the call is unknown or cannot be traced.
pub fn run_child(options: &ChildOptions) -> Result<(), String> {
    let isa = options.isa;
    let kernels =
        Kernels::for_isa(isa).ok_or_else(|| format!("this CPU does not support {isa}"))?;
    // The empty name stands for no kernel: it shows what the marks and the call through a pointer
    // take.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_single_stepped_kernel_has_a_committed_count() {
        let stepped = |isa: &Isa| Counter::of(*isa) == Counter::SingleStep;
        for isa in Isa::ALL.into_iter().filter(stepped) {
            let table = Table::read(&table_path(isa)).unwrap();
            assert!(table.rows.keys().eq(sorted_names()), "{isa}");
        }
    }

    fn sorted_names() -> Vec<&'static str> {
        let mut names: Vec<_> = COUNTED.iter().map(|counted| counted.name).collect();
        names.sort_unstable();
        names
    }
}
