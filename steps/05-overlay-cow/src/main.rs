//! Step 5: one writable layer over shared ones, by overlayfs
fn main() {}
