//! Who root inside is outside (user_namespaces(7)).
//!
//! In a user namespace every user ID has two values. `stat` inside says 0
//! where the host's says 100000, and what the kernel checks is the outer
//! one. A process that breaks out is then nobody in particular. It is also
//! what lets an ordinary user have containers at all: with a namespace of
//! his own he is root of it, and may mount and pivot there.
//!
//! The map is a file, `/proc/PID/uid_map`, that can be written once, by
//! somebody in the parent namespace who has the right to the outer IDs. An
//! ordinary user has the right to one ID, his own. More are given to him in
//! `/etc/subuid`, a file that the kernel does not know; the set-user-ID
//! helpers newuidmap(1) and newgidmap(1) read it and write the map for him.

use std::path::Path;
use std::process::Command;

use rustix::io::Errno;
use rustix::process::{getegid, geteuid};

use crate::sandbox::{IdMap, Sandbox};
use crate::{CapSet, Error};

/// The maps of a new user namespace, and how they can be written.
#[derive(Debug)]
pub(crate) struct Maps {
    uid: Vec<IdMap>,
    gid: Vec<IdMap>,
    how: How,
    pub(crate) may_set_groups: bool,
}

/// Who writes the maps.
#[derive(Debug, PartialEq, Eq)]
enum How {
    /// We hold CAP_SETUID and CAP_SETGID: any map.
    Root,
    /// An ordinary user: himself, and nobody else.
    OnlySelf,
    /// The set-user-ID helpers, which know `/etc/subuid`.
    Helpers,
}

impl Maps {
    /// Decides how the maps of `sandbox` can be written.
    pub(crate) fn prepare(sandbox: &Sandbox) -> Result<Maps, Error> {
        Maps::new(sandbox.uid_map.clone(), sandbox.gid_map.clone())
    }

    fn new(uid: Vec<IdMap>, gid: Vec<IdMap>) -> Result<Maps, Error> {
        if uid.is_empty() || gid.is_empty() {
            return Err(Error::Invalid(
                "a new user namespace needs a map of users and one of \
                 groups, or everybody in it is nobody"
                    .to_owned(),
            ));
        }
        let held = CapSet::held();
        let both = ["SETUID", "SETGID"].iter().all(|name| {
            CapSet::parse(name).is_some_and(|cap| held.contains(cap))
        });
        let only = |map: &[IdMap], id: u32| matches!(map, [one] if one.count == 1 && one.outside == id);
        let how = if both {
            How::Root
        } else if only(&uid, geteuid().as_raw())
            && only(&gid, getegid().as_raw())
        {
            How::OnlySelf
        } else {
            How::Helpers
        };
        let may_set_groups = how != How::OnlySelf;
        Ok(Maps { uid, gid, how, may_set_groups })
    }

    /// Parent: writes the maps of the child, which waits for it.
    pub(crate) fn write(&self, pid: i32) -> Result<(), Error> {
        if self.how == How::Helpers {
            help("newuidmap", pid, &self.uid)?;
            return help("newgidmap", pid, &self.gid);
        }
        if self.how == How::OnlySelf {
            // Else a user could leave a group that is there to keep him
            // *out* of a file (CVE-2014-8989).
            put(pid, "setgroups", "deny")?;
        }
        put(pid, "uid_map", &lines(&self.uid))?;
        put(pid, "gid_map", &lines(&self.gid))
    }
}

/// Who is who in a user namespace of an ordinary user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserMaps {
    /// For `uid_map`.
    pub uid: Vec<IdMap>,
    /// For `gid_map`.
    pub gid: Vec<IdMap>,
    /// Why there is root inside and nobody else, with what to do about it.
    pub alone: Option<String>,
}

impl UserMaps {
    /// Root inside is the caller, and further IDs come from `/etc/subuid`
    /// and `/etc/subgid` when the helpers newuidmap and newgidmap are
    /// installed.
    pub fn of_this_user() -> UserMaps {
        let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
        let only = |id| IdMap { inside: 0, outside: id, count: 1 };
        match subordinates(uid) {
            Ok((uids, gids)) => UserMaps {
                uid: vec![only(uid), uids],
                gid: vec![only(gid), gids],
                alone: None,
            },
            Err(why) => UserMaps {
                uid: vec![only(uid)],
                gid: vec![only(gid)],
                alone: Some(why),
            },
        }
    }

    /// Writes the maps of `pid`, which has made itself a user namespace
    /// with unshare(2) and waits. Can be done once.
    ///
    /// # Errors
    /// [`Error::File`], or [`Error::IdMapHelper`] with the helper's words.
    pub fn write(&self, pid: i32) -> Result<(), Error> {
        Maps::new(self.uid.clone(), self.gid.clone())?.write(pid)
    }
}

