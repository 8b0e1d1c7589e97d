//! Compression: gzip, zstd or none, told apart by the first bytes.
//!
//! Not by the media type: Docker's says `.tar.gzip` even for a zstd layer,
//! and files that people `load` or `ADD` have no media type at all.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;

use crate::manifest::media;

/// How a tar is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, RFC 1952.
    Gzip,
    /// Zstandard, RFC 8878.
    Zstd,
}

/// Compressions that are known by their first bytes and refused by name.
const REFUSED: [(&[u8], &str, &str); 3] = [
    (b"\xfd7zXZ\0", "xz", "xz -d"),
    (b"BZh", "bzip2", "bzip2 -d"),
    (b"\x04\x22\x4d\x18", "lz4", "lz4 -d"),
];

impl Compression {
    /// The compression of data that begins like this.
    pub fn detect(start: &[u8]) -> io::Result<Compression> {
        for (magic, name, command) in REFUSED {
            if start.starts_with(magic) {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    format!(
                        "compressed with {name}, which is not supported; \
                         unpack it with `{command}` first"
                    ),
                ));
            }
        }
        // A zstd file may begin with a frame to be skipped: 0x184D2A5?.
        let skippable = matches!(start, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]);
        Ok(if start.starts_with(&[0x1f, 0x8b]) {
            Compression::Gzip
        } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || skippable {
            Compression::Zstd
        } else {
            Compression::None
        })
    }

    /// The media type of a layer in this compression.
    pub fn media_type(self) -> &'static str {
        match self {
            Compression::None => media::OCI_LAYER,
            Compression::Gzip => media::OCI_LAYER_GZIP,
            Compression::Zstd => media::OCI_LAYER_ZSTD,
        }
    }
}

/// Bytes as they were before compression.
///
/// gzip files may have several members one after another (pigz and estargz
/// write them): all are read.
pub fn decoder<'a>(
    input: impl BufRead + Send + 'a,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    let (compression, input) = detected(input)?;
    decoder_of(compression, input)
}

/// The same when the compression is known.
pub fn decoder_of<'a>(
    compression: Compression,
    input: impl BufRead + Send + 'a,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    Ok(match compression {
        Compression::None => Box::new(input),
        Compression::Gzip => Box::new(MultiGzDecoder::new(input)),
        Compression::Zstd => {
            Box::new(zstd::stream::read::Decoder::with_buffer(input)?)
        }
    })
}

/// A reader whose first bytes were looked at and put back.
type Peeked<R> = io::Chain<io::Cursor<Vec<u8>>, R>;

/// Looks at the first bytes.
pub(crate) fn detected<R: BufRead>(
    mut input: R,
) -> io::Result<(Compression, Peeked<R>)> {
    // fill_buf may give fewer bytes than the magic has, so read them.
    let mut start = Vec::with_capacity(6);
    input.by_ref().take(6).read_to_end(&mut start)?;
    let compression = Compression::detect(&start)?;
    Ok((compression, io::Cursor::new(start).chain(input)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn unpacked(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        decoder(bytes)?.read_to_end(&mut out)?;
        Ok(out)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let level = flate2::Compression::fast();
        let mut out = flate2::write::GzEncoder::new(Vec::new(), level);
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    #[test]
    fn each_compression_is_known_by_its_first_bytes() {
        let zstd = zstd::encode_all(&b"abc"[..], 1).unwrap();
        assert_eq!(unpacked(&zstd).unwrap(), b"abc");
        assert_eq!(unpacked(&gzip(b"abc")).unwrap(), b"abc");
        assert_eq!(unpacked(b"abc").unwrap(), b"abc");
        assert_eq!(unpacked(b"").unwrap(), b"");
    }

    #[test]
    fn a_gzip_file_of_several_members_is_read_to_its_end() {
        let two = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(unpacked(&two).unwrap(), b"one two");
    }

    #[test]
    fn xz_is_refused_by_name() {
        let error = unpacked(b"\xfd7zXZ\0...").unwrap_err().to_string();
        assert!(error.contains("xz -d"), "{error}");
    }
}
