//! A checksum at the speed of memory, which finds damage; it is no defense against forgery.

use multiversion::multiversion;

/// Bytes whose sums can be computed on different threads. Half of them are in the L2 cache of any
/// core that has one.
pub const CHUNK: usize = 1 << 20;

/// Sums side by side: eight 128-bit registers, or two of 512 bits.
const LANES: usize = 16;
/// Bytes of a word for each lane.
const STRIPE: usize = LANES * size_of::<u64>();
/// Stripes between two multiplications. A word in it is rotated by its own number of bits.
const STRIPES: usize = 16;
/// An odd number, so that to multiply by it loses nothing; of 32 bits, because instruction sets
/// without 64-bit multiplication of lanes then take two.
const FACTOR: u64 = 0x9e37_79b1;

/// The sum of a chunk, of any length.
///
/// Each lane takes a word at a time by a rotation and an addition, and mixes what it has every
/// [`STRIPES`] words. All steps can be undone, so two sums that differ stay different until other
/// words differ too: a single word that is damaged is always found, and several, pages that have
/// changed places or are zeros, but for one case in 2⁶⁴.
pub fn chunk_sum(bytes: &[u8]) -> u64 {
    let (stripes, rest) = bytes.as_chunks::<STRIPE>();
    let lanes = lanes(stripes);
    let mut last = [0; STRIPE];
    last[..rest.len()].copy_from_slice(rest);
    let words = last
        .as_chunks()
        .0
        .iter()
        .map(|&word| u64::from_le_bytes(word));
    combine(lanes.into_iter().chain(words).chain([bytes.len() as u64]))
}

/// The sum of sums, in their order.
pub fn combine(sums: impl IntoIterator<Item = u64>) -> u64 {
    sums.into_iter().fold(0, |all: u64, sum| {
        // The finalizer of MurmurHash3, which can be undone as well.
        let mut mixed = all.rotate_left(13).wrapping_add(sum) ^ FACTOR;
        mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        mixed ^ (mixed >> 33)
    })
}

#[multiversion(targets("x86_64+avx512f", "x86_64+avx2"))]
fn lanes(stripes: &[[u8; STRIPE]]) -> [u64; LANES] {
    let mut sums = [0u64; LANES];
    for block in stripes.chunks(STRIPES) {
        for stripe in block {
            for (sum, &word) in sums.iter_mut().zip(stripe.as_chunks().0) {
                *sum = sum.rotate_left(13).wrapping_add(u64::from_le_bytes(word));
            }
        }
        for sum in &mut sums {
            *sum = (*sum ^ (*sum >> 29)).wrapping_mul(FACTOR);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes() -> Vec<u8> {
        (0..3 * 4096 + 77u32)
            .map(|i| ((i * i) >> 7) as u8)
            .collect()
    }

    #[test]
    fn every_bit_counts_and_so_do_places_and_the_length() {
        let bytes = bytes();
        let sum = chunk_sum(&bytes);
        assert_eq!(chunk_sum(&bytes), sum);
        for bit in (0..bytes.len() * 8).step_by(7) {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(chunk_sum(&damaged), sum, "bit {bit}");
            // A stuck bit, in two places at once.
            damaged[(bit / 8 + STRIPE * 8) % bytes.len()] ^= 1 << (bit % 8);
            assert_ne!(chunk_sum(&damaged), sum, "bit {bit} twice");
        }
        for distance in [8, STRIPE, 2048, 4096] {
            let mut swapped = bytes.clone();
            let (first, second) = swapped.split_at_mut(distance);
            let length = distance.min(second.len());
            first[..length].swap_with_slice(&mut second[..length]);
            assert_ne!(chunk_sum(&swapped), sum, "{distance} bytes changed places");
        }
        assert_ne!(chunk_sum(&bytes[..bytes.len() - 1]), sum);
        assert_ne!(chunk_sum(&[0; 10]), chunk_sum(&[0; 11]));
        assert_ne!(combine([1, 2]), combine([2, 1]));
    }

    #[test]
    fn sums_are_those_that_files_hold() {
        // Files outlive a build: another sum needs another version of the format.
        assert_eq!(chunk_sum(&bytes()), 16_198_080_320_056_386_867);
    }
}
