//! The `tollway` binary.
fn main() {}
