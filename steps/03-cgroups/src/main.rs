//! Step 3: limits the kernel keeps, made of cgroups
fn main() {}
