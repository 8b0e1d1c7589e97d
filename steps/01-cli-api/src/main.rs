//! Step 1: a command becomes a REST call, and a daemon does the work
fn main() {}
