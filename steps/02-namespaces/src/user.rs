//! Who `--user nginx` is: names from the *container's* own files.
//!
//! The kernel knows numbers only. Which number `nginx` has is the image's
//! business, so the host's `/etc/passwd` must not be asked: the same name
//! has other numbers there, or belongs to somebody else. getpwnam(3) is no
//! help, since it looks in the running system, and loads plug-ins for that.
//!
//! The files are the image's and so nothing is trusted about them: lines may
//! be broken, the file may be huge, a FIFO, or a link out of the root.

use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat};
use rustix::io::Errno;

use crate::{Error, User, inroot};

/// A user in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User ID.
    pub uid: u32,
    /// Primary group ID.
    pub gid: u32,
    /// Supplementary group IDs.
    pub groups: Vec<u32>,
    /// Home directory, `/` if the image does not say.
    pub home: String,
}

/// Highest ID that Docker takes; the kernel's all-ones means "no change".
const MAX_ID: u32 = 0x7fff_ffff;

impl User {
    /// Looks the user up below `rootfs`.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`], [`Error::NoSuchGroup`] in Docker's words.
    pub fn resolve(&self, rootfs: &Path) -> Result<Credentials, Error> {
        let passwd = read_in(rootfs, "etc/passwd")?;
        let group = read_in(rootfs, "etc/group")?;
        resolve(self, &passwd, &group)
    }
}

/// The rule itself, apart from where the two texts come from. It is Docker's
/// to the letter, since file ownership in volumes depends on it:
///
/// - the first line of passwd whose name *or* number fits is taken;
/// - a number needs no line, and has group 0 without one;
/// - a group given by hand replaces the supplementary groups as well;
/// - the main group is one of the supplementary groups.
pub(crate) fn resolve(
    user: &User,
    passwd: &str,
    group: &str,
) -> Result<Credentials, Error> {
    let (name, group_name) = match user.name.split_once(':') {
        Some((name, group)) => (name, Some(group).filter(|g| !g.is_empty())),
        None => (user.name.as_str(), None),
    };
    let name = if name.is_empty() { "0" } else { name };
    let entry = passwd
        .lines()
        .filter_map(PasswdEntry::parse)
        .find(|entry| entry.name == name || is_id(name, entry.uid));
    let uid = match (&entry, id(name)?) {
        (Some(entry), _) => entry.uid,
        (None, Some(uid)) => uid,
        (None, None) => return Err(Error::NoSuchUser(name.to_owned())),
    };
    let mut groups = Vec::new();
    let gid = if let Some(wanted) = group_name {
        find_group(wanted, group)?
    } else {
        if let Some(entry) = &entry {
            let member = |line: &GroupEntry<'_>| {
                line.members.split(',').any(|it| it == entry.name)
            };
            let lines = group.lines().filter_map(GroupEntry::parse);
            groups.extend(lines.filter(member).map(|line| line.gid));
        }
        entry.as_ref().map_or(0, |entry| entry.gid)
    };
    for extra in &user.groups {
        groups.push(find_group(extra, group)?);
    }
    // A group that is not on the list could be left, with a program that
    // has the bit of another group, and files that deny it with it
    // (CVE-2022-36109).
    groups.retain(|it| *it != gid);
    groups.insert(0, gid);
    groups.dedup();
    let home = entry.map(|entry| entry.home).filter(|home| !home.is_empty());
    let home = home.unwrap_or("/").to_owned();
    Ok(Credentials { uid, gid, groups, home })
}

/// A line of passwd(5).
struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl PasswdEntry<'_> {
    fn parse(line: &str) -> Option<PasswdEntry<'_>> {
        let mut parts = line.split(':');
        let name = parts.next().filter(|name| !name.is_empty())?;
        let uid = parts.nth(1)?.trim().parse().ok()?;
        let gid = parts.next()?.trim().parse().ok()?;
        let home = parts.nth(1).unwrap_or("/");
        Some(PasswdEntry { name, uid, gid, home })
    }
}

/// A line of group(5).
struct GroupEntry<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl GroupEntry<'_> {
    fn parse(line: &str) -> Option<GroupEntry<'_>> {
        let mut parts = line.split(':');
        let name = parts.next().filter(|name| !name.is_empty())?;
        let gid = parts.nth(1)?.trim().parse().ok()?;
        Some(GroupEntry { name, gid, members: parts.next().unwrap_or("") })
    }
}

