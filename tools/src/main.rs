//! What measures, compares, converts and checks Lanewise.
fn main() {}
