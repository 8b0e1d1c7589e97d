//! Step 4: images, made of read-only layers
#![deny(missing_docs)]

pub mod build;
