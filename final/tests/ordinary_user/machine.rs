//! A machine of its own for each test: a mount and a network namespace,
//! subordinate IDs, and users who know nothing of it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use cli_api::testing;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind,
    mount_change, unmount,
};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::user::User;

/// Two users that every distribution has.
pub(crate) const NOBODY: (&str, u32) = ("nobody", 65534);
pub(crate) const DAEMON: (&str, u32) = ("daemon", 1);

const SUB_IDS: &str = "nobody:200000:65536\ndaemon:300000:65536\n";

/// A machine, as far as an ordinary user can tell.
pub(crate) struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    /// Makes the calling thread's world a new machine; `None`, and the
    /// reason, where that cannot be.
    pub(crate) fn new(test: &str) -> Option<Machine> {
        Machine::with_sub_ids(test, SUB_IDS)
    }

    pub(crate) fn with_sub_ids(test: &str, sub_ids: &str) -> Option<Machine> {
        if !testing::root_or_skip(test) {
            return None;
        }
        for program in ["/bin/busybox", "/usr/bin/newuidmap"] {
            if !Path::new(program).exists() {
                testing::skip(test, &format!("there is no {program}"));
                return None;
            }
        }
        let flags = UnshareFlags::NEWNET | UnshareFlags::NEWNS;
        // SAFETY: the test's own thread; its descriptors stay shared.
        unsafe { unshare_unsafe(flags) }.unwrap();
        let private =
            MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).unwrap();
        busybox(&["ip", "link", "set", "lo", "up"]);
        let machine = Machine { dir: tempfile::tempdir().unwrap() };
        machine.equip(sub_ids);
        Some(machine)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The binary where everybody may read it, subordinate IDs, and the
    /// /dev/net/tun that distributions have.
    fn equip(&self, sub_ids: &str) {
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.dir.path(), open).unwrap();
        fs::write(self.path("skiff"), "").unwrap();
        mount_bind(env!("CARGO_BIN_EXE_skiff"), self.path("skiff")).unwrap();
        fs::write(self.path("subid"), sub_ids).unwrap();
        for file in ["/etc/subuid", "/etc/subgid"] {
            if Path::new(file).exists() {
                mount_bind(self.path("subid"), file).unwrap();
            }
        }
        fs::create_dir(self.path("dev")).unwrap();
        let dev = self.path("dev");
        mount("tmpfs", &dev, "tmpfs", MountFlags::empty(), None).unwrap();
        if Path::new("/dev/net/tun").exists() {
            let (tun, all) = (dev.join("tun"), Mode::from_raw_mode(0o666));
            let kind = FileType::CharacterDevice;
            mknodat(CWD, &tun, kind, all, makedev(10, 200)).unwrap();
            fs::set_permissions(&tun, fs::Permissions::from_mode(0o666))
                .unwrap();
            mount_bind(&tun, "/dev/net/tun").unwrap();
        }
    }

    /// Somebody with a home on this machine, and an image in it; `None`
    /// where the host forbids user namespaces.
    pub(crate) fn user(
        &self,
        test: &str,
        (name, id): (&str, u32),
    ) -> Option<User> {
        let home = self.path(name);
        for dir in ["", "run", "data"] {
            let dir = home.join(dir);
            fs::create_dir(&dir).unwrap();
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))
                .unwrap();
            chown(&dir, Some(id), Some(id)).unwrap();
        }
        let user = User { id, home, skiff: self.path("skiff") };
        let tar = self.path("image.tar");
        fs::write(&tar, root_file_system()).unwrap();
        let output = user.skiff(&["import", tar.to_str().unwrap(), "box"]);
        let said = String::from_utf8_lossy(&output.stderr);
        if said.contains("cannot make a user namespace") {
            testing::skip(test, &said);
            return None;
        }
        assert!(output.status.success(), "{said}");
        Some(user)
    }
}

/// A directory with a mount in it cannot be removed.
impl Drop for Machine {
    fn drop(&mut self) {
        for place in ["skiff", "dev"] {
            let _ = unmount(self.path(place), UnmountFlags::DETACH);
        }
    }
}

fn busybox(arguments: &[&str]) {
    let status = Command::new("/bin/busybox").args(arguments).status();
    assert!(status.unwrap().success(), "{arguments:?}");
}

/// Whether a program is in one of the usual places.
pub(crate) fn installed(program: &str) -> bool {
    let dirs = ["/usr/local/bin", "/usr/bin", "/usr/sbin", "/sbin", "/bin"];
    dirs.iter().any(|dir| Path::new(dir).join(program).exists())
}

/// The host's static busybox, with a user and a directory of that user's.
fn root_file_system() -> Vec<u8> {
    use tar::EntryType::{Directory, Regular, Symlink};
    let mut tar = tar::Builder::new(Vec::new());
    let mut put = |path: &str, kind, mode, owner, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(owner);
        header.set_gid(owner);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, content).unwrap();
    };
    for dir in ["bin/", "etc/", "root/"] {
        put(dir, Directory, 0o755, 0, b"");
    }
    put("tmp/", Directory, 0o1777, 0, b"");
    put("srv/", Directory, 0o755, 7, b"");
    let passwd = b"root:x:0:0::/root:/bin/sh\nweb:x:7:7::/srv:/bin/sh\n";
    put("etc/passwd", Regular, 0o644, 0, passwd);
    put("etc/group", Regular, 0o644, 0, b"root:x:0:\nweb:x:7:\n");
    let busybox = fs::read("/bin/busybox").unwrap();
    put("bin/busybox", Regular, 0o755, 0, &busybox);
    for command in [
        "sh", "cat", "echo", "sleep", "true", "id", "stat", "su", "mkdir",
        "hostname", "httpd", "wget", "chown",
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(Symlink);
        header.set_mode(0o777);
        header.set_size(0);
        let path = format!("bin/{command}");
        tar.append_link(&mut header, path, "busybox").unwrap();
    }
    tar.into_inner().unwrap()
}
