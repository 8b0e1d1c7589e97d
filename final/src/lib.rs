//! The finished engine.
