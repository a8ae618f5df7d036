//! A fork-join thread pool for jobs of a few microseconds, as the matrix products of a small
//! forward pass are.
//!
//! A [`ThreadPlan`] says how many threads there are and on which CPUs, a [`Pool`] runs the tasks
//! of one job at a time on them, and [`partition`] cuts buffers into one disjoint part for each
//! task. Running a job allocates nothing.
//!
//! ```
//! use lanewise_pool::partition::chunks;
//! use lanewise_pool::{Pool, ThreadPlan};
//!
//! let mut pool = Pool::new(&ThreadPlan::choose(Some(2))?)?;
//! let mut squares = [0; 100];
//! let mut scratch = [(); 2];
//! pool.for_each_part(chunks(&mut squares, 10), &mut scratch, |index, part, ()| {
//!     for (offset, square) in part.iter_mut().enumerate() {
//!         *square = (10 * index + offset).pow(2);
//!     }
//! });
//! assert_eq!(squares[12], 144);
//! # Ok::<(), lanewise_pool::Error>(())
//! ```

mod error;
pub mod partition;
mod pool;
mod ranges;
mod sync;
mod threads;

pub use error::{Error, Result};
pub use pool::{CachePadded, Pool};
pub use ranges::{initial_tasks, initial_thread, thread_loads};
pub use threads::{MAX_THREADS, ThreadPlan};
