//! Searches of files that a run has written, against scores computed here.

mod brute_force;
mod fixture;
mod hostile;
mod scans;
mod timed;
