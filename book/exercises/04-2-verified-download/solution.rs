use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

/// Stores a blob that comes from the network as `dir/HEX`, if its SHA-256 is
/// `hex`. It may be larger than memory, and whoever sees a file of that name
/// may rely on its content.
pub fn store(mut from: impl Read, dir: &Path, hex: &str) -> io::Result<()> {
    // BEGIN
    let unfinished = dir.join(format!("{hex}.part"));
    let result = copy(&mut from, &unfinished, hex);
    if result.is_err() {
        fs::remove_file(&unfinished)?;
        return result;
    }
    // The name appears at once, with all of the content.
    fs::rename(&unfinished, dir.join(hex))
    // STARTER
    //= copy(&mut from, &dir.join(hex), hex)
    // END
}

/// Writes what it reads, and hashes it on the way.
fn copy(from: &mut impl Read, to: &Path, hex: &str) -> io::Result<()> {
    let mut file = File::create(to)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        hash.update(&buffer[..length]);
        file.write_all(&buffer[..length])?;
    }
    let got: Vec<_> =
        hash.finalize().iter().map(|it| format!("{it:02x}")).collect();
    // BEGIN
    if got.concat() != hex {
        return Err(io::Error::other(format!(
            "the digest is {}",
            got.concat()
        )));
    }
    file.sync_all()
    // STARTER
    //= let _ = (got, hex);
    //= file.sync_all()
    // END
}
