//! What a user asks to be mounted, before anything is looked up.
//!
//! `-v`, `--mount`, Compose and the SDKs all end here: whatever the words
//! were, the daemon sees this record and checks it once more, for the next
//! client may be a hand-written `curl`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One mount as `-v` and `--mount` describe it; the JSON is that of
/// `HostConfig.Mounts` in the Docker Engine API.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MountSpec {
    /// Volume, bind or tmpfs.
    #[serde(rename = "Type")]
    pub kind: MountKind,
    /// Name of a volume, or a path on the host. Empty for an anonymous
    /// volume and for tmpfs.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Where it appears in the container, an absolute path.
    pub target: String,
    /// Whether the container may only read.
    #[serde(skip_serializing_if = "is_default")]
    pub read_only: bool,
    /// `consistent`, `cached` or `delegated`: hints for Docker on a Mac.
    /// They are checked and mean nothing on Linux.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub consistency: String,
    /// Only for binds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind_options: Option<BindOptions>,
    /// Only for volumes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_options: Option<VolumeOptions>,
    /// Only for tmpfs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tmpfs_options: Option<TmpfsOptions>,
}

/// The kinds of mounts.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum MountKind {
    /// A directory that the engine keeps, by name.
    #[default]
    Volume,
    /// A path of the host.
    Bind,
    /// Memory.
    Tmpfs,
}

impl MountKind {
    /// The word in flags and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Volume => "volume",
            Self::Bind => "bind",
            Self::Tmpfs => "tmpfs",
        }
    }
}

/// What only a bind mount can have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct BindOptions {
    /// `rprivate` (the default), `private`, `rslave`, `slave`, `rshared` or
    /// `shared`: whether mounts made later below it travel.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub propagation: String,
    /// What is mounted below the source on the host stays out.
    #[serde(skip_serializing_if = "is_default")]
    pub non_recursive: bool,
    /// A source that does not exist becomes an empty directory, as `-v`
    /// does; `--mount` refuses instead.
    #[serde(skip_serializing_if = "is_default")]
    pub create_mountpoint: bool,
    /// `ReadOnly` is meant for the mount itself only, not for those below.
    #[serde(skip_serializing_if = "is_default")]
    pub read_only_non_recursive: bool,
    /// `ReadOnly` must hold for the mounts below too, or it is an error.
    #[serde(skip_serializing_if = "is_default")]
    pub read_only_force_recursive: bool,
}

/// What only a volume can have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct VolumeOptions {
    /// Do not fill an empty volume from the image.
    #[serde(skip_serializing_if = "is_default")]
    pub no_copy: bool,
    /// Labels for a volume that is made by this.
    #[serde(
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_is_empty"
    )]
    pub labels: BTreeMap<String, String>,
    /// Which part of the volume to mount; relative, it stays inside.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subpath: String,
    /// Driver of a volume that is made by this; only `local` is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver_config: Option<DriverConfig>,
}

/// Which driver makes the volume, and its options.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DriverConfig {
    /// `local` or empty.
    pub name: String,
    /// `type`, `device` and `o`, as in `docker volume create --opt`.
    #[serde(deserialize_with = "null_is_empty")]
    pub options: BTreeMap<String, String>,
}

/// What only a tmpfs can have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TmpfsOptions {
    /// Bytes; 0 is the kernel's default, half of the RAM.
    #[serde(skip_serializing_if = "is_default")]
    pub size_bytes: i64,
    /// Permission bits of its root; 0 is 1777, as of `/tmp`.
    #[serde(skip_serializing_if = "is_default")]
    pub mode: u32,
    /// More options: a key, or a key and a value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<Vec<String>>,
}

impl MountSpec {
    /// The options of a bind, made if there are none yet.
    pub fn bind(&mut self) -> &mut BindOptions {
        self.bind_options.get_or_insert_default()
    }

    /// The options of a volume, made if there are none yet.
    pub fn volume(&mut self) -> &mut VolumeOptions {
        self.volume_options.get_or_insert_default()
    }

    /// The options of a tmpfs, made if there are none yet.
    pub fn tmpfs(&mut self) -> &mut TmpfsOptions {
        self.tmpfs_options.get_or_insert_default()
    }

    /// What is wrong with it, as far as that can be said without looking at
    /// the host.
    ///
    /// # Errors
    /// Docker's sentence, ready to be shown.
    pub fn validate(&self) -> Result<(), String> {
        self.problem().map_or(Ok(()), |why| {
            let kind = self.kind.name();
            Err(format!("invalid mount config for type \"{kind}\": {why}"))
        })
    }

