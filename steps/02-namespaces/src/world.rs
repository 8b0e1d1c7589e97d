//! The world of the container, built from inside by its first process.
//!
//! Each function is one step of [`STEPS`](crate::STEPS) and runs in the
//! child, in a namespace that nobody else sees yet. Only system calls here.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{chdir, chroot, fchdir, pivot_root};
use rustix::system::{setdomainname, sethostname};

use crate::devices::{self, Devices};
use crate::inroot;
use crate::mask::{self, Masks};
use crate::mountfd::{Attributes, attach, clone_tree, set_attributes};
use crate::mounts::{self, Prepared, c_string};
use crate::sandbox::Sandbox;
use crate::sysctl::{self, Sysctl};
use crate::wire::{Call, During, Fault};
use crate::{Error, Namespace};

/// A [`Sandbox`] laid out for system calls: no path in it needs to be cut,
/// joined or looked up on the way.
#[derive(Debug)]
pub(crate) struct World {
    rootfs: CString,
    readonly_rootfs: bool,
    pub(crate) mounts: Vec<Prepared>,
    /// One slot per mount, filled by [`World::take_sources`].
    taken: Vec<Option<OwnedFd>>,
    pub(crate) devices: Devices,
    pub(crate) masks: Masks,
    pub(crate) sysctls: Vec<Sysctl>,
    hostname: Option<String>,
    domainname: Option<String>,
    own_cgroup_view: bool,
}

impl World {
    pub(crate) fn prepare(sandbox: &Sandbox) -> Result<World, Error> {
        let own_names = sandbox.namespaces.uts == Namespace::New;
        if !own_names
            && (sandbox.hostname.is_some() || sandbox.domainname.is_some())
        {
            return Err(Error::Invalid(
                "cannot set the host name of a UTS namespace that is shared"
                    .to_owned(),
            ));
        }
        let mounts = mounts::prepare(sandbox)?;
        Ok(World {
            rootfs: c_string(sandbox.rootfs.as_os_str().as_bytes())?,
            readonly_rootfs: sandbox.readonly_rootfs,
            taken: mounts.iter().map(|_| None).collect(),
            mounts,
            devices: devices::prepare(sandbox)?,
            masks: mask::prepare(sandbox)?,
            sysctls: sysctl::prepare(sandbox)?,
            hostname: sandbox.hostname.clone(),
            domainname: sandbox.domainname.clone(),
            own_cgroup_view: sandbox.namespaces.cgroup == Namespace::New,
        })
    }

    /// For errors: the host's directory.
    pub(crate) fn root_name(&self) -> String {
        self.rootfs.to_string_lossy().into_owned()
    }

    /// Sources: every bind mount's tree, while the host can still be seen.
    pub(crate) fn take_sources(&mut self) -> Result<(), Fault> {
        let slots = self.taken.iter_mut().zip(&self.mounts);
        for (item, (slot, mount)) in slots.enumerate() {
            *slot = mount.take(item)?;
        }
        Ok(())
    }

