//! Step 2: a process in its own world, made of namespaces and pivot_root
fn main() {}
