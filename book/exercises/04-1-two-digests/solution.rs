use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

/// A layer as it goes to a registry, and its two names.
pub struct Layer {
    /// The compressed tar.
    pub blob: Vec<u8>,
    /// In the manifest: what the registry keeps it under.
    pub digest: String,
    /// In the image's configuration: what the files are.
    pub diff_id: String,
}

/// Packs a tar.
pub fn pack(tar: &[u8], level: Compression) -> io::Result<Layer> {
    let mut gzip = GzEncoder::new(Vec::new(), level);
    gzip.write_all(tar)?;
    let blob = gzip.finish()?;
    // BEGIN
    let digest = name(&blob);
    let diff_id = name(tar);
    // STARTER
    //= let digest = name(&blob);
    //= let diff_id = name(&blob);
    // END
    Ok(Layer { blob, digest, diff_id })
}

/// The name of some bytes.
fn name(bytes: &[u8]) -> String {
    // BEGIN
    let hash = Sha256::digest(bytes);
    let hex: String = hash.iter().map(|it| format!("{it:02x}")).collect();
    format!("sha256:{hex}")
    // STARTER
    //= let hash = Sha256::digest(bytes);
    //= hash.iter().map(|it| format!("{it:x}")).collect()
    // END
}