/// A group by name or number; a number needs no line.
fn find_group(wanted: &str, group: &str) -> Result<u32, Error> {
    let known = group
        .lines()
        .filter_map(GroupEntry::parse)
        .find(|line| line.name == wanted || is_id(wanted, line.gid));
    match (known, id(wanted)?) {
        (Some(line), _) => Ok(line.gid),
        (None, Some(gid)) => Ok(gid),
        (None, None) => Err(Error::NoSuchGroup(wanted.to_owned())),
    }
}

/// The number that `text` is, if it is one.
fn id(text: &str) -> Result<Option<u32>, Error> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse() {
        Ok(number) if number <= MAX_ID => Ok(Some(number)),
        _ => Err(Error::Invalid(format!(
            "uids and gids must be in range 0-{MAX_ID}: {text}"
        ))),
    }
}

/// Whether `text` is this very number.
fn is_id(text: &str, number: u32) -> bool {
    text.parse() == Ok(number)
}

/// A text file of the image; an image without it is a fine image.
fn read_in(rootfs: &Path, path: &'static str) -> Result<String, Error> {
    let failed =
        |errno| Error::File { doing: "read", path: rootfs.join(path), errno };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, rootfs, flags, Mode::empty()).map_err(|errno| {
        Error::File { doing: "open", path: rootfs.to_owned(), errno }
    })?;
    let name = std::ffi::CString::new(path).unwrap_or_default();
    // Not blocking, since the image may have put a FIFO here.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let none = ResolveFlags::empty();
    let file = match inroot::open(root.as_fd(), &name, flags, none) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(String::new()),
        opened => opened.map_err(failed)?,
    };
    let mut bytes = Vec::new();
    // An image's passwd file of gigabytes must not fill our memory.
    let limit = 16 << 20;
    std::fs::File::from(file).take(limit).read_to_end(&mut bytes).map_err(
        |error| failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
    )?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
                          nginx:x:101:102:web:/var/nginx:/bin/false\n\
                          123:x:7:7::/odd:\nbroken line\n";
    const GROUP: &str = "root:x:0:\nnginx:x:102:\n\
                         logs:x:4:root,nginx\nssl:x:110:nginx\n";

    fn who(name: &str) -> Result<Credentials, String> {
        resolve(&User::named(name), PASSWD, GROUP)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn nobody_named_means_root_with_roots_groups() {
        let root = who("").unwrap();
        assert_eq!((root.uid, root.gid, root.groups), (0, 0, vec![0, 4]));
        assert_eq!(root.home, "/root");
    }

    #[test]
    fn a_name_brings_its_group_its_groups_and_its_home() {
        let nginx = who("nginx").unwrap();
        assert_eq!((nginx.uid, nginx.gid), (101, 102));
        assert_eq!(nginx.groups, [102, 4, 110]);
        assert_eq!(nginx.home, "/var/nginx");
    }

    #[test]
    fn a_group_given_by_hand_replaces_all_others() {
        let nginx = who("nginx:ssl").unwrap();
        assert_eq!((nginx.gid, nginx.groups), (110, vec![110]));
        assert_eq!(who("nginx:7777").unwrap().gid, 7777);
    }

    #[test]
    fn numbers_need_no_entry() {
        let user = who("4242").unwrap();
        assert_eq!((user.uid, user.gid), (4242, 0));
        assert_eq!(user.home, "/");
    }

    #[test]
    fn errors_are_dockers_sentences() {
        insta::assert_snapshot!(who("bob").unwrap_err(), @"unable to find user bob: no matching entries in passwd file");
        insta::assert_snapshot!(who("root:wheel").unwrap_err(), @"unable to find group wheel: no matching entries in group file");
        insta::assert_snapshot!(who("4294967295").unwrap_err(), @"uids and gids must be in range 0-2147483647: 4294967295");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(
            name in ".{0,20}", passwd in ".{0,200}", group in ".{0,200}",
        ) {
            let _ = resolve(&User::named(name), &passwd, &group);
        }

        #[test]
        fn every_number_in_range_is_itself(uid in 0..=MAX_ID, gid in 0..=MAX_ID) {
            let user = User::named(format!("{uid}:{gid}"));
            let found = resolve(&user, "", "").unwrap();
            prop_assert_eq!((found.uid, found.gid), (uid, gid));
        }
    }
}
