//! The types of the model checker loom.
//!
//! loom treats `SeqCst` as `AcqRel`, which lets a store change places with a later load of another
//! word: it would report lost wake-ups that the memory model rules out. A read-modify-write sees
//! the latest value in loom as well, so `SeqCst` loads and stores are made read-modify-writes here.
//! This hides two kinds of faults: those that show only because a `SeqCst` load releases nothing
//! or a `SeqCst` store acquires nothing, and orderings that are too weak to keep a store before a
//! later load.

pub use std::sync::Arc;

use Ordering::{AcqRel, SeqCst};
pub use loom::cell::UnsafeCell;
pub use loom::sync::Mutex;
use loom::sync::atomic::{self, Ordering};
pub use loom::thread::{Builder, JoinHandle, Thread, current, park};

/// An atomic type with the accesses that all of them have.
macro_rules! atomic {
    ($name:ident, $value:ty, $nothing:expr) => {
        #[derive(Debug, Default)]
        pub struct $name(atomic::$name);

        impl $name {
            pub fn load(&self, order: Ordering) -> $value {
                match order {
                    SeqCst => self.0.fetch_or($nothing, AcqRel),
                    _ => self.0.load(order),
                }
            }

            pub fn store(&self, value: $value, order: Ordering) {
                match order {
                    SeqCst => drop(self.0.swap(value, AcqRel)),
                    _ => self.0.store(value, order),
                }
            }
        }
    };
}

atomic!(AtomicBool, bool, false);
atomic!(AtomicU64, u64, 0);

impl AtomicU64 {
    pub fn new(value: u64) -> Self {
        Self(atomic::AtomicU64::new(value))
    }

    pub fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        self.0.fetch_add(value, order)
    }

    pub fn fetch_sub(&self, value: u64, order: Ordering) -> u64 {
        self.0.fetch_sub(value, order)
    }

    pub fn fetch_or(&self, value: u64, order: Ordering) -> u64 {
        self.0.fetch_or(value, order)
    }

    pub fn compare_exchange_weak(
        &self,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64> {
        self.0.compare_exchange_weak(current, new, success, failure)
    }
}