    /// Root: what we mount from here on must not appear on the host, so
    /// every mount stops being a peer of the host's. It stays a *slave*:
    /// what the host unmounts goes away here, too, and is not kept busy.
    ///
    /// Then the root file system becomes a mount of its own, since
    /// pivot_root can only swap mounts, not directories.
    pub(crate) fn place_root(&self) -> Result<OwnedFd, Fault> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let host = openat(CWD, c"/", flags, Mode::empty());
        let host = host.during(Call::Open, 0)?;
        let slave = Attributes::propagation(libc::MS_SLAVE);
        set_attributes(host.as_fd(), &slave, true)
            .during(Call::Attributes, 0)?;
        let root = clone_tree(CWD, &self.rootfs, true);
        let root = root.during(Call::Clone, 0)?;
        let private = Attributes::propagation(libc::MS_PRIVATE);
        set_attributes(root.as_fd(), &private, true)
            .during(Call::Attributes, 0)?;
        let place = openat(CWD, &self.rootfs, flags, Mode::empty());
        let place = place.during(Call::Open, 0)?;
        attach(root.as_fd(), place.as_fd()).during(Call::Attach, 0)?;
        Ok(root)
    }

    /// Mounts: `/proc`, `/dev`, `/sys`, volumes, in the order of the list.
    pub(crate) fn mount_all(
        &mut self,
        root: BorrowedFd<'_>,
    ) -> Result<(), Fault> {
        let slots = self.taken.iter_mut().zip(&self.mounts);
        for (item, (slot, mount)) in slots.enumerate() {
            mount.mount(root, slot.take(), item)?;
        }
        Ok(())
    }

    /// Cgroup view: a cgroup namespace takes the cgroup that its maker is in
    /// as its root, so this has to wait until we are in the right one.
    pub(crate) fn view_cgroup(
        &self,
        root: BorrowedFd<'_>,
    ) -> Result<(), Fault> {
        if self.own_cgroup_view {
            unshare_cgroup().during(Call::Unshare, 0)?;
        }
        for (item, mount) in self.mounts.iter().enumerate() {
            mount.mount_cgroup(root, item)?;
        }
        Ok(())
    }

    // ANCHOR: pivot
    /// Pivot: the old root is put on top of the new one and taken away from
    /// there, with everything below it. No directory of the image is needed
    /// for it, and there is no moment at which both can be reached by path.
    pub(crate) fn pivot(&self, root: BorrowedFd<'_>) -> Result<(), Fault> {
        fchdir(root).during(Call::Chdir, 0)?;
        match pivot_root(c".", c".") {
            Ok(()) => {
                unmount(c".", UnmountFlags::DETACH).during(Call::Unmount, 0)?;
            }
            // The first root of all, the initramfs, cannot be pivoted away
            // from. There a move and a chroot do what they can.
            Err(Errno::INVAL) => {
                let top = openat(
                    CWD,
                    c"/",
                    OFlags::PATH | OFlags::CLOEXEC,
                    Mode::empty(),
                );
                let top = top.during(Call::Open, 0)?;
                attach(root, top.as_fd()).during(Call::Pivot, 0)?;
                chroot(c".").during(Call::Pivot, 0)?;
            }
            Err(errno) => return Err(errno).during(Call::Pivot, 0),
        }
        chdir(c"/").during(Call::Chdir, 0)
    }
    // ANCHOR_END: pivot

    /// Names: what `hostname` prints, and what many servers put into their
    /// logs. Docker's is the container's short ID.
    pub(crate) fn set_names(&self) -> Result<(), Fault> {
        if let Some(name) = &self.hostname {
            sethostname(name.as_bytes()).during(Call::SetHostname, 0)?;
        }
        if let Some(name) = &self.domainname {
            setdomainname(name.as_bytes()).during(Call::SetDomainname, 0)?;
        }
        Ok(())
    }

    /// Sysctls: each is a file below `/proc/sys`, and a write(2) to it is
    /// answered by the kernel's parser: EINVAL is about the value.
    pub(crate) fn set_sysctls(
        &self,
        root: BorrowedFd<'_>,
    ) -> Result<(), Fault> {
        for (item, sysctl) in self.sysctls.iter().enumerate() {
            let strict = ResolveFlags::NO_SYMLINKS;
            let file = inroot::open(root, &sysctl.path, OFlags::WRONLY, strict)
                .during(Call::Open, item)?;
            rustix::io::write(&file, sysctl.value.as_bytes())
                .during(Call::Write, item)?;
        }
        Ok(())
    }

    /// Mask: covers and freezes, and with `--read-only` the root as well:
    /// last, since until now directories had to be made in it.
    pub(crate) fn mask(&self, root: BorrowedFd<'_>) -> Result<(), Fault> {
        self.masks.apply(root)?;
        if self.readonly_rootfs {
            set_attributes(root, &Attributes::READ_ONLY, false)
                .during(Call::Attributes, usize::from(u16::MAX))?;
        }
        Ok(())
    }
}

/// unshare(2) of the cgroup namespace alone.
fn unshare_cgroup() -> Result<(), Errno> {
    // SAFETY: this flag neither touches memory nor file descriptors.
    let result = unsafe { libc::unshare(libc::CLONE_NEWCGROUP) };
    if result == 0 { Ok(()) } else { Err(crate::mountfd::last_errno()) }
}
