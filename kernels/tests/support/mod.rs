//! What the kernel tests share: instruction sets, seeded numbers, buffers between unmapped pages.

// Each test file is a crate of its own and uses its part of this module.
#![allow(dead_code, unused_imports)]

use lanewise_kernels::{ActivationBlock, BLOCK, Isa, Kernels, PANEL, Q8_0_BYTES};
use std::io::Write;
use std::sync::Once;

pub use lanewise_testkit::guarded::{Guarded, PLACES, Place};
pub use lanewise_testkit::random::Random;

/// Runs `test` with the kernels of every instruction set this CPU has and names the others, once a test file.
pub fn on_each_isa(test: impl FnMut(Kernels)) {
    static NAMED: Once = Once::new();
    NAMED.call_once(|| {
        for isa in Isa::ALL.into_iter().filter(|isa| !isa.is_supported()) {
            let line = format!("SKIPPED: this CPU cannot run {isa}\n");
            // Past the capture of `eprintln!`: a skipped set must be seen even where all tests pass.
            std::io::stderr().write_all(line.as_bytes()).unwrap();
        }
    });
    Isa::ALL
        .into_iter()
        .filter_map(Kernels::for_isa)
        .for_each(test);
}

/// The specification.
pub fn scalar() -> Kernels {
    Kernels::for_isa(Isa::Scalar).expect("the scalar kernels run anywhere")
}

/// Equal bits; a NaN equals every NaN, for `f16_to_f32` promises no payload.
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

/// Equal blocks, their scales by bits.
#[track_caller]
pub fn assert_same_blocks(
    actual: &[ActivationBlock],
    expected: &[ActivationBlock],
    what: impl Fn() -> String,
) {
    assert_eq!(actual.len(), expected.len());
    for (at, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert!(
            a.scale.to_bits() == e.scale.to_bits()
                && a.correction == e.correction
                && a.values == e.values,
            "{}: block {at} is {a:?}, expected {e:?}",
            what()
        );
    }
}

/// 32 rows of Q8_0 weights as they lie in a file.
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

/// A block of activations whose correction fits its values.
pub fn activation(scale: f32, mut value: impl FnMut() -> i8) -> ActivationBlock {
    let values: [i8; BLOCK] = std::array::from_fn(|_| value());
    ActivationBlock {
        scale,
        correction: -128 * values.iter().map(|value| i32::from(*value)).sum::<i32>(),
        values,
    }
}
