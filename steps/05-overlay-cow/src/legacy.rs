//! The same mount by mount(2), for kernels before 6.7.
//!
//! All directories travel in one string, `lowerdir=A:B:C,upperdir=…`, of
//! which the kernel reads no more than a page, 4,095 bytes. With a data root
//! in `/var/lib` that is about 40 layers. Docker shortens the names by
//! symbolic links in `overlay2/l/`; we need none: the directories are open
//! files, `/proc/self/fd` holds a link to each, and relative to that
//! directory a layer's name is a number.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::mount::{MsFlags, mount as mount2};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{Mode, OFlags, open};

use crate::error::errno;
use crate::{Error, Options, Overlay, Xattrs, host};

/// What mount(2) reads of its options, without the terminating zero.
const PAGE: usize = 4095;

/// fsconfig(2) copies strings of up to 255 bytes.
const LONGEST_STRING: usize = 255;

/// Mounts `overlay` at `merged`.
pub(crate) fn mount(
    overlay: &Overlay,
    merged: &Path,
    options: Options,
) -> Result<(), Error> {
    // mount(2) says ENOENT, whichever of the many names is missing.
    for dir in &overlay.lowers {
        open_dir("lowerdir", dir)?;
    }
    let names = overlay.lowers.iter().map(|dir| escape(dir.as_os_str()));
    let text = option_text(
        names,
        &escape(overlay.upper.as_os_str()),
        &escape(overlay.work.as_os_str()),
        options,
    );
    if text.len() <= PAGE {
        return finish(overlay, merged, &text);
    }
    let upper = open_dir("upperdir", &overlay.upper)?;
    let work = open_dir("workdir", &overlay.work)?;
    let lowers: Vec<OwnedFd> = overlay
        .lowers
        .iter()
        .map(|dir| open_dir("lowerdir", dir))
        .collect::<Result<_, _>>()?;
    let number = |fd: &OwnedFd| fd.as_raw_fd().to_string().into_bytes();
    let text = option_text(
        lowers.iter().map(number),
        &number(&upper),
        &number(&work),
        options,
    );
    let merged =
        std::path::absolute(merged).map_err(Error::io("find", merged))?;
    in_fd_directory(|| finish(overlay, &merged, &text))
}

/// Relative names are looked up from the working directory of the caller of
/// mount(2). Runs `work` on a thread whose working directory is
/// `/proc/self/fd`; it belongs to the whole process unless a thread asks for
/// its own, so this takes a thread that ends right after.
fn in_fd_directory(
    work: impl FnOnce() -> Result<(), Error> + Send,
) -> Result<(), Error> {
    let fds = Path::new("/proc/self/fd");
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_FS)
                .map_err(Error::io("get a working directory for", fds))?;
            std::env::set_current_dir(fds).map_err(Error::io("enter", fds))?;
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn finish(overlay: &Overlay, merged: &Path, text: &[u8]) -> Result<(), Error> {
    let data = Some(OsStr::from_bytes(text));
    let kind = Some("overlay");
    mount2(kind, merged, kind, MsFlags::empty(), data).map_err(|source| {
        if source == nix::errno::Errno::ENODEV {
            return host::no_overlay(rustix::io::Errno::NODEV);
        }
        Error::Mount {
            lowers: overlay.lowers.len(),
            upper: overlay.upper.clone(),
            source,
            kernel: String::new(),
            hint: host::explain(
                overlay,
                rustix::io::Errno::from_raw_os_error(source as i32),
            ),
        }
    })
}

