//! Step 6: data that outlives the container: volumes, binds, tmpfs
fn main() {}
