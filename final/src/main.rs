//! The finished engine: skiff, which speaks the Docker Engine API
fn main() {}
