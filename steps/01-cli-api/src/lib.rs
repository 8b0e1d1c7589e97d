//! Step 1: a command becomes a REST call, and a daemon does the work
#![deny(missing_docs)]
