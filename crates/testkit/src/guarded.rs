//! Buffers between unmapped pages: an access outside of the buffer ends the test.

use std::ops::{Deref, DerefMut};

/// Position of a guarded buffer between its two unmapped pages.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// Starting right after the first page.
    Start,
    /// Ending right before the second page.
    End,
}

/// Both places.
pub const PLACES: [Place; 2] = [Place::Start, Place::End];

/// A slice next to an unmapped page. An access beyond its end (or before its start) at that page
/// raises a signal, which ends the test.
pub struct Guarded<T> {
    map: *mut libc::c_void,
    map_bytes: usize,
    data: *mut T,
    length: usize,
}

impl<T: Copy> Guarded<T> {
    /// A copy of `values` at `place`.
    ///
    /// # Panics
    /// If the system has no memory for it, or `values` at [`Place::End`] would not be aligned.
    pub fn new(place: Place, values: &[T]) -> Self {
        let size = size_of_val(values);
        // SAFETY: the mapping is fresh and private. The pages between the first and the last are
        // made accessible before the `size` bytes are copied to them, `size` is no larger
        // than `inner`, and the assertion shows that `data` is aligned.
        unsafe {
            let page = libc::sysconf(libc::_SC_PAGESIZE) as usize;
            let inner = size.div_ceil(page).max(1) * page;
            let map_bytes = inner + 2 * page;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let map = libc::mmap(
                std::ptr::null_mut(),
                map_bytes,
                libc::PROT_NONE,
                flags,
                -1,
                0,
            );
            assert_ne!(map, libc::MAP_FAILED);
            let first = map.byte_add(page);
            let access = libc::PROT_READ | libc::PROT_WRITE;
            assert_eq!(libc::mprotect(first, inner, access), 0);
            let data = match place {
                Place::Start => first,
                Place::End => first.byte_add(inner - size),
            }
            .cast::<T>();
            assert!(data.is_aligned());
            data.copy_from_nonoverlapping(values.as_ptr(), values.len());
            Guarded {
                map,
                map_bytes,
                data,
                length: values.len(),
            }
        }
    }
}

impl<T> Deref for Guarded<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `new` initialized `length` values at `data`; the mapping lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.data, self.length) }
    }
}

impl<T> DerefMut for Guarded<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: `new` has written `length` values at `data`; the mapping lives as long as `self`,
        // which is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.data, self.length) }
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        // SAFETY: this is the mapping that `new` made, of `map_bytes` bytes; no slice of it
        // outlives `self`.
        unsafe { libc::munmap(self.map, self.map_bytes) };
    }
}
