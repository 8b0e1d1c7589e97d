//! `/dev`: a handful of nodes, and the names that programs expect.
//!
//! A device node is a name for a pair of numbers; behind it is a driver of
//! the *host's* kernel. A container with the host's `/dev` could write to
//! the disk below every file system. So `/dev` is an empty tmpfs, and gets
//! what cannot hurt: nothing, zeroes, random numbers, one's own terminal.
//! That root inside could make further nodes with mknod(2) is why cgroups
//! (step 3) also filter devices by number.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dev, FileType, Gid, Mode, Uid, chownat, makedev, mknodat,
    symlinkat,
};
use rustix::io::Errno;

use crate::idmap::in_first_user_namespace;
use crate::inroot::RootPath;
use crate::mountfd::{attach, clone_tree};
use crate::mounts::c_string;
use crate::sandbox::{Sandbox, Source};
use crate::wire::{Call, During, Fault};
use crate::{Error, Namespace};

/// What `/dev` needs, laid out for system calls.
#[derive(Debug)]
pub(crate) struct Devices {
    nodes: Vec<Node>,
    links: Vec<(RootPath, &'static CStr)>,
    /// Nodes are the host's, bound, instead of new ones.
    bound: bool,
}

#[derive(Debug)]
struct Node {
    path: RootPath,
    host: CString,
    kind: FileType,
    number: Dev,
    mode: Mode,
    owner: (Uid, Gid),
    /// The path, for errors.
    name: String,
}

/// Names that the C library, shells and scripts use.
const LINKS: [(&str, &CStr); 5] = [
    ("/dev/fd", c"/proc/self/fd"),
    ("/dev/stdin", c"/proc/self/fd/0"),
    ("/dev/stdout", c"/proc/self/fd/1"),
    ("/dev/stderr", c"/proc/self/fd/2"),
    ("/dev/ptmx", c"pts/ptmx"),
];

/// Prepares the nodes and links of `sandbox`.
pub(crate) fn prepare(sandbox: &Sandbox) -> Result<Devices, Error> {
    // In a `/dev` that the user mounted there is nothing of ours to make.
    let own_dev = sandbox.mounts.iter().any(|mount| {
        mount.target == Path::new("/dev")
            && matches!(mount.source, Source::Tmpfs { .. })
    });
    let node = |device: &crate::Device| {
        let kind = if device.block {
            FileType::BlockDevice
        } else {
            FileType::CharacterDevice
        };
        Ok(Node {
            path: RootPath::new(&device.path)?,
            host: c_string(device.host.as_os_str().as_bytes())?,
            kind,
            number: makedev(device.major, device.minor),
            mode: Mode::from_raw_mode(device.mode),
            owner: (Uid::from_raw(device.uid), Gid::from_raw(device.gid)),
            name: device.path.display().to_string(),
        })
    };
    let link = |(path, to): &(&str, &'static CStr)| {
        Ok((RootPath::new(path.as_ref())?, *to))
    };
    let nodes: Result<_, Error> = sandbox.devices.iter().map(node).collect();
    let links: Result<_, Error> = LINKS.iter().map(link).collect();
    Ok(Devices {
        nodes: if own_dev { nodes? } else { Vec::new() },
        links: if own_dev { links? } else { Vec::new() },
        bound: sandbox.namespaces.user == Namespace::New
            || !in_first_user_namespace(),
    })
}

impl Devices {
    /// For errors: which node is number `item`.
    pub(crate) fn name(&self, item: usize) -> &str {
        self.nodes.get(item).map_or("/dev", |node| &node.name)
    }

    /// Child: makes them all.
    pub(crate) fn make(&self, root: BorrowedFd<'_>) -> Result<(), Fault> {
        for (item, node) in self.nodes.iter().enumerate() {
            if self.bound {
                node.bind(root, item)?;
            } else {
                node.make(root, item)?;
            }
        }
        for (path, to) in &self.links {
            let item = self.nodes.len();
            let parent = path.parent(root, item)?;
            match symlinkat(*to, parent.as_fd(), path.name()) {
                // A volume may have brought its own.
                Err(Errno::EXIST) => {}
                result => result.during(Call::Symlink, item)?,
            }
        }
        Ok(())
    }
}

impl Node {
    /// mknod(2); the umask is zero, so `mode` is what the node gets. The
    /// name is made in a directory held by its descriptor, so no symbolic
    /// link can put the node elsewhere.
    fn make(&self, root: BorrowedFd<'_>, item: usize) -> Result<(), Fault> {
        let parent = self.path.parent(root, item)?;
        let name = self.path.name();
        mknodat(&parent, name, self.kind, self.mode, self.number)
            .during(Call::Mknod, item)?;
        let (uid, gid) = self.owner;
        if uid.is_root() && gid.is_root() {
            return Ok(());
        }
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        chownat(&parent, name, Some(uid), Some(gid), flags)
            .during(Call::Owner, item)
    }

    /// The host's node on an empty file. In a user namespace mknod(2) of a
    /// device is forbidden to everybody, and mounts made there do not honour
    /// device nodes; a bind mount keeps the attributes of the host's mount.
    fn bind(&self, root: BorrowedFd<'_>, item: usize) -> Result<(), Fault> {
        let tree: OwnedFd =
            clone_tree(CWD, &self.host, false).during(Call::Clone, item)?;
        let place = self.path.file(root, item)?;
        attach(tree.as_fd(), place.as_fd()).during(Call::Attach, item)
    }
}
