//! Names made from content: digests, diff IDs and image IDs.
//!
//! A digest is `sha256:` and 64 hex digits. Three things in an image are
//! named by one, and mixing them up is the classic mistake of this field, so
//! each has its own type here:
//!
//! | type | digest of | seen as |
//! |---|---|---|
//! | [`Digest`] | a blob as it travels (a layer: *compressed*) | manifests |
//! | [`DiffId`] | a layer's tar, *uncompressed* | `RootFS.Layers` |
//! | [`ImageId`] | the image's config JSON | `docker images` |

use std::fmt::{self, Write as _};
use std::io;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

/// Why a text is not a digest; the sentences are Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// No `algorithm:hex` shape.
    #[error("invalid checksum digest format: {0:?}")]
    Format(String),
    /// The algorithm is none that registries use.
    #[error(
        "unsupported digest algorithm: {0:?} (sha256 and sha512 are known)"
    )]
    Algorithm(String),
    /// Too few or too many digits for the algorithm.
    #[error("invalid checksum digest length: {0:?}")]
    Length(String),
}

/// The name of a blob: `sha256:<64 hex>` or `sha512:<128 hex>`.
#[derive(
    Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// The sha256 digest of bytes held in memory.
    pub fn of(bytes: &[u8]) -> Digest {
        let mut hasher = Hasher::sha256();
        hasher.update(bytes);
        hasher.finish()
    }

    /// `sha256` or `sha512`.
    pub fn algorithm(&self) -> &str {
        self.0.split_once(':').map_or("", |(algorithm, _)| algorithm)
    }

    /// The hex digits alone: what directories are named by.
    pub fn hex(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, hex)| hex)
    }

    /// The first twelve hex digits: what Docker prints.
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }

    /// `sha256:…` as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A sha256 digest from its 64 hex digits.
    pub fn from_hex(hex: &str) -> Result<Digest, DigestError> {
        format!("sha256:{hex}").parse()
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    /// Upper-case hex digits are refused: two spellings of one digest would
    /// be two file names in the store.
    fn from_str(text: &str) -> Result<Digest, DigestError> {
        let Some((algorithm, hex)) = text.split_once(':') else {
            return Err(DigestError::Format(text.to_owned()));
        };
        let digits = match algorithm {
            "sha256" => 64,
            "sha512" => 128,
            _ => return Err(DigestError::Algorithm(text.to_owned())),
        };
        let lower_hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if !hex.bytes().all(lower_hex) {
            return Err(DigestError::Format(text.to_owned()));
        }
        if hex.len() != digits {
            return Err(DigestError::Length(text.to_owned()));
        }
        Ok(Digest(text.to_owned()))
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Digest, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Gives a role of its own to a digest.
macro_rules! role {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub Digest);

        impl $name {
            /// The hex digits alone.
            pub fn hex(&self) -> &str {
                self.0.hex()
            }

            /// The first twelve hex digits.
            pub fn short(&self) -> &str {
                self.0.short()
            }

            /// `sha256:…` as text.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl FromStr for $name {
            type Err = DigestError;

            fn from_str(text: &str) -> Result<Self, DigestError> {
                text.parse().map($name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

role! {
    /// The name of a layer: the digest of its tar *before* compression. The
    /// same files compressed with gzip or zstd have two [`Digest`]s but one
    /// diff ID, so unpacked layers are stored under this one.
    DiffId
}

role! {
    /// The name of an image: the digest of its config JSON. The config lists
    /// the diff IDs, so this one name pins every byte of the image.
    ImageId
}

/// Computes a digest piece by piece, while the bytes pass on their way.
#[derive(Debug, Clone)]
pub enum Hasher {
    /// The algorithm of nearly every image.
    Sha256(sha2::Sha256),
    /// Allowed by the OCI image specification, rare.
    Sha512(Box<sha2::Sha512>),
}

impl Hasher {
    /// A sha256 hasher.
    pub fn sha256() -> Hasher {
        Hasher::Sha256(sha2::Sha256::new())
    }

    /// A hasher of the algorithm that `expected` was made with, so that the
    /// two can be compared.
    pub fn like(expected: &Digest) -> Hasher {
        match expected.algorithm() {
            "sha512" => Hasher::Sha512(Box::new(sha2::Sha512::new())),
            _ => Hasher::sha256(),
        }
    }

    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// The digest of all bytes seen.
    pub fn finish(self) -> Digest {
        match self {
            Hasher::Sha256(hasher) => text("sha256", &hasher.finalize()),
            Hasher::Sha512(hasher) => text("sha512", &hasher.finalize()),
        }
    }
}

/// Algorithm and lower-case hex.
fn text(algorithm: &str, bytes: &[u8]) -> Digest {
    let mut text = format!("{algorithm}:");
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Digest(text)
}

/// A reader that hashes and counts what passes through it.
#[derive(Debug)]
pub struct HashingReader<R> {
    /// Where the bytes come from.
    inner: R,
    hasher: Hasher,
    bytes: u64,
}

impl<R: io::Read> HashingReader<R> {
    /// Wraps `inner`; nothing is read yet.
    pub fn new(inner: R, hasher: Hasher) -> HashingReader<R> {
        HashingReader { inner, hasher, bytes: 0 }
    }

    /// Bytes seen so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The digest of what was read, and how many bytes that was.
    pub fn finish(self) -> (Digest, u64) {
        (self.hasher.finish(), self.bytes)
    }
}

/// What is written is hashed, and goes nowhere.
impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<R: io::Read> io::Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b93\
                         4ca495991b7852b855";

    #[test]
    fn the_digest_of_nothing_is_the_known_one() {
        assert_eq!(Digest::of(b"").as_str(), EMPTY);
        assert_eq!(Digest::of(b"").short(), "e3b0c44298fc");
    }

    #[test]
    fn a_digest_with_a_path_in_it_is_refused() {
        for text in [
            "sha256:../../../../etc/passwd",
            "sha256:",
            "sha256",
            "md5:d41d8cd98f00b204e9800998ecf8427e",
            &EMPTY.to_uppercase().replace("SHA256", "sha256"),
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }

    #[test]
    fn json_with_a_bad_digest_does_not_become_a_digest() {
        assert!(serde_json::from_str::<DiffId>("\"sha256:00\"").is_err());
        let id: DiffId = serde_json::from_str(&format!("\"{EMPTY}\"")).unwrap();
        assert_eq!(id.as_str(), EMPTY);
    }
}
