//! The desktop harness.
fn main() {}
