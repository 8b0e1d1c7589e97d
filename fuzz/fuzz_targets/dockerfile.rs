//! Dockerfiles: an error has a place in the text, what is understood can be
//! expanded.
#![no_main]

use layers::build::Dockerfile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Dockerfile::parse(text) {
        Ok(file) => drop(format!("{file:?}")),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
