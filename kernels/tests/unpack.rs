//! Blocks of a few bits as Q8_0: the same bytes on every instruction set.

mod support;

use lanewise_kernels::{BLOCK, BlockFormat, Q8_0_BYTES, f16_to_f32};
use support::*;

/// f16 numbers: zeros, subnormal, small, common, the largest, infinity, NaN.
const NUMBERS: [u16; 11] = [
    0x0000, 0x8000, 0x0001, 0x03ff, 0x8400, 0x1234, 0x2c00, 0xabcd, 0x7bff, 0xfc00, 0x7e00,
];

/// Where a block has its f16 numbers.
fn numbers_at(format: BlockFormat) -> &'static [usize] {
    use BlockFormat::*;
    match format {
        Q4_0 | Q5_0 | Iq4Nl => &[0],
        Q4_1 | Q5_1 | Q4K | Q5K => &[0, 2],
        Q6K => &[208],
    }
}

#[test]
fn unpacked_blocks_have_the_bytes_of_scalar() {
    let mut random = Random(1);
    for format in BlockFormat::ALL {
        for blocks in [1, 2, 3, 12] {
            let q8_bytes = blocks * format.values() / BLOCK * Q8_0_BYTES;
            for round in 0..40 {
                let mut row: Vec<u8> = (0..blocks * format.bytes())
                    .map(|_| match round {
                        0 => 0x00,
                        1 => 0xff,
                        _ => random.bits() as u8,
                    })
                    .collect();
                for block in row.chunks_exact_mut(format.bytes()) {
                    for &at in numbers_at(format) {
                        let number = random.pick(&NUMBERS);
                        block[at..][..2].copy_from_slice(&number.to_le_bytes());
                    }
                }
                let unpack = |kernels: lanewise_kernels::Kernels, place, shift: usize| {
                    // At even and odd addresses.
                    let row = Guarded::new(place, &[&vec![0; shift], &row[..]].concat());
                    let mut out = Guarded::new(place, &vec![77; q8_bytes]);
                    kernels.unpack(format, &row[shift..], &mut out);
                    out.to_vec()
                };
                let expected = unpack(scalar(), Place::End, 0);
                on_each_isa(|kernels| {
                    for (place, shift) in [(PLACES[0], 0), (PLACES[1], 0), (PLACES[1], 1)] {
                        let actual = unpack(kernels, place, shift);
                        assert_same_q8(&actual, &expected, || {
                            format!("{} {format:?} {place:?}", kernels.isa())
                        });
                    }
                });
            }
        }
    }
}

/// Asserts equal scales, and equal integers where the scale is finite.
fn assert_same_q8(actual: &[u8], expected: &[u8], what: impl Fn() -> String) {
    let blocks = |row: &[u8]| row.as_chunks::<Q8_0_BYTES>().0.to_vec();
    for (at, (actual, expected)) in blocks(actual).iter().zip(blocks(expected)).enumerate() {
        let [scale, of_expected] =
            [actual, &expected].map(|block| f16_to_f32(u16::from_le_bytes([block[0], block[1]])));
        let same = match of_expected.is_finite() {
            true => *actual == expected,
            false => scale == of_expected || scale.is_nan() && of_expected.is_nan(),
        };
        assert!(
            same,
            "{}: block {at} is {actual:?}, expected {expected:?}",
            what()
        );
    }
}

#[test]
fn rows_that_are_no_whole_blocks_are_refused() {
    for format in BlockFormat::ALL {
        let q8_bytes = format.values() / BLOCK * Q8_0_BYTES;
        for (row, out) in [
            (format.bytes() - 1, q8_bytes),
            (format.bytes(), q8_bytes - 1),
            (format.bytes(), 0),
            (0, q8_bytes),
        ] {
            let run = || scalar().unpack(format, &vec![0; row], &mut vec![0; out]);
            assert!(
                std::panic::catch_unwind(run).is_err(),
                "{format:?} {row} {out}"
            );
        }
        scalar().unpack(format, &[], &mut []);
    }
}
