//! Buffers for Miri, which has no unmapped pages but detects every access outside an allocation.

use std::ops::{Deref, DerefMut};

/// As for buffers between unmapped pages; makes no difference here.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    Start,
    End,
}

pub const PLACES: [Place; 2] = [Place::Start, Place::End];

/// A slice in an allocation of its own.
pub struct Guarded<T>(Box<[T]>);

impl<T: Copy> Guarded<T> {
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
