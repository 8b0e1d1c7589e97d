//! The flags of `run` that this step adds.
//!
//! They travel to the daemon as text and are parsed there, so that a client
//! in another language needs no parser of its own.

use std::path::Path;

use clap::Args;
use namespaces::Mount;
use serde::{Deserialize, Serialize};

use crate::{
    Error, MountKind, MountSpec, parse_mount_flag, parse_volume_flag,
    tmpfs_mount,
};

/// What `run` takes.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
pub struct MountArgs {
    /// Mount a volume or a path of the host, as in db:/data or /srv:/data:ro
    #[arg(short, long = "volume", value_name = "SOURCE:TARGET")]
    pub volumes: Vec<String>,
    /// The same, spelt out: type=bind,source=/srv,target=/data,readonly
    #[arg(long = "mount", value_name = "KEY=VALUE,…")]
    pub mounts: Vec<String>,
    /// Mount memory, as in /run or /run:size=64m
    #[arg(long, value_name = "TARGET:OPTIONS")]
    pub tmpfs: Vec<String>,
}

impl MountArgs {
    /// The wishes. A path that begins with a dot is meant from `cwd`, the
    /// directory in which the user typed it.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the flag and says what is wrong with it.
    pub fn specs(&self, cwd: &Path) -> Result<Vec<MountSpec>, Error> {
        let short = self.volumes.iter().map(|text| {
            parse_volume_flag(&absolute(text, cwd))
                .map_err(|why| invalid("-v", text, &why))
        });
        let long = self.mounts.iter().map(|text| {
            let spec = parse_mount_flag(text);
            let mut spec =
                spec.map_err(|why| invalid("--mount", text, &why))?;
            if spec.kind == MountKind::Bind {
                spec.source = absolute(&spec.source, cwd);
            }
            Ok(spec)
        });
        short.chain(long).collect()
    }

    /// The mounts of `--tmpfs`, which need nothing on the host.
    ///
    /// # Errors
    /// As [`MountArgs::specs`].
    pub fn tmpfs_mounts(&self) -> Result<Vec<Mount>, Error> {
        let all = self.tmpfs.iter();
        all.map(|text| {
            let (target, options) = text.split_once(':').unwrap_or((text, ""));
            tmpfs_mount(target, options)
                .map_err(|why| invalid("--tmpfs", text, &why))
        })
        .collect()
    }
}

/// Names the flag and what was typed: a command may have ten of them.
fn invalid(flag: &str, text: &str, why: &str) -> Error {
    Error::Invalid(format!("invalid argument {text:?} for {flag}: {why}"))
}

/// `./data` and `../data` are paths; `data` alone is a volume's name.
fn absolute(source: &str, cwd: &Path) -> String {
    let relative = ["./", "../", ".:", "..:"];
    let is_relative = relative.iter().any(|start| source.starts_with(start))
        || matches!(source, "." | "..");
    if is_relative {
        format!("{}/{source}", cwd.display())
    } else {
        source.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_means_the_directory_of_the_user() {
        let args = MountArgs {
            volumes: vec!["./a:/a".into(), "b:/b".into(), ".:/c".into()],
            mounts: vec!["type=bind,src=../d,dst=/d".into()],
            tmpfs: vec!["/run:size=1m".into()],
        };
        let specs = args.specs(Path::new("/home/me")).unwrap();
        let sources: Vec<_> =
            specs.iter().map(|spec| spec.source.as_str()).collect();
        assert_eq!(
            sources,
            ["/home/me/./a", "b", "/home/me/.", "/home/me/../d"]
        );
        assert_eq!(args.tmpfs_mounts().unwrap().len(), 1);
    }

    #[test]
    fn an_error_names_the_flag() {
        let args =
            MountArgs { volumes: vec!["a:b".into()], ..MountArgs::default() };
        let error = args.specs(Path::new("/")).unwrap_err().to_string();
        assert!(error.starts_with(r#"invalid argument "a:b" for -v: "#));
    }
}
