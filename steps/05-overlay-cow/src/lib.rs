//! Step 5: one writable layer over shared ones, by overlayfs
#![deny(missing_docs)]
