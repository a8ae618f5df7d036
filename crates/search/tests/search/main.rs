//! Searches of files that a run has written, against scores computed here.

mod fixture;
mod hostile;
mod scans;
mod timed;
