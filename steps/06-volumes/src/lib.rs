//! Step 6: data that outlives the container: volumes, binds, tmpfs
#![deny(missing_docs)]
