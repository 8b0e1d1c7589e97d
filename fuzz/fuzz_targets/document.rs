//! Manifests, indexes and configs, as registries send them.
#![no_main]

use layers::manifest::Document;
use layers::{ImageConfig, Platform};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match Document::parse(bytes) {
        Ok(Document::Index(index)) => {
            let chosen = index.choose(&Platform::host());
            assert!(chosen.is_none() || !index.manifests.is_empty());
            index.platforms();
        }
        Ok(Document::Manifest(manifest)) => {
            let written = serde_json::to_vec(&*manifest).expect("JSON");
            Document::parse(&written).expect("our own writing");
        }
        Err(problem) => assert!(!problem.is_empty()),
    }
    if let Ok(config) = serde_json::from_slice::<ImageConfig>(bytes) {
        config.platform();
        let written = config.to_bytes();
        serde_json::from_slice::<ImageConfig>(&written).expect("ours");
    }
});