    /// The first thing that is wrong, without the words around it.
    fn problem(&self) -> Option<String> {
        if self.target.is_empty() {
            return Some("field Target must not be empty".into());
        }
        if !self.target.starts_with('/') {
            return Some(not_absolute(&self.target));
        }
        if clean_target(&self.target) == "/" {
            return Some(
                "invalid specification: destination can't be '/'".into(),
            );
        }
        let foreign = [
            (self.bind_options.is_some(), MountKind::Bind, "BindOptions"),
            (self.volume_options.is_some(), MountKind::Volume, "VolumeOptions"),
            (self.tmpfs_options.is_some(), MountKind::Tmpfs, "TmpfsOptions"),
        ];
        for (is_set, kind, field) in foreign {
            if is_set && kind != self.kind {
                return Some(format!("field {field} must not be specified"));
            }
        }
        match self.kind {
            MountKind::Bind => self.bind_problem(),
            MountKind::Volume => self.volume_problem(),
            MountKind::Tmpfs => (!self.source.is_empty())
                .then(|| "field Source must not be specified".into()),
        }
    }

    /// A path must be absolute: the daemon has another working directory
    /// than whoever typed it.
    fn bind_problem(&self) -> Option<String> {
        if self.source.is_empty() {
            return Some("field Source must not be empty".into());
        }
        if !self.source.starts_with('/') {
            return Some(not_absolute(&self.source));
        }
        let options = self.bind_options.as_ref()?;
        let known = PROPAGATIONS.contains(&options.propagation.as_str());
        if !known && !options.propagation.is_empty() {
            return Some(format!(
                "invalid propagation mode: {}",
                options.propagation
            ));
        }
        let forced = options.read_only_force_recursive;
        if forced && options.read_only_non_recursive {
            return Some(
                "mode ReadOnlyNonRecursive and ReadOnlyForceRecursive are \
                 mutually exclusive"
                    .into(),
            );
        }
        None
    }

    /// What only makes sense for a volume that can be found again.
    fn volume_problem(&self) -> Option<String> {
        let subpath =
            self.volume_options.as_ref().map_or("", |o| o.subpath.as_str());
        if self.source.is_empty() {
            if self.read_only {
                return Some(
                    "must not set ReadOnly mode when using anonymous volumes"
                        .into(),
                );
            }
            if !subpath.is_empty() {
                return Some(
                    "must not set Subpath when using anonymous volumes".into(),
                );
            }
        }
        if subpath.starts_with('/') || subpath.split('/').any(|p| p == "..") {
            return Some(format!(
                "subpath must be a relative path within the volume, not \
                 {subpath:?}"
            ));
        }
        None
    }
}

pub(crate) const PROPAGATIONS: [&str; 6] =
    ["private", "rprivate", "slave", "rslave", "shared", "rshared"];

fn not_absolute(path: &str) -> String {
    format!("invalid mount path: '{path}' mount path must be absolute")
}

/// The path without doubled slashes, `.` and `..`, so that `/data` and
/// `/x/../data/` are seen to be one place.
pub(crate) fn clean_target(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Go writes an empty map as `null`.
fn null_is_empty<'de, D>(from: D) -> Result<BTreeMap<String, String>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    let map: Option<BTreeMap<String, String>> = Deserialize::deserialize(from)?;
    Ok(map.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ways_to_write_a_place_are_one_place() {
        assert_eq!(clean_target("/a//b/./c/../d/"), "/a/b/d");
        assert_eq!(clean_target("/../.."), "/");
    }

    #[test]
    fn the_json_is_dockers() {
        let json = r#"{"Type":"volume","Source":"db","Target":"/data",
            "VolumeOptions":{"NoCopy":true,"Labels":null,
            "DriverConfig":{"Name":"local","Options":null}}}"#;
        let spec: MountSpec = serde_json::from_str(json).unwrap();
        assert_eq!(spec.kind, MountKind::Volume);
        assert!(spec.volume_options.unwrap().no_copy);
        let tmpfs = r#"{"Type":"tmpfs","Target":"/t",
            "TmpfsOptions":{"SizeBytes":1048576,"Mode":448}}"#;
        let spec: MountSpec = serde_json::from_str(tmpfs).unwrap();
        assert_eq!(spec.tmpfs_options.unwrap().mode, 0o700);
    }

    #[test]
    fn what_cannot_be_mounted_is_refused_in_dockers_words() {
        let spec = |kind, source: &str, target: &str| MountSpec {
            kind,
            source: source.into(),
            target: target.into(),
            ..MountSpec::default()
        };
        let mut subpath = spec(MountKind::Volume, "db", "/data");
        subpath.volume().subpath = "../../etc".into();
        let mut mixed = spec(MountKind::Tmpfs, "", "/data");
        mixed.bind().propagation = "shared".into();
        let mut anonymous = spec(MountKind::Volume, "", "/data");
        anonymous.read_only = true;
        let all = [
            spec(MountKind::Volume, "db", ""),
            spec(MountKind::Volume, "db", "data"),
            spec(MountKind::Volume, "db", "/x/.."),
            spec(MountKind::Bind, "", "/data"),
            spec(MountKind::Bind, "data", "/data"),
            spec(MountKind::Tmpfs, "db", "/data"),
            subpath,
            mixed,
            anonymous,
        ];
        let text: Vec<_> =
            all.iter().map(|spec| spec.validate().unwrap_err()).collect();
        insta::assert_snapshot!(text.join("\n"));
    }
}
