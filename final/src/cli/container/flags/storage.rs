//! Volumes, bind mounts and tmpfs.

use std::path::{Component, Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value, json};

use super::Body;

/// Flags about files.
#[derive(Debug, Clone, Args)]
pub(crate) struct StorageFlags {
    /// Mount a volume or a directory, as data:/var/lib/x or /src:/app:ro;
    /// may repeat
    #[arg(short, long, value_name = "[SOURCE:]TARGET[:OPTIONS]")]
    volume: Vec<String>,
    /// Mount, as type=bind,source=/data,target=/app/data; may repeat
    #[arg(long, value_name = "FIELDS",
        value_parser = volumes::parse_mount_flag)]
    mount: Vec<volumes::MountSpec>,
    /// Mount memory, as /run:size=64m; may repeat
    #[arg(long, value_name = "TARGET[:OPTIONS]")]
    tmpfs: Vec<String>,
    /// Mount what another container has mounted; may repeat
    #[arg(long, value_name = "CONTAINER")]
    volumes_from: Vec<String>,
    /// Driver of the volumes that are made: only local
    #[arg(long, value_name = "DRIVER")]
    volume_driver: Option<String>,
    /// Nothing of the image can be changed
    #[arg(long)]
    read_only: bool,
    /// Option of the storage driver, as size=10G; may repeat
    #[arg(long, value_name = "KEY=VALUE")]
    storage_opt: Vec<String>,
}

impl StorageFlags {
    pub(super) fn add(&self, body: &mut Body) -> anyhow::Result<()> {
        let mut binds = Vec::new();
        let mut anonymous = Map::new();
        for text in &self.volume {
            // Whether it makes sense is for the engine to say.
            let text = absolute_source(text)?;
            match text.contains(':') {
                true => binds.push(text),
                false => drop(anonymous.insert(text, json!({}))),
            }
        }
        let tmpfs = self.tmpfs.iter().map(|text| {
            let (target, options) = text.split_once(':').unwrap_or((text, ""));
            (target.to_owned(), Value::from(options))
        });
        if !anonymous.is_empty() {
            body.config("Volumes", anonymous);
        }
        body.host("Binds", binds);
        body.host("Mounts", self.mounts()?);
        body.host("Tmpfs", tmpfs.collect::<Map<_, _>>());
        body.host("VolumesFrom", self.volumes_from.clone());
        if let Some(driver) = &self.volume_driver {
            body.host("VolumeDriver", driver.clone());
        }
        body.host("ReadonlyRootfs", self.read_only);
        if !self.storage_opt.is_empty() {
            body.host("StorageOpt", super::labels(&self.storage_opt));
        }
        Ok(())
    }

    fn mounts(&self) -> anyhow::Result<Vec<Value>> {
        let mut mounts = Vec::new();
        for mount in &self.mount {
            let mut mount = mount.clone();
            if mount.kind == volumes::MountKind::Bind
                && !mount.source.is_empty()
            {
                mount.source = absolute(&mount.source)?;
            }
            mounts.push(serde_json::to_value(mount)?);
        }
        Ok(mounts)
    }
}

/// `./data:/x` with the path that it means here. The engine is another
/// process with another directory, maybe on another machine.
fn absolute_source(text: &str) -> anyhow::Result<String> {
    let is_path = text.starts_with("./")
        || text.starts_with("../")
        || text.starts_with(".:")
        || text.starts_with("..:")
        || text.starts_with('~');
    match text.split_once(':') {
        Some((source, rest)) if is_path => {
            Ok(format!("{}:{rest}", absolute(source)?))
        }
        _ => Ok(text.to_owned()),
    }
}

/// A path from the root, without `.` and `..`; links are not resolved.
fn absolute(path: &str) -> anyhow::Result<String> {
    let path = match path.strip_prefix("~/") {
        Some(rest) => std::env::home_dir()
            .ok_or_else(|| anyhow::anyhow!("no home directory for {path}"))?
            .join(rest),
        None => std::env::current_dir()?.join(path),
    };
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(clean.pop()),
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    let text = |path: &Path| path.to_str().map(str::to_owned);
    text(&clean).ok_or_else(|| {
        anyhow::anyhow!("{} is not valid UTF-8", clean.display())
    })
}