/// The ranges that the administrator gave to a user, or what is missing.
fn subordinates(uid: u32) -> Result<(IdMap, IdMap), String> {
    for helper in ["newuidmap", "newgidmap"] {
        if !in_path(helper) {
            return Err(format!(
                "{helper} is not installed (package uidmap or shadow-utils)"
            ));
        }
    }
    let name = std::fs::read_to_string("/etc/passwd")
        .ok()
        .and_then(|text| user_name(&text, uid))
        .unwrap_or_else(|| uid.to_string());
    let range = |file: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        sub_ids(&text, &name, uid).ok_or_else(|| {
            format!(
                "{file} has no line for {name}; as root: usermod \
                 --add-subuids 100000-165535 --add-subgids 100000-165535 \
                 {name}"
            )
        })
    };
    Ok((range("/etc/subuid")?, range("/etc/subgid")?))
}

/// Whether this process lives in the first user namespace, the one that
/// maps every ID to itself (user_namespaces(7)). Root of any other is root
/// over what it made itself and over nothing of the host's.
pub fn in_first_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map");
    map.is_ok_and(|map| map.split_whitespace().eq(["0", "0", "4294967295"]))
}

/// Whether this process can give files to others than itself: root can, if
/// its user namespace has a second user at all.
pub fn may_own_for_others() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map");
    let map = map.unwrap_or_default();
    let counts = map.lines().filter_map(|line| line.split_whitespace().last());
    let users: u64 = counts.flat_map(str::parse::<u64>).sum();
    geteuid().is_root() && users > 1
}

/// Whether a group has a number outside of this process's user namespace.
pub(crate) fn maps_group(gid: u32) -> bool {
    let map = std::fs::read_to_string("/proc/self/gid_map");
    let map = map.unwrap_or_default();
    map.lines().any(|line| {
        let numbers = line.split_whitespace();
        let numbers: Vec<u32> = numbers.flat_map(str::parse).collect();
        let [inside, _, count] = numbers[..] else { return false };
        gid.checked_sub(inside).is_some_and(|off| off < count)
    })
}

/// Whether `who` (`self` or a PID) may call setgroups(2): not in a user
/// namespace whose map an ordinary user wrote without help.
pub(crate) fn may_set_groups(who: &str) -> bool {
    let word = std::fs::read_to_string(format!("/proc/{who}/setgroups"));
    word.is_ok_and(|it| it.trim() == "allow")
}

fn user_name(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut parts = line.split(':');
        let name = parts.next()?;
        (parts.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// A line `user:first:count` of subuid(5), put after root.
fn sub_ids(text: &str, name: &str, uid: u32) -> Option<IdMap> {
    text.lines().find_map(|line| {
        let mut parts = line.trim().split(':');
        let who = parts.next()?;
        if who != name && who.parse() != Ok(uid) {
            return None;
        }
        let outside = parts.next()?.parse().ok()?;
        let count = parts.next()?.parse().ok()?;
        Some(IdMap { inside: 1, outside, count })
    })
}

/// Whether a program is installed.
fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).exists())
}

fn lines(map: &[IdMap]) -> String {
    let line =
        |it: &IdMap| format!("{} {} {}\n", it.inside, it.outside, it.count);
    map.iter().map(line).collect()
}

fn put(pid: i32, file: &str, text: &str) -> Result<(), Error> {
    let path = Path::new("/proc").join(pid.to_string()).join(file);
    std::fs::write(&path, text).map_err(|error| Error::File {
        doing: "write",
        path,
        errno: Errno::from_io_error(&error).unwrap_or(Errno::IO),
    })
}

/// Runs one of the helpers: `newuidmap PID inside outside count …`. Its own
/// words are the best error there is ("uid range … not allowed").
fn help(program: &'static str, pid: i32, map: &[IdMap]) -> Result<(), Error> {
    let failed = |output: String| Error::IdMapHelper { program, output };
    let numbers = map.iter().flat_map(|it| [it.inside, it.outside, it.count]);
    let output = Command::new(program)
        .arg(pid.to_string())
        .args(numbers.map(|number| number.to_string()))
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sub_ids_come_after_root_and_by_name_or_number() {
        let text = "ann:100000:65536\n1001:300000:10\n";
        let map = sub_ids(text, "ann", 1000).unwrap();
        assert_eq!((map.inside, map.outside, map.count), (1, 100_000, 65536));
        assert_eq!(sub_ids(text, "bob", 1001).unwrap().outside, 300_000);
        assert!(sub_ids(text, "eve", 1002).is_none());
    }
}
