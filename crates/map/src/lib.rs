//! Read-only memory maps of files, and how changes to the files are detected.
//!
//! A map shows the pages of the file itself: a write to the file changes them, and truncating the
//! file removes them. Renaming another file over the path, or removing the path, changes nothing,
//! because the map keeps the file that was opened. What is computed from a map is therefore valid
//! only if the size and the modification time are still those of opening ([`Map::check_unchanged`]).

mod identity;
mod map;
mod sigbus;

pub use identity::FileIdentity;
pub use map::{Change, Map, OpenError};
pub use sigbus::exit_on_lost_page;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
