//! One variant per step that can fail: what was being done, to which
//! directory, the kernel's answer, and the way out.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use layers::error::Cause;
use nix::errno::Errno;

/// Why there is no writable layer, or why it could not be read or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel has no overlayfs, or this user may not use it.
    #[error("cannot open an overlay file system: {source}{hint}")]
    Context {
        /// The kernel's answer.
        source: Errno,
        /// The likely cause, or empty.
        hint: &'static str,
    },

    /// One directory of the stack was refused.
    #[error(
        "cannot use {} as {key}: {source}{kernel}{hint}", .path.display()
    )]
    Layer {
        /// `lowerdir`, `upperdir` or `workdir`.
        key: &'static str,
        /// The directory.
        path: PathBuf,
        /// The kernel's answer.
        source: Errno,
        /// What the kernel wrote about it, or empty.
        kernel: String,
        /// The likely cause, or empty.
        hint: &'static str,
    },

    /// The kernel does not know an option that we need.
    #[error("overlayfs refused the option {option}: {source}{kernel}")]
    Option {
        /// As in mount(8).
        option: &'static str,
        /// The kernel's answer.
        source: Errno,
        /// What the kernel wrote about it, or empty.
        kernel: String,
    },

    /// The stack as a whole was refused.
    #[error(
        "cannot mount an overlay of {lowers} layers with upperdir {}: \
         {source}{kernel}{hint}",
        .upper.display()
    )]
    Mount {
        /// How many read-only directories.
        lowers: usize,
        /// The writable one.
        upper: PathBuf,
        /// The kernel's answer.
        source: Errno,
        /// What the kernel wrote about it, or empty.
        kernel: String,
        /// The likely cause, or empty.
        hint: String,
    },

    /// The mount exists but cannot be put into its place.
    #[error("cannot attach the overlay to {}: {source}", .path.display())]
    Attach {
        /// The mount point.
        path: PathBuf,
        /// The kernel's answer.
        source: Errno,
    },

    /// Nothing to be writable over.
    #[error("an overlay needs at least one lower directory")]
    NoLayers,

    /// `OVL_MAX_STACK` in the kernel.
    #[error(
        "{count} layers are more than overlayfs can stack (500 directories, \
         one of which is the engine's own); build the image with fewer \
         instructions, or in stages whose result is copied (COPY --from)"
    )]
    TooManyLayers {
        /// How many there were.
        count: usize,
    },

    /// A layer of the image is not on this disk.
    #[error(
        "layer {layer} is missing ({} does not exist); pull or load the \
         image again",
        .path.display()
    )]
    MissingLayer {
        /// Its digest, or its directory's name.
        layer: String,
        /// Where it should be.
        path: PathBuf,
    },

    /// The same name was asked for over other layers before.
    #[error(
        "{id} already has a writable layer over other layers than asked \
         for; remove it first"
    )]
    OtherLayers {
        /// Whose layer it is.
        id: String,
    },

    /// No such writable layer.
    #[error("no writable layer named {id} in {}", .root.display())]
    NoSuchLayer {
        /// What was asked for.
        id: String,
        /// Where we looked.
        root: PathBuf,
    },

    /// A name that would lead out of the directory.
    #[error(
        "{id:?} cannot name a writable layer: only letters, digits, '-', \
         '_' and '.' may be used, and not '.' first"
    )]
    Name {
        /// What was asked for.
        id: String,
    },

    /// The file system below cannot carry an overlay.
    #[error("{} is on {what}; {hint}", .path.display())]
    Host {
        /// The data directory.
        path: PathBuf,
        /// Which file system it is on.
        what: &'static str,
        /// Why that does not work and what does.
        hint: &'static str,
    },

    /// The mount will not go away.
    #[error("cannot unmount {}: {source}{hint}", .path.display())]
    Unmount {
        /// The mount point.
        path: PathBuf,
        /// The kernel's answer.
        source: Errno,
        /// The likely cause, or empty.
        hint: &'static str,
    },

    /// A file or directory of the stack could not be read or written.
    #[error("cannot {doing} {}: {source}", .path.display())]
    Io {
        /// What was being done: "read", "make", …
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's answer.
        source: Cause,
    },

    /// A file that we wrote holds something else now.
    #[error(
        "{} does not list layers ({what}); it belongs to us and was changed \
         by hand or cut short by a crash",
        .path.display()
    )]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },

    /// The layer could not be written as a tar stream.
    #[error("cannot pack the changes of {id}: {source}")]
    Pack {
        /// Whose.
        id: String,
        /// The writer's answer.
        source: layers::diff::DiffError,
    },
}

impl Error {
    /// For `map_err`: the file and what was being done to it.
    pub(crate) fn io<E: Into<std::io::Error>>(
        doing: &'static str,
        path: &Path,
    ) -> impl FnOnce(E) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { doing, path, source: Cause(source.into()) }
    }
}

/// The trait speaks step 4's errors; ours travel in them whole.
impl From<Error> for layers::Error {
    fn from(error: Error) -> layers::Error {
        layers::Error::Outside(Box::new(error))
    }
}

/// rustix and nix each have a type for errno; messages use nix's, which
/// prints both the symbol and the sentence.
pub(crate) fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}

/// What the kernel wrote about a failure: the file descriptor of a file
/// system under construction can be read like a log, a message per read.
pub(crate) fn kernel_log(fs: &OwnedFd) -> String {
    let mut said = Vec::new();
    let mut line = [0; 512];
    while let Ok(length @ 1..) = rustix::io::read(fs, &mut line) {
        let text = String::from_utf8_lossy(&line[..length]);
        // Each begins with its level: "e " for errors, "w ", "i ".
        said.push(text.get(2..).unwrap_or("").trim().to_owned());
    }
    if said.is_empty() {
        String::new()
    } else {
        format!(" (the kernel says: {})", said.join("; "))
    }
}
