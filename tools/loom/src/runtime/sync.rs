//! The model checker's stand-ins for what the pool synchronises with.
//!
//! loom takes `SeqCst` for `AcqRel`, under which a store and the load of another word after it may
//! change places: it would find lost wake-ups that the memory model rules out. A read-modify-write
//! sees the latest value in loom as well, so `SeqCst` loads and stores are such here. What this
//! hides: faults that only show where such a load releases nothing or such a store acquires
//! nothing, and a `SeqCst` that is too weak for a store and a load to keep their order.

use loom::sync::atomic::{self, Ordering};

pub use loom::cell::UnsafeCell;
pub use loom::sync::Mutex;
pub use loom::thread::{Builder, JoinHandle, Thread, current, park};
pub use std::sync::Arc;

use Ordering::{AcqRel, SeqCst};

/// An atomic type with the accesses that all of them have.
macro_rules! atomic {
    ($name:ident, $value:ty, $nothing:expr) => {
        #[derive(Debug, Default)]
        pub struct $name(atomic::$name);

        impl $name {
            pub fn new(value: $value) -> Self {
                Self(atomic::$name::new(value))
            }

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
atomic!(AtomicUsize, usize, 0);
atomic!(AtomicU64, u64, 0);

impl AtomicUsize {
    pub fn fetch_add(&self, value: usize, order: Ordering) -> usize {
        self.0.fetch_add(value, order)
    }
}

impl AtomicU64 {
    pub fn fetch_sub(&self, value: u64, order: Ordering) -> u64 {
        self.0.fetch_sub(value, order)
    }

    pub fn fetch_and(&self, value: u64, order: Ordering) -> u64 {
        self.0.fetch_and(value, order)
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
