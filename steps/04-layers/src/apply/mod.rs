//! Unpacking a layer, trusting nothing in it.
//!
//! A layer's tar comes from strangers and is unpacked by root. So every
//! path in it is resolved by the kernel as if the layer's directory were
//! `/` (openat2(2) with `RESOLVE_IN_ROOT`): whatever links an earlier entry
//! made, a later one cannot get out. tar programs that check paths as text
//! lose this race again and again (CVE-2018-15664, CVE-2019-14271).
//!
//! What differs from an ordinary `tar -x`:
//!
//! - `.wh.NAME` says that NAME of the layers below is gone. It becomes a
//!   character device 0:0, which is what overlayfs wants to see;
//! - `.wh..wh..opq` says that nothing in this directory shows through from
//!   below: it becomes the extended attribute `trusted.overlay.opaque`
//!   (`user.overlay.opaque` where root is not really root);
//! - a later entry replaces an earlier one of the same name, whatever either
//!   is; only a directory stays when a directory comes again.
//!
//! | module | what it does |
//! |---|---|
//! | `pipeline` | compressed stream → hashes → inflate → files, two threads |
//! | `entries` | tar headers: PAX, GNU long names, sparse maps, limits |
//! | `dirs` | paths → directory descriptors, safely, with a cache |
//! | `place` | one entry → one file-system object |
//! | `attrs` | owner, mode, xattrs, times |

use std::io::BufRead;
use std::path::Path;
use std::sync::OnceLock;

mod attrs;
mod dirs;
pub(crate) mod entries;
mod error;
mod number;
mod pax;
mod pipeline;
mod place;
mod sparse;

pub use error::TarError;
pub use pipeline::{Unpacked, unpack};

use dirs::Dirs;
use entries::Entries;

/// How far a tar is believed. Real layers stay below these by a factor of
/// ten; beyond, it is an attack or an accident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries in one layer.
    pub entries: u64,
    /// Components in one path.
    pub depth: usize,
    /// Bytes after decompression.
    pub bytes: u64,
    /// Bytes after decompression per byte before, once `ratio_from` bytes
    /// have come out. Text gives 10, empty disk images 1,000.
    pub ratio: u64,
    /// See `ratio`.
    pub ratio_from: u64,
}

/// The limits for layers of unknown origin.
pub const LIMITS: Limits = Limits {
    entries: 4_000_000,
    depth: 512,
    bytes: 512 << 30,
    ratio: 300,
    ratio_from: 1 << 30,
};

/// How to unpack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Keep the owners in the tar. An ordinary user cannot, nor root of a
    /// user namespace without other users; everything then belongs to the
    /// one who unpacks.
    pub owners: bool,
    /// With `owners`: everything belongs to this user and group instead of
    /// those in the tar.
    pub owner: Option<(u32, u32)>,
    /// Overlay attributes under `trusted.`, which needs CAP_SYS_ADMIN in the
    /// first user namespace; otherwise under `user.`, for mounts with the
    /// option `userxattr`.
    pub trusted: bool,
    /// It is a layer: `.wh.` in front of a name says that the file is gone.
    /// In other tars such a name is a name.
    pub whiteouts: bool,
    /// A directory is not replaced by something else, nor the reverse:
    /// `docker cp` must not remove a tree by a slip of the hand.
    pub keep_kinds: bool,
    /// Keep what makes a file more than its content: setuid and setgid bits,
    /// file capabilities, device nodes. In a directory that users of this
    /// machine can enter, a stranger's tar would give them root's power.
    pub privileges: bool,
    /// See [`Limits`].
    pub limits: Limits,
}

impl Options {
    /// What the calling user can do.
    pub fn for_this_user() -> Options {
        Options {
            owners: namespaces::may_own_for_others(),
            owner: None,
            trusted: trusted_marks(),
            whiteouts: true,
            keep_kinds: false,
            privileges: true,
            limits: LIMITS,
        }
    }
}

/// Whether overlayfs keeps its marks under `trusted.` for this process: it
/// must be root in the first user namespace. Under `user.` a container could
/// set them itself, so of the two only one is ever believed.
pub(crate) fn trusted_marks() -> bool {
    static TRUSTED: OnceLock<bool> = OnceLock::new();
    *TRUSTED.get_or_init(|| {
        rustix::process::geteuid().is_root()
            && namespaces::in_first_user_namespace()
    })
}

/// What a layer turned out to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Bytes in its regular files.
    pub size: u64,
    /// How many entries.
    pub entries: u64,
    /// Directories that have no entry of their own but something in them,
    /// those above first. What a lower layer says of them counts; without
    /// one they belong to root and have mode 0755. Names that are not UTF-8
    /// are left out and stay so.
    pub implied: Vec<String>,
    /// What this host could not give, e.g. an attribute that the file system
    /// does not know. One line each, at most a few.
    pub warnings: Vec<String>,
}

/// Unpacks a tar, not compressed, into a directory: an empty one for a
/// layer. What follows the end of the archive in `tar` is left unread.
pub fn apply(
    dir: &Path,
    tar: &mut dyn BufRead,
    options: &Options,
) -> Result<Summary, TarError> {
    let mut applier = Applier {
        dirs: Dirs::open(dir)?,
        options: *options,
        summary: Summary::default(),
    };
    if options.whiteouts {
        // The root of a layer that says nothing of it.
        applier.dirs.set_last(b"", 0o755, dirs::EPOCH);
    }
    // ANCHOR: apply
    let mut entries = Entries::new(tar, options.limits);
    while let Some(entry) = entries.next()? {
        applier.summary.entries += 1;
        applier.entry(&entry, &mut entries)?;
    }
    let implied = applier.dirs.finish()?.into_iter();
    let implied = implied.filter_map(|path| String::from_utf8(path).ok());
    applier.summary.implied = implied.collect();
    Ok(applier.summary)
    // ANCHOR_END: apply
}

/// The state of one unpacking.
struct Applier {
    dirs: Dirs,
    options: Options,
    summary: Summary,
}

impl Applier {
    /// Wants each warning once and few of them: a layer can have 100,000
    /// files that all lack the same thing.
    fn warn(&mut self, text: String) {
        if self.summary.warnings.len() < 8
            && !self.summary.warnings.contains(&text)
        {
            self.summary.warnings.push(text);
        }
    }
}

#[cfg(test)]
mod tests;
