//! `--tmpfs /run:size=64m,exec`: a path and options of mount(8).
//!
//! A tmpfs lives in the page cache and in swap, on no disk. What is in it is
//! charged to the memory of the container that wrote it: a limit of 64 MB on
//! the container is one on its tmpfs as well, and going beyond it ends in
//! the OOM killer and not in "no space left on device". See tmpfs(5).

use std::path::PathBuf;

use namespaces::{Mount, Source};

use crate::spec::{TmpfsOptions, clean_target};

/// A tmpfs at `target` with `options` (an entry of `HostConfig.Tmpfs`).
///
/// Unless told otherwise nothing on it can be executed, is setuid or a
/// device: it starts empty, so what is there came from the container.
///
/// # Errors
/// Docker's sentence for an option that tmpfs does not have.
pub fn tmpfs_mount(target: &str, options: &str) -> Result<Mount, String> {
    if !target.starts_with('/') {
        return Err(format!(
            "invalid mount path: '{target}' mount path must be absolute"
        ));
    }
    let mut mount = Mount::new(
        PathBuf::from(clean_target(target)),
        Source::Tmpfs { options: Vec::new() },
    );
    let flags = &mut mount.options;
    flags.noexec = true;
    flags.nosuid = true;
    flags.nodev = true;
    let mut data = Vec::new();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => flags.read_only = true,
            "rw" => flags.read_only = false,
            "exec" => flags.noexec = false,
            "noexec" => flags.noexec = true,
            "suid" => flags.nosuid = false,
            "nosuid" => flags.nosuid = true,
            "dev" => flags.nodev = false,
            "nodev" => flags.nodev = true,
            option if is_data(option) => data.push(option.to_owned()),
            _ => return Err(format!("invalid tmpfs option [{option:?}]")),
        }
    }
    mount.source = Source::Tmpfs { options: data };
    Ok(mount)
}

/// Options that tmpfs(5) itself takes.
fn is_data(option: &str) -> bool {
    let Some((key, value)) = option.split_once('=') else { return false };
    matches!(
        key,
        "size" | "nr_blocks" | "nr_inodes" | "mode" | "uid" | "gid" | "mpol"
    ) && !value.is_empty()
}

/// The options of `--mount type=tmpfs` in the form of `--tmpfs`.
pub(crate) fn as_text(options: &TmpfsOptions, read_only: bool) -> String {
    let mut words = Vec::new();
    if read_only {
        words.push("ro".to_owned());
    }
    if options.size_bytes > 0 {
        words.push(format!("size={}", options.size_bytes));
    }
    if options.mode != 0 {
        words.push(format!("mode={:o}", options.mode));
    }
    words.extend(options.options.iter().map(|pair| pair.join("=")));
    words.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tmpfs_is_harmless_unless_told_otherwise() {
        let mount = tmpfs_mount("/run/", "size=64m,exec").unwrap();
        assert_eq!(mount.target, PathBuf::from("/run"));
        assert!(mount.options.nosuid && !mount.options.noexec);
        let Source::Tmpfs { options } = &mount.source else { panic!() };
        assert_eq!(options, &["size=64m"]);
    }

    #[test]
    fn options_that_tmpfs_does_not_have_are_named() {
        let error = tmpfs_mount("/run", "size=1m,colour=red").unwrap_err();
        assert_eq!(error, "invalid tmpfs option [\"colour=red\"]");
    }
}
