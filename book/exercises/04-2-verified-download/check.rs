//! Stores a good blob, a forged one, and one whose connection breaks, and
//! looks at the directory while the bytes arrive.

use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;

use exercises::{Verdict, failed, observed, scratch};
use sha2::{Digest, Sha256};

use super::learner;

const LENGTH: usize = 300_000;

pub fn check() -> Verdict {
    let dir = scratch().join("blobs");
    fs::create_dir_all(&dir).expect("a directory");
    let content = vec![b'x'; LENGTH];
    let hash = Sha256::digest(&content);
    let hex: Vec<_> = hash.iter().map(|it| format!("{it:02x}")).collect();
    let hex = hex.concat();
    let name = dir.join(&hex);

    let mut early = false;
    let forged = Slow::new(vec![b'y'; LENGTH], &name, &mut early);
    if learner::store(forged, &dir, &hex).is_ok() {
        return Err(observed(
            "unverified",
            "the bytes were other ones than the digest promised, and `store` \
             returned Ok",
        ));
    }
    if name.exists() {
        return Err(observed(
            "forged",
            format!("`store` refused forged bytes, but kept them as {hex}"),
        ));
    }
    let mut broken = Slow::new(content.clone(), &name, &mut early);
    broken.breaks = true;
    if learner::store(broken, &dir, &hex).is_ok() {
        return Err(observed("error", "the connection broke; `store`: Ok"));
    }
    let left = listing(&dir);
    if !left.is_empty() {
        return Err(observed(
            "litter",
            format!("after two failed downloads there are {left:?}"),
        ));
    }
    let good = Slow::new(content.clone(), &name, &mut early);
    learner::store(good, &dir, &hex)
        .map_err(|error| failed("error", "store of a good blob", &error))?;
    if early {
        return Err(observed(
            "early",
            format!(
                "while bytes were still arriving there was a file {hex}: a \
                 daemon that is killed now keeps half a blob under that name"
            ),
        ));
    }
    let stored = fs::read(&name).unwrap_or_default();
    if stored != content || listing(&dir).len() != 1 {
        return Err(observed(
            "content",
            format!(
                "in the end there are {:?}, with {} of {LENGTH} bytes",
                listing(&dir),
                stored.len()
            ),
        ));
    }
    Ok(vec![
        "forged bytes and a broken connection left nothing".to_owned(),
        format!("the name {hex} appeared when all was there"),
    ])
}

fn listing(dir: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("read the directory");
    let names = entries.map(|it| it.expect("an entry").file_name());
    names.map(|it| it.to_string_lossy().into_owned()).collect()
}

/// A connection.
struct Slow<'a> {
    content: io::Cursor<Vec<u8>>,
    name: PathBuf,
    early: &'a mut bool,
    breaks: bool,
}

impl<'a> Slow<'a> {
    fn new(
        content: Vec<u8>,
        name: &std::path::Path,
        early: &'a mut bool,
    ) -> Slow<'a> {
        let content = io::Cursor::new(content);
        Slow { content, name: name.to_owned(), early, breaks: false }
    }
}

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        *self.early |= self.name.exists();
        if self.breaks && self.content.position() > 100_000 {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let length = buffer.len().min(16 * 1024);
        self.content.read(&mut buffer[..length])
    }
}
