//! Packing of keys, which is the same for all instruction sets.

use crate::layout::PANEL;

/// Packs up to [`PANEL`] keys of `dim` INT16 values for
/// [`Kernels::attention_scores`](crate::Kernels::attention_scores); lanes after the last key keep
/// their contents.
///
/// # Panics
///
/// If `keys` is not whole keys or more than [`PANEL`] of them, `dim` is zero or odd, or `packed` is
/// not `dim / 2 * PANEL` lanes.
#[inline]
pub fn pack_keys(keys: &[i16], dim: usize, packed: &mut [i32]) {
    assert!(
        dim > 0
            && dim.is_multiple_of(2)
            && keys.len().is_multiple_of(dim)
            && keys.len() / dim <= PANEL
    );
    assert_eq!(packed.len(), dim / 2 * PANEL);
    for (lane, key) in keys.chunks_exact(dim).enumerate() {
        for (lanes, pair) in packed.chunks_exact_mut(PANEL).zip(key.chunks_exact(2)) {
            lanes[lane] = i32::from(pair[0] as u16) | i32::from(pair[1]) << 16;
        }
    }
}
