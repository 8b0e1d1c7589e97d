//! User and group names of an image: `--chown=app:www-data`.
//!
//! Names are looked up in the image's own `/etc/passwd` and `/etc/group`;
//! the host's would be somebody else's numbers.

use super::rootpath::resolve;
use std::fs;
use std::path::Path;

/// Turns `user[:group]` into numbers.
pub(super) fn owner(root: &Path, text: &str) -> Result<(u32, u32), String> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let passwd = table(root, "etc/passwd");
    let groups = table(root, "etc/group");
    let fail = |id: &str, what: &str, name: &str| {
        format!(
            "unable to convert uid/gid chown string to host mapping: can't \
             find {id} for {what} {name}: no such {what}: {name} (in the \
             image's own /etc/{})",
            if id == "uid" { "passwd" } else { "group" }
        )
    };
    let entry = find(&passwd, user);
    let uid = user.parse().ok().or_else(|| number(entry, 2));
    let uid = uid.ok_or_else(|| fail("uid", "user", user))?;
    let gid = match group {
        Some(name) => {
            let found = number(find(&groups, name), 2);
            let gid = name.parse().ok().or(found);
            gid.ok_or_else(|| fail("gid", "group", name))?
        }
        // A user alone brings the group of the same name or number along.
        None => user
            .parse()
            .ok()
            .or_else(|| number(find(&groups, user), 2))
            .or_else(|| number(entry, 3))
            .ok_or_else(|| fail("gid", "group", user))?,
    };
    Ok((uid, gid))
}

/// A file of `:`-separated columns; an image without one has no names.
fn table(root: &Path, file: &str) -> Vec<Vec<String>> {
    let path = resolve(root, Path::new(file));
    let text = path.and_then(fs::read_to_string).unwrap_or_default();
    text.lines().map(|l| l.split(':').map(String::from).collect()).collect()
}

/// The row of a name. An empty name finds nothing, also in a broken file.
fn find<'a>(table: &'a [Vec<String>], name: &str) -> Option<&'a [String]> {
    let row = table.iter().find(|row| row[0] == name && !name.is_empty());
    row.map(Vec::as_slice)
}

/// A column as a number.
fn number(row: Option<&[String]>, column: usize) -> Option<u32> {
    row?.get(column)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_image_and_numbers_from_anywhere() {
        let root = tempfile::tempdir().unwrap();
        let etc = root.path().join("etc");
        fs::create_dir(&etc).unwrap();
        fs::write(etc.join("passwd"), "app:x:101:7:::\nwww:x:33:33:::\n")
            .unwrap();
        fs::write(etc.join("group"), "www:x:34:\nops:x:50:app\n").unwrap();
        let owner = |text| owner(root.path(), text);
        assert_eq!(owner("app"), Ok((101, 7)));
        assert_eq!(owner("www"), Ok((33, 34)));
        assert_eq!(owner("app:ops"), Ok((101, 50)));
        assert_eq!(owner("5"), Ok((5, 5)));
        assert_eq!(owner("5:6"), Ok((5, 6)));
        assert!(owner("nobody").unwrap_err().contains("user nobody"));
        assert!(owner("5:nogroup").unwrap_err().contains("/etc/group"));
    }
}
