//! Step 3: limits the kernel keeps, made of cgroups
#![deny(missing_docs)]
