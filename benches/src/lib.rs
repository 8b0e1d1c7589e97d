//! What each stage costs.
