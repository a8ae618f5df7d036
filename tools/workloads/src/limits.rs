//! The limits of `cargo bench --bench instructions`, which counts scalar and AVX2 kernels under
//! valgrind.

use std::path::Path;
use std::sync::LazyLock;

use crate::counts::{Table, most};

/// The committed counts.
pub const TABLE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../benches/instructions.txt"
);

/// How much more than its count a benchmark may take, as a fraction of it.
pub const TOLERANCE: f64 = 0.005;

/// The command that shows every count beside the committed one.
const COMPARE: &str = "cargo run --release -p lanewise-tools -- instructions";

/// The command that accepts new counts.
pub const ACCEPT: &str = "cargo run --release -p lanewise-tools -- instructions --write";

static COMMITTED: LazyLock<Result<Table, String>> = LazyLock::new(|| Table::read(Path::new(TABLE)));

/// The most instructions that a benchmark may take: so much over the committed count. One that has
/// no count may take none, so that it fails until it is given one.
pub fn limit(name: &str) -> u64 {
    let committed = COMMITTED.as_ref().ok();
    let count = committed.and_then(|table| table.rows.get(name)?.first().copied());
    count.map_or(1, |count| most(count, TOLERANCE))
}

/// What the benchmarks say before they run: which limits, and how to accept other counts.
pub fn notice() -> String {
    let table = match &*COMMITTED {
        Ok(table) => table,
        Err(problem) => return format!("no limits: {problem}; make them with: {ACCEPT}"),
    };
    let mut notice = format!(
        "limits: 0.5 % over {TABLE}, made with {}\ncounts from and to: {COMPARE}\nto accept other counts on purpose: {ACCEPT}",
        table.compiler
    );
    if table.compiler != lanewise_kernels::RUSTC {
        notice += &format!(
            "\nNOTE: this is {}: counts may differ for that reason alone",
            lanewise_kernels::RUSTC
        );
    }
    notice
}

#[cfg(test)]
mod tests {
    use lanewise_kernels::Isa;

    use super::*;
    use crate::{COUNTED, Counter};

    #[test]
    fn each_kernel_under_valgrind_has_a_committed_count() {
        let committed = COMMITTED.as_ref().unwrap();
        for isa in Isa::ALL {
            for counted in COUNTED {
                let expected = Counter::of(isa) == Counter::Valgrind;
                let name = format!("{isa}_{}", counted.name);
                assert_eq!(committed.rows.contains_key(&name), expected, "{name}");
            }
        }
    }
}
