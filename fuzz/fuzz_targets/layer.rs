//! A layer's tar, unpacked: whatever is in it, nothing outside of the
//! layer's directory changes, and what came out can be written as a layer.
//!
//! `fuzz/run` gives this a world in which there is nothing to lose.
#![no_main]

use std::fs;

use layers::apply::{LIMITS, Limits, Options, apply};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let dir = tempfile::tempdir_in("/dev/shm").expect("a directory");
    let (layer, outside) = (dir.path().join("layer"), dir.path().join("out"));
    fs::create_dir(&layer).expect("a directory");
    fs::write(&outside, "canary").expect("a file");
    let limits =
        Limits { entries: 300, depth: 32, bytes: 1 << 20, ..LIMITS };
    let options = Options { limits, ..Options::for_this_user() };
    let tar = sealed(data);
    let done = apply(&layer, &mut &tar[..], &options);
    assert_eq!(fs::read(&outside).expect("the canary"), b"canary");
    assert_eq!(fs::read_dir(dir.path()).expect("a list").count(), 2);
    if let Err(error) = done {
        assert!(!error.to_string().is_empty());
        return;
    }
    let mut out = Vec::new();
    layers::diff::write_upper(&layer, None, &mut out).expect("a layer");
});

/// A mutation hardly ever has the right checksum; without this, no second
/// header would ever be seen.
fn sealed(data: &[u8]) -> Vec<u8> {
    let mut tar = data.to_vec();
    for block in tar.as_chunks_mut::<512>().0 {
        if &block[257..262] != b"ustar" {
            continue;
        }
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..154].copy_from_slice(format!("{sum:06o}").as_bytes());
        block[154] = 0;
    }
    tar
}
