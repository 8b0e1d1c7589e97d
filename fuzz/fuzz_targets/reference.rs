//! Image references: what is understood has one meaning, however it is
//! written.
#![no_main]

use layers::Reference;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(reference) = text.parse::<Reference>() else { return };
    for again in [reference.to_string(), reference.familiar()] {
        let read: Reference = again.parse().expect("our own writing");
        assert_eq!(read.to_string(), reference.to_string(), "{again}");
    }
    let latest = reference.or_latest();
    assert!(latest.tag().is_some() || latest.digest().is_some());
});
