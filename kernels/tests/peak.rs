//! The measures of a machine's limits do the work that they count.

mod support;

use lanewise_kernels::peak::{int8_peak, read, read_ahead};
use support::*;

#[test]
fn each_instruction_set_counts_its_work_and_reads_everything() {
    let region: Vec<u64> = (0..1000).collect();
    on_each_isa(|kernels| {
        let isa = kernels.isa();
        assert_eq!(int8_peak(isa, 20), 2 * int8_peak(isa, 10), "{isa}");
        for read in [read, read_ahead] {
            assert_eq!(read(isa, &region), 999 * 500, "{isa}");
        }
    });
}
