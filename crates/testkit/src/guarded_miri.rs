//! Buffers for Miri, which has no unmapped pages but reports every access outside of an allocation.

use std::ops::{Deref, DerefMut};

/// Where a guarded buffer would lie between unmapped pages; no difference here.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// Right after the first.
    Start,
    /// Ending exactly at the second.
    End,
}

/// Both places.
pub const PLACES: [Place; 2] = [Place::Start, Place::End];

/// A slice in an allocation of its own.
pub struct Guarded<T>(Box<[T]>);

impl<T: Copy> Guarded<T> {
    /// A copy of `values`.
    pub fn new(_: Place, values: &[T]) -> Self {
        Self(values.into())
    }
}

impl<T> Deref for Guarded<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> DerefMut for Guarded<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}
