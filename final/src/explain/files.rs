//! Where the container's files come from: layers, what it changed in them,
//! and what is mounted on top.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::read;
use crate::engine::Engine;
use crate::engine::containers::record::Record;
use crate::engine::error::{Error, Result};

/// The stack of directories that is the container's root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Root {
    /// Where the stack is mounted.
    pub merged: PathBuf,
    /// The writable directory, uppermost.
    pub upper: PathBuf,
    /// Where overlayfs prepares a change before it shows.
    pub work: PathBuf,
    /// The image's layers, uppermost first.
    pub layers: Vec<Layer>,
    /// Bytes in the writable directory.
    pub written: u64,
    /// Files of the image that were copied up because they were written to.
    pub copied_up: Vec<CopiedUp>,
    /// Paths that were added, changed or deleted.
    pub changes: usize,
}

/// A read-only layer of the image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Layer {
    /// The digest of its uncompressed tar.
    #[serde(rename = "DiffID")]
    pub diff_id: String,
    /// The directory that it was unpacked to.
    pub directory: PathBuf,
    /// The instruction that made it, if the image tells.
    pub created_by: String,
    /// Bytes in it.
    pub size: u64,
}

/// A file that was copied up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CopiedUp {
    /// As the container sees it.
    pub path: PathBuf,
    /// Its size now.
    pub bytes: u64,
}

/// A line of `/proc/PID/mountinfo`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Mount {
    /// Where, as the container sees it.
    pub target: String,
    /// The kind of file system.
    pub kind: String,
    /// The device, or whatever the file system calls itself.
    pub source: String,
    /// Which directory of that file system.
    pub root: String,
    /// `rw`, `nosuid`…
    pub options: String,
    /// Whether mounts made on one side show on the other: `private`,
    /// `shared`, `slave`.
    pub propagation: String,
    /// The volume that it is, or the path on the host that was asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub volume: Option<String>,
}

impl Engine {
    /// The stack of layers and what the container did to it. One that never
    /// started has no writable layer yet.
    pub(super) fn explain_root(&self, record: &Record) -> Result<Root> {
        let merged =
            self.snapshots.merged(&record.id).map_err(Error::internal)?;
        let root = Root {
            upper: merged.with_file_name("diff"),
            work: merged.with_file_name("work"),
            merged,
            layers: self.explain_layers(record),
            written: 0,
            copied_up: Vec::new(),
            changes: 0,
        };
        match self.snapshots.directories(&record.id) {
            Err(overlay_cow::Error::NoSuchLayer { .. }) => Ok(root),
            Err(error) => Err(Error::internal(error)),
            Ok(_) => self.explain_changes(&record.id, root),
        }
    }

    fn explain_changes(&self, id: &str, root: Root) -> Result<Root> {
        let snapshots = &self.snapshots;
        let copied = snapshots.copied_up(id).map_err(Error::internal)?;
        let changes = snapshots.list_changes(id).map_err(Error::internal)?;
        let usage = snapshots.usage(id).map_err(Error::internal)?;
        let copied = copied.into_iter();
        let copied_up = copied
            .map(|it| CopiedUp { path: it.path, bytes: it.bytes })
            .collect();
        let (written, changes) = (usage.bytes, changes.len());
        Ok(Root { written, copied_up, changes, ..root })
    }

    fn explain_layers(&self, record: &Record) -> Vec<Layer> {
        let image = self.store.resolve(&record.image);
        let history =
            image.map(|it| it.config.history.clone()).unwrap_or_default();
        // An entry that changed no file, such as ENV, has no layer.
        let mut makers = history.into_iter().filter(|it| !it.empty_layer);
        let mut layers: Vec<Layer> = record
            .own
            .layers
            .iter()
            .map(|layer| Layer {
                diff_id: layer.to_string(),
                directory: self.store.layer_dir(layer),
                created_by: makers
                    .next()
                    .and_then(|it| it.created_by)
                    .unwrap_or_default(),
                size: self.store.layer(layer).map_or(0, |it| it.size),
            })
            .collect();
        layers.reverse();
        layers
    }
}

/// What the process sees mounted.
pub(super) fn mounts(pid: i32, record: &Record) -> Vec<Mount> {
    let text = read(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    let mut mounts: Vec<Mount> = text.lines().filter_map(parse).collect();
    for mount in &mut mounts {
        let mut points = record.own.claims.iter().map(|it| &it.point);
        let point = points.find(|it| it.destination == mount.target);
        mount.volume = point.map(|it| match it.name.as_str() {
            "" => it.source.clone(),
            name => name.to_owned(),
        });
    }
    mounts
}

/// `36 35 98:0 /root /target rw,noatime master:1 - ext3 /dev/root rw` (see
/// proc_pid_mountinfo(5)).
fn parse(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ').skip(3);
    let mut after = after.split(' ');
    let root = unescape(before.next()?);
    let target = unescape(before.next()?);
    let options = before.next()?.to_owned();
    let peers: Vec<&str> =
        before.filter_map(|it| it.split(':').next()).collect();
    Some(Mount {
        root,
        target,
        options,
        propagation: propagation(&peers).to_owned(),
        kind: after.next()?.to_owned(),
        source: unescape(after.next()?),
        volume: None,
    })
}

fn propagation(tags: &[&str]) -> &'static str {
    match (tags.contains(&"shared"), tags.contains(&"master")) {
        (true, true) => "shared, slave",
        (true, false) => "shared",
        (false, true) => "slave",
        (false, false) => "private",
    }
}

/// Blanks and line ends in paths are written in octal.
fn unescape(text: &str) -> String {
    let plain = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n")];
    let text = plain
        .iter()
        .fold(text.to_owned(), |text, (code, it)| text.replace(code, it));
    text.replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_mountinfo_is_taken_apart() {
        let line = "717 716 0:22 /var/lib\\040x /data ro,nosuid shared:3 \
                    master:9 - ext4 /dev/vda rw,errors=remount-ro";
        insta::assert_json_snapshot!(parse(line), @r#"
        {
          "Target": "/data",
          "Kind": "ext4",
          "Source": "/dev/vda",
          "Root": "/var/lib x",
          "Options": "ro,nosuid",
          "Propagation": "shared, slave"
        }
        "#);
    }

    #[test]
    fn a_mount_without_peers_is_private() {
        let line = "36 35 0:5 / /proc rw - proc proc rw";
        assert_eq!(parse(line).unwrap().propagation, "private");
        assert_eq!(parse("no mount"), None);
    }
}
