//! Threads and scratch: what the forward pass runs on.
