//! Step 4: images, made of read-only layers
fn main() {}
