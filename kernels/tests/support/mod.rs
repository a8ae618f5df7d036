//! Shared by the kernel tests: instruction sets, seeded numbers, buffers between unmapped pages.

// Each test file is a crate of its own and uses only part of this module.
#![allow(dead_code, unused_imports)]

use std::io::Write;
use std::sync::Once;

use lanewise_kernels::{ActivationBlock, ActivationScale, BLOCK, Isa, Kernels, PANEL, Q8_0_BYTES};
pub use lanewise_testkit::guarded::{Guarded, PLACES, Place};
pub use lanewise_testkit::random::Random;

/// Runs `test` with the kernels of every instruction set that this CPU supports.
///
/// The first call of a process prints the tiers that run, named by their kernels, and those that
/// are skipped.
pub fn on_each_isa(test: impl FnMut(Kernels)) {
    static PRINTED: Once = Once::new();
    let kernels = || Isa::ALL.into_iter().filter_map(Kernels::for_isa);
    PRINTED.call_once(|| {
        let run: Vec<&str> = kernels().map(|kernels| kernels.isa().name()).collect();
        let mut lines = format!("tiers run: {}\n", run.join(", "));
        for isa in Isa::ALL.into_iter().filter(|isa| !isa.is_supported()) {
            lines += &format!("SKIPPED: this CPU does not support {isa}\n");
        }
        // `eprintln!` would be captured, and these lines must be seen even if all tests pass.
        std::io::stderr().write_all(lines.as_bytes()).unwrap();
    });
    kernels().for_each(test);
}

/// The scalar kernels, which are the specification.
pub fn scalar() -> Kernels {
    Kernels::for_isa(Isa::Scalar).expect("the scalar kernels run anywhere")
}

/// Asserts equal bits, except that all NaNs are equal: `f16_to_f32` promises no payload.
#[track_caller]
pub fn assert_same_bits(actual: &[f32], expected: &[f32], what: impl Fn() -> String) {
    assert_eq!(actual.len(), expected.len());
    for (at, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert!(
            a.to_bits() == e.to_bits() || a.is_nan() && e.is_nan(),
            "{}: value {at} is {a:e}, expected {e:e}",
            what()
        );
    }
}

/// Asserts equal blocks, and equal bits of their scales.
#[track_caller]
pub fn assert_same_blocks(
    actual: &[ActivationBlock],
    expected: &[ActivationBlock],
    what: impl Fn() -> String,
) {
    assert_eq!(actual.len(), expected.len());
    for (at, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert!(
            same_scale(a.scale, e.scale) && a.correction == e.correction && a.values == e.values,
            "{}: block {at} is {a:?}, expected {e:?}",
            what()
        );
    }
}

/// Whether both scales have the same bits, or are NaN.
fn same_scale(a: ActivationScale, b: ActivationScale) -> bool {
    a == b && a.factor().to_bits() == b.factor().to_bits()
        || a.factor().is_nan() && b.factor().is_nan()
}

/// The rows of a panel as Q8_0, as in a file.
pub fn q8_rows(
    blocks: usize,
    mut scale: impl FnMut() -> u16,
    mut value: impl FnMut() -> i8,
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PANEL * blocks * Q8_0_BYTES);
    for _ in 0..PANEL * blocks {
        bytes.extend(scale().to_le_bytes());
        bytes.extend((0..BLOCK).map(|_| value() as u8));
    }
    bytes
}

/// A block of activations with the correction of its values.
pub fn activation(scale: f32, mut value: impl FnMut() -> i8) -> ActivationBlock {
    let values: [i8; BLOCK] = std::array::from_fn(|_| value());
    ActivationBlock {
        scale: ActivationScale::at_least(scale),
        correction: -128 * values.iter().map(|value| i32::from(*value)).sum::<i32>(),
        values,
    }
}
