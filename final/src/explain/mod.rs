//! What a container *is*: `GET /containers/NAME/explain`.
//!
//! `inspect` repeats what was asked for; this looks at what the kernel has.
//! There is no object called "container" in it. There is a process, and this
//! gathers all that makes it one:
//!
//! ```text
//! process.rs   PIDs, namespaces, capabilities, filter    chapter 2
//! limits.rs    its control group's files                 chapter 3
//! files.rs     layers, what was copied up, mounts        chapters 4 to 6
//! cables.rs    interfaces, bridges, ports                the finale
//! table.rs     all that for people
//! ```
//!
//! It is an endpoint and not a look of the command into `/proc`, since the
//! container may be on another machine than the command.

mod cables;
mod files;
mod limits;
mod process;
mod table;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use cables::{Cable, Network, Port};
pub use files::{CopiedUp, Layer, Mount, Root};
pub use limits::{Control, Group};
pub use process::{IdRange, Member, Namespace, Process, Rights};

use crate::engine::Engine;
use crate::engine::containers::Container;
use crate::engine::containers::record::Record;
use crate::engine::error::Result;
use crate::shim;

/// All of it. What only exists while the container runs is empty otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Explanation {
    /// The container's ID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The image as it was typed.
    pub image: String,
    /// `running`, `exited`…
    pub status: String,
    /// Its first process; none if it does not run.
    pub process: Option<Process>,
    /// The eight kinds of namespaces.
    pub namespaces: Vec<Namespace>,
    /// What its first process may do.
    pub rights: Option<Rights>,
    /// Its control group.
    pub group: Option<Group>,
    /// Where its root directory comes from.
    pub root: Root,
    /// What it sees mounted.
    pub mounts: Vec<Mount>,
    /// How it is connected.
    pub network: Network,
    /// The engine's own files about it.
    pub files: Vec<File>,
}

/// A file of the engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct File {
    /// Where it is.
    pub path: PathBuf,
    /// What it is for.
    pub purpose: String,
}

impl Engine {
    /// What a container is made of, at this moment.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::engine::Error::NotFound), or what of its files cannot be read. A process
    /// that ends while it is looked at is a container that does not run.
    pub fn explain(&self, name: &str) -> Result<Explanation> {
        let container = self.containers.find(name)?;
        let record = container.record();
        let shim = match record.state.pid {
            0 => None,
            _ => shim::Record::load(&container.dir).ok(),
        };
        let group = match shim {
            None => None,
            Some(_) => limits::look(&container)?,
        };
        let members = group.as_ref().map(|it| it.members.as_slice());
        let process = shim.as_ref().and_then(|shim| {
            process::look(shim.pid, shim.shim_pid, members.unwrap_or(&[]))
        });
        let pid = process.as_ref().map(|it| it.pid);
        Ok(Explanation {
            id: record.id.clone(),
            name: record.short_name().to_owned(),
            image: record.config.image.clone(),
            status: record.state.status.name().to_owned(),
            namespaces: pid.map(process::namespaces).unwrap_or_default(),
            rights: pid.and_then(process::rights),
            mounts: pid
                .map(|pid| files::mounts(pid, &record))
                .unwrap_or_default(),
            process,
            group: group.map(|it| it.group),
            root: self.explain_root(&record)?,
            network: self.explain_network(&record),
            files: engine_files(&container, &record),
        })
    }
}

/// Those that are there now; most of a shim's go when it ends.
fn engine_files(container: &Container, record: &Record) -> Vec<File> {
    let dir = &container.dir;
    let all = [
        (dir.join("config.json"), "all that the engine knows of it"),
        (dir.join("spec.json"), "what the shim was told to make"),
        (dir.join("shim.json"), "what the shim made, and its PID"),
        (dir.join("shim.sock"), "by which the daemon talks to the shim"),
        (dir.join("exit.json"), "how the last run ended"),
        (PathBuf::from(&record.log_path), "what it printed"),
        (record.hostname_path.clone(), "is its /etc/hostname"),
        (record.hosts_path.clone(), "is its /etc/hosts"),
        (record.resolv_conf_path.clone(), "is its /etc/resolv.conf"),
    ];
    all.into_iter()
        .filter(|(path, _)| path.exists() && path.is_absolute())
        .map(|(path, purpose)| File { path, purpose: purpose.to_owned() })
        .collect()
}

/// A file of `/proc`; whoever it is about may be gone.
fn read(path: impl AsRef<std::path::Path>) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The value of a line like `NSpid:\t3482\t1`.
fn field<'a>(status: &'a str, key: &str) -> Option<&'a str> {
    let lines = status.lines();
    let mut values = lines.filter_map(|line| line.strip_prefix(key));
    values.find_map(|rest| rest.strip_prefix(':')).map(str::trim)
}
