//! The `lanewise` command.
fn main() {}
