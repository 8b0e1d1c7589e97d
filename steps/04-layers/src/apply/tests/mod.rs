//! Tars of every kind, good and hostile, made by hand.

use std::path::Path;

use super::{LIMITS, Limits, Options, Summary, TarError, apply};

mod faithful;
mod hostile;
mod round_trip;

/// A tar under construction.
#[derive(Default)]
pub(super) struct Tar(Vec<u8>);

/// One header; the rest is as usual.
#[derive(Clone)]
pub(super) struct Head<'a> {
    pub(super) kind: u8,
    pub(super) path: &'a [u8],
    pub(super) link: &'a [u8],
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    pub(super) mtime: u64,
    pub(super) size: u64,
    pub(super) device: (u32, u32),
}

impl<'a> Head<'a> {
    pub(super) fn new(kind: u8, path: &'a str) -> Head<'a> {
        let mode = if kind == b'5' { 0o755 } else { 0o644 };
        Head {
            kind,
            path: path.as_bytes(),
            link: b"",
            mode,
            owner: owner(),
            mtime: 1_700_000_000,
            size: 0,
            device: (0, 0),
        }
    }

    fn block(&self) -> [u8; 512] {
        let mut block = [0; 512];
        block[..self.path.len()].copy_from_slice(self.path);
        octal(&mut block[100..108], u64::from(self.mode));
        octal(&mut block[108..116], u64::from(self.owner.0));
        octal(&mut block[116..124], u64::from(self.owner.1));
        octal(&mut block[124..136], self.size);
        octal(&mut block[136..148], self.mtime);
        block[156] = self.kind;
        block[157..157 + self.link.len()].copy_from_slice(self.link);
        block[257..265].copy_from_slice(b"ustar\x0000");
        octal(&mut block[329..337], u64::from(self.device.0));
        octal(&mut block[337..345], u64::from(self.device.1));
        seal(&mut block);
        block
    }
}

/// Files belong to whoever runs the tests, so that they need not be root.
fn owner() -> (u32, u32) {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    (uid.as_raw(), gid.as_raw())
}

fn octal(field: &mut [u8], value: u64) {
    let text = format!("{value:0width$o}", width = field.len() - 1);
    field[..text.len()].copy_from_slice(text.as_bytes());
}

/// Puts the checksum in.
pub(super) fn seal(block: &mut [u8; 512]) {
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|b| u64::from(*b)).sum();
    let text = format!("{sum:06o}\0 ");
    block[148..156].copy_from_slice(text.as_bytes());
}

impl Tar {
    pub(super) fn head(mut self, head: &Head<'_>) -> Tar {
        self.0.extend(head.block());
        self
    }

    /// A header that is changed by hand before its checksum is made.
    pub(super) fn bent(
        mut self,
        head: &Head<'_>,
        bend: impl Fn(&mut [u8; 512]),
    ) -> Tar {
        let mut block = head.block();
        bend(&mut block);
        seal(&mut block);
        self.0.extend(block);
        self
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Tar {
        self.0.extend(bytes);
        let whole = self.0.len().next_multiple_of(512);
        self.0.resize(whole, 0);
        self
    }

    pub(super) fn file(self, path: &str, content: &str) -> Tar {
        self.sized(Head::new(b'0', path), content.as_bytes())
    }

    pub(super) fn sized(self, head: Head<'_>, content: &[u8]) -> Tar {
        let size = content.len() as u64;
        self.head(&Head { size, ..head }).bytes(content)
    }

    pub(super) fn dir(self, path: &str) -> Tar {
        self.head(&Head::new(b'5', path))
    }

    pub(super) fn symlink(self, path: &str, target: &str) -> Tar {
        let link = target.as_bytes();
        self.head(&Head { link, ..Head::new(b'2', path) })
    }

    pub(super) fn hard_link(self, path: &str, target: &str) -> Tar {
        let link = target.as_bytes();
        self.head(&Head { link, ..Head::new(b'1', path) })
    }

    /// PAX records for the entry that follows.
    pub(super) fn pax(self, records: &[(&str, &[u8])]) -> Tar {
        let mut data = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length.to_string().len() + rest != length {
                length = length.to_string().len() + rest;
            }
            data.extend(format!("{length} {key}=").bytes());
            data.extend(*value);
            data.push(b'\n');
        }
        self.sized(Head::new(b'x', "pax"), &data)
    }

    /// With the end mark.
    pub(super) fn end(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }
}

pub(super) fn unpack(dir: &Path, tar: &[u8]) -> Result<Summary, TarError> {
    unpack_within(dir, tar, LIMITS)
}

pub(super) fn unpack_within(
    dir: &Path,
    mut tar: &[u8],
    limits: Limits,
) -> Result<Summary, TarError> {
    let options = Options { limits, ..Options::for_this_user() };
    apply(dir, &mut tar, &options)
}
