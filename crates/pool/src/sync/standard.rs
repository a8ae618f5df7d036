//! The types of the standard library.

use std::cell;
pub use std::sync::atomic::{AtomicBool, AtomicU64};
pub use std::sync::{Arc, Mutex};
pub use std::thread::{Builder, JoinHandle, Thread, current, park};

/// A cell whose accesses are closures, so that a model checker sees where they begin and end.
pub struct UnsafeCell<T>(cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    pub fn new(value: T) -> Self {
        Self(cell::UnsafeCell::new(value))
    }

    /// Calls `read` with the address of the value.
    pub fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
        read(self.0.get())
    }

    /// Calls `write` with the address of the value.
    pub fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
        write(self.0.get())
    }
}
