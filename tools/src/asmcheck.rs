//! Reads the compiled kernels and compares their loops with the committed table.
//!
//! It decodes this program's own machine code, in which every kernel is a function of its own, so
//! it runs on any x86-64 machine and needs no disassembler. A *hot loop* is an innermost loop that
//! uses vector registers.

mod loops;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use lanewise_kernels::Isa;
use lanewise_workloads::counts::Table;
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

use self::loops::HotLoop;

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../kernels/counts/loops.txt");

const ACCEPT: &str = "cargo run --release -p lanewise-tools -- asmcheck --write";

const ABOUT: &str = "\
Hot loops of the AVX2, AVX-VNNI and AVX-512 kernels: instructions of one round, and among them the multiply-adds of integers, the fused
ones of floats, calls, and accesses of vectors to the stack (spills, but for arrays that a kernel keeps there).
Loops of a function are numbered by their multiply-adds and their length. No loop with multiply-adds may call,
and columns marked = must be equal.
Made by: cargo run --release -p lanewise-tools -- asmcheck --write";

const COLUMNS: [&str; 6] = [
    "instructions",
    "=vpdpbusd",
    "=vpdpwssd_vpmaddwd",
    "=fma",
    "calls",
    "stack",
];

/// The crate of the kernels, with which their symbols begin.
const CRATE: &str = "lanewise_kernels::";

/// The module of an instruction set whose kernels are written with intrinsics, as symbols name it
/// after the crate.
fn module(isa: Isa) -> Option<&'static str> {
    match isa {
        // The compiler decides how to vectorize it.
        Isa::Scalar => None,
        // Its own kernels are in the module of AVX-512.
        Isa::Avx512Zen4 => None,
        Isa::Avx2 => Some("arch::avx2::"),
        Isa::AvxVnni => Some("arch::avx_vnni::"),
        Isa::Avx512 => Some("arch::avx512::"),
    }
}

/// What to do with the loops.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Accept the loops: write them into the committed table
    #[arg(long)]
    write: bool,
    /// The program to read [default: this one]
    program: Option<PathBuf>,
}

/// Reads the loops, then checks or writes the table.
///
/// # Errors
///
/// If the program cannot be read, a product calls a function, or a loop takes more than the table
/// has.
pub fn run(options: &Options) -> Result<String, String> {
    if cfg!(not(target_arch = "x86_64")) {
        return Ok("SKIPPED: the kernels with vectors are compiled for x86-64 only\n".into());
    }
    if cfg!(debug_assertions) {
        return Err(
            "this program was compiled with debug assertions; run it with --release".into(),
        );
    }
    let program = match &options.program {
        Some(path) => path.clone(),
        None => env::current_exe().map_err(|error| format!("this program: {error}"))?,
    };
    let loops = read(&program).map_err(|problem| format!("{}: {problem}", program.display()))?;
    let table = table(loops)?;
    let path = Path::new(TABLE);
    if options.write {
        table.write(path, ABOUT)?;
        return Ok(format!("{} loops written to {TABLE}\n", table.rows.len()));
    }
    table.check(path, 0.0, ACCEPT)
}

/// The hot loops of all kernels, with the paths of their functions in the crate of the kernels.
fn read(program: &Path) -> Result<Vec<(String, HotLoop)>, String> {
    let bytes = fs::read(program).map_err(|error| format!("cannot read: {error}"))?;
    let file = object::File::parse(&*bytes).map_err(|error| error.to_string())?;
    let modules: Vec<&str> = Isa::ALL.into_iter().filter_map(module).collect();
    let mut loops = Vec::new();
    for symbol in file
        .symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text)
    {
        let name = symbol.name().unwrap_or_default();
        // `#` omits the hash, which distinguishes the instances of generic functions and changes
        // with every build.
        let name = format!("{:#}", rustc_demangle::demangle(name));
        let Some(name) = name.strip_prefix(CRATE) else {
            continue;
        };
        if !modules.iter().any(|module| name.starts_with(module)) {
            continue;
        }
        let code = symbol
            .section_index()
            .and_then(|index| {
                file.section_by_index(index)
                    .ok()?
                    .data_range(symbol.address(), symbol.size())
                    .ok()?
            })
            .ok_or_else(|| format!("no code of {name}"))?;
        // The linker appends suffixes such as `.llvm.123`.
        let name = name.split('.').next().unwrap_or_default().to_owned();
        loops.extend(
            loops::hot_loops(code, symbol.address())
                .into_iter()
                .map(|hot| (name.clone(), hot)),
        );
    }
    if loops.is_empty() {
        return Err("holds no kernels; were its symbols stripped?".into());
    }
    loops.sort();
    Ok(loops)
}

fn table(loops: Vec<(String, HotLoop)>) -> Result<Table, String> {
    let mut table = Table::new(COLUMNS);
    for (function, hot) in loops {
        let multiplies = hot.vpdpbusd + hot.vpdpwssd_vpmaddwd;
        if multiplies > 0 && hot.calls > 0 {
            return Err(format!(
                "{function}: a loop with {multiplies} multiply-adds makes {} calls; it must make none",
                hot.calls
            ));
        }
        let counts = [
            hot.instructions,
            hot.vpdpbusd,
            hot.vpdpwssd_vpmaddwd,
            hot.fma,
            hot.calls,
            hot.stack,
        ];
        let number = 1 + table
            .rows
            .keys()
            .filter(|name| {
                name.rsplit_once('/')
                    .is_some_and(|(name, _)| name == function)
            })
            .count();
        table
            .rows
            .insert(format!("{function}/{number:02}"), counts.into());
    }
    Ok(table)
}