/// The option string, the way mount(8) shows it. Descriptors are the whole
/// name: in `/proc/self/fd`, `lowerdir=7:8:9` are three open directories.
fn option_text(
    lowers: impl Iterator<Item = Vec<u8>>,
    upper: &[u8],
    work: &[u8],
    options: Options,
) -> Vec<u8> {
    let lowers: Vec<_> = lowers.collect();
    let mut text = b"lowerdir=".to_vec();
    text.extend(lowers.join(&b':'));
    text.extend(b",upperdir=");
    text.extend(upper);
    text.extend(b",workdir=");
    text.extend(work);
    text.extend(match options.xattrs {
        Xattrs::Trusted => &b",index=off,redirect_dir=off,metacopy=off"[..],
        Xattrs::User => b",userxattr",
    });
    if options.volatile {
        text.extend(b",volatile");
    }
    text
}

/// In this string a colon ends a directory and a comma ends an option, and
/// a backslash takes that meaning away. Data roots may have any of them in
/// their path.
fn escape(path: &OsStr) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(path.len());
    for &byte in path.as_bytes() {
        if matches!(byte, b'\\' | b':' | b',') {
            escaped.push(b'\\');
        }
        escaped.push(byte);
    }
    escaped
}

/// A name for an open directory that fsconfig(2) takes as a string: its
/// path, so that `/proc/self/mountinfo` can be read by people, or else the
/// link to it in `/proc`, which always fits.
pub(crate) fn short_name<'a>(
    dir: &'a Path,
    fd: BorrowedFd<'_>,
) -> Cow<'a, Path> {
    let bytes = dir.as_os_str().as_bytes();
    if bytes.len() <= LONGEST_STRING && !bytes.contains(&b'\\') {
        Cow::Borrowed(dir)
    } else {
        Cow::Owned(format!("/proc/self/fd/{}", fd.as_raw_fd()).into())
    }
}

fn open_dir(key: &'static str, dir: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    open(dir, flags, Mode::empty()).map_err(|source| Error::Layer {
        key,
        path: dir.to_owned(),
        source: errno(source),
        kernel: String::new(),
        hint: host::layer_hint(source),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// By the old call, whatever the kernel that runs the test.
    fn mount_by_hand(layers: usize) {
        if !rustix::process::geteuid().is_root() {
            println!("SKIP: mount(2): mounting takes root");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let make = |name: String| {
            let path = dir.path().join(name);
            fs::create_dir(&path).unwrap();
            path
        };
        let overlay = Overlay {
            lowers: (0..layers)
                .map(|n| make(format!("{n}-{}", "x".repeat(64))))
                .collect(),
            upper: make("upper".to_owned()),
            work: make("work".to_owned()),
        };
        let merged = make("merged".to_owned());
        for (number, lower) in overlay.lowers.iter().enumerate() {
            fs::write(lower.join("who"), number.to_string()).unwrap();
            fs::write(lower.join(format!("only-{number}")), "").unwrap();
        }
        let options = Options { xattrs: Xattrs::Trusted, volatile: false };
        mount(&overlay, &merged, options).unwrap();
        let who = fs::read_to_string(merged.join("who")).unwrap();
        let last = merged.join(format!("only-{}", layers - 1)).exists();
        crate::unmount(&merged).unwrap();
        assert_eq!((who.as_str(), last), ("0", true));
    }

    #[test]
    fn mount_2_takes_as_many_layers_as_the_kernel_can_stack() {
        mount_by_hand(2);
        mount_by_hand(450);
    }

    #[test]
    fn a_comma_and_a_colon_in_a_path_stay_part_of_it() {
        assert_eq!(escape(OsStr::new("/a,b:c\\d")), b"/a\\,b\\:c\\\\d");
    }

    #[test]
    fn a_path_too_long_for_fsconfig_goes_by_way_of_proc() {
        let file = std::fs::File::open("/").unwrap();
        let fd = std::os::fd::AsFd::as_fd(&file);
        let long = Path::new("/x").join("y".repeat(300));
        let name = short_name(&long, fd).into_owned();
        assert!(name.starts_with("/proc/self/fd"), "{name:?}");
        assert_eq!(short_name(Path::new("/x"), fd), Path::new("/x"));
    }
}
