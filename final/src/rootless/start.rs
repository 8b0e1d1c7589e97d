//! From an ordinary user's process to root of its own namespaces.

use std::fs::DirBuilder;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;

use ::namespaces::UserMaps;
use anyhow::{Context, bail};
use ipnet::IpNet;
use rustix::mount::mount_bind;

use super::client::Keeper;
use super::{keeper, namespaces, uplink};
use crate::network;
use crate::shim::{Record, start_ticks};

/// The name of [`use_resolver`]'s file.
pub(super) const RESOLV_CONF: &str = "resolv.conf";

/// What an engine knows that has moved in.
#[derive(Debug)]
pub struct Rootless {
    /// Who has the host's network.
    pub keeper: Arc<Keeper>,
    /// Its process, if this one has started it and has to reap it.
    child: Option<Child>,
    /// Why all files belong to one user, if they do.
    alone: Option<String>,
    /// Why nothing outside could be reached from the beginning.
    isolated: Option<String>,
    /// Where [`uplink`] keeps what it started.
    dir: PathBuf,
    /// Subnets that the host has routes to. They cannot be seen from the
    /// engine's network, and a bridge with one of them would hide it.
    pub host_routes: Vec<IpNet>,
}

impl Rootless {
    /// What the user does not have here, as things are now.
    pub fn warnings(&self) -> Vec<String> {
        let mut all = Vec::from_iter(self.alone.clone());
        all.extend(self.isolated());
        if self.keeper.is_gone() {
            all.push(KEEPER_LOST.to_owned());
        }
        all
    }

    /// Why nothing outside can be reached, as things are now.
    pub fn isolated(&self) -> Option<String> {
        self.isolated.clone().or_else(|| uplink::lost(&self.dir))
    }

    /// Logs it when the way out or the keeper is lost while the daemon runs.
    /// Nobody would notice before some program complains about a name it
    /// cannot resolve, or some client about a closed port.
    pub fn watch(&mut self) {
        let dir = self.dir.clone();
        in_background("skiff-uplink", move || {
            uplink::wait(&dir);
            if let Some(lost) = uplink::lost(&dir) {
                tracing::warn!("{lost}");
            }
        });
        let keeper = Arc::clone(&self.keeper);
        let child = self.child.take();
        in_background("skiff-keeper", move || {
            if keeper.wait().is_ok() {
                tracing::warn!("{KEEPER_LOST}");
            }
            let _ = child.map(|mut it| it.wait());
        });
    }
}

const KEEPER_LOST: &str = "the process that keeps the published ports of \
     this user's containers has ended, and they are closed: restart the \
     daemon, which opens them again";

/// Without the thread `skiff info` still says what it would have logged.
fn in_background(name: &str, work: impl FnOnce() + Send + 'static) {
    let spawn = std::thread::Builder::new().name(name.into());
    let _ = spawn.spawn(work);
}

/// Moves this process, which must have one thread, into the namespaces of
/// the engine whose directories these are; makes them if there are none.
///
/// # Errors
/// A sentence that says what the host forbids and how to allow it.
pub fn enter(data_root: &Path, exec_root: &Path) -> anyhow::Result<Rootless> {
    private_directory(exec_root)?;
    let maps = UserMaps::of_this_user();
    let found = Keeper::find(exec_root).with_context(|| {
        format!("cannot ask the keeper in {}", exec_root.display())
    })?;
    let (keeper, child) = match found {
        Some(keeper) => (keeper, None),
        None => {
            let orphan = orphan(data_root);
            let (keeper, child) = start_keeper(exec_root, orphan, &maps)?;
            (keeper, Some(child))
        }
    };
    let alone = maps.alone.map(|why| {
        format!(
            "all files and processes of containers belong to one user, and \
             programs that change to another one fail, because {why}"
        )
    });
    let uplink = uplink::ensure(exec_root, &keeper);
    let isolated = uplink.as_ref().err().map(|why| {
        format!(
            "containers reach each other and published ports work, but \
             nothing outside can be reached, no registry either: {why}"
        )
    });
    let host_routes = network::routes().unwrap_or_default();
    namespaces::join(keeper.pid())?;
    if uplink.is_ok() {
        use_resolver(exec_root)?;
    }
    let dir = exec_root.to_owned();
    let keeper = Arc::new(keeper);
    Ok(Rootless { keeper, child, alone, isolated, dir, host_routes })
}

/// Makes a directory that only this user may enter. In `/tmp` somebody else
/// may have been there first, and would then own our sockets.
///
/// # Errors
/// That it cannot be made, or is not this user's own.
pub fn private_directory(dir: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.with_context(|| format!("cannot make {}", dir.display()))?;
    let meta = std::fs::symlink_metadata(dir)
        .with_context(|| format!("cannot look at {}", dir.display()))?;
    let own = rustix::process::geteuid().as_raw();
    if !meta.is_dir() || meta.uid() != own || meta.mode() & 0o022 != 0 {
        bail!(
            "{} belongs to another user or can be written by one: set \
             XDG_RUNTIME_DIR to a directory of your own",
            dir.display()
        );
    }
    Ok(())
}

/// A shim whose keeper was killed: its namespaces are those that the
/// engine's containers live in.
fn orphan(data_root: &Path) -> Option<i32> {
    let all = std::fs::read_dir(data_root.join("containers")).ok()?;
    all.flatten()
        .filter_map(|it| Record::load(&it.path()).ok())
        .find(|it| start_ticks(it.pid) == Some(it.start_ticks))
        .map(|it| it.shim_pid)
}

/// Starts a keeper, and does for it what only a process outside of its user
/// namespace can do.
fn start_keeper(
    dir: &Path,
    adopt: Option<i32>,
    maps: &UserMaps,
) -> anyhow::Result<(Keeper, Child)> {
    let log = dir.join(keeper::LOG);
    let log = std::fs::File::create(&log)
        .with_context(|| format!("cannot make {}", log.display()))?;
    let mut child = keeper::command(dir, adopt)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .current_dir("/")
        .spawn()
        .context("cannot start the keeper")?;
    let pid = child.id().cast_signed();
    let mut says = BufReader::new(child.stdout.take().context("no pipe")?);
    let mut hears = child.stdin.take().context("no pipe")?;
    let mut next = || -> anyhow::Result<String> {
        let mut line = String::new();
        says.read_line(&mut line).context("cannot hear the keeper")?;
        Ok(line.trim().to_owned())
    };
    let mut talk = || -> anyhow::Result<()> {
        let mut word = next()?;
        if word == "users" {
            maps.write(pid)?;
            writeln!(hears, "mapped")?;
            word = next()?;
        }
        match word.as_str() {
            "ready" => Ok(()),
            "" => bail!("the keeper ended without a word"),
            why => bail!("{why}"),
        }
    };
    if let Err(error) = talk() {
        let _ = child.kill();
        let _ = child.wait();
        return Err(error);
    }
    let keeper = Keeper::find(dir)?.context("the keeper ended at once")?;
    Ok((keeper, child))
}

/// Puts a resolv.conf with the way out's resolver over the host's, for our
/// mount namespace only: the host's may name 127.0.0.53, which is another
/// loopback here.
fn use_resolver(dir: &Path) -> anyhow::Result<()> {
    let ours = dir.join(RESOLV_CONF);
    let hosts = Path::new("/etc/resolv.conf");
    let same = |one: &Path, other: &Path| {
        let id = |it: &Path| it.metadata().ok().map(|it| (it.dev(), it.ino()));
        id(one).is_some() && id(one) == id(other)
    };
    if same(&ours, hosts) {
        return Ok(());
    }
    let text = std::fs::read_to_string(hosts).unwrap_or_default();
    let kept = text.lines().filter(|it| !it.starts_with("nameserver"));
    let mut text = format!("nameserver {}\n", uplink::RESOLVER);
    text.extend(kept.flat_map(|it| [it, "\n"]));
    std::fs::write(&ours, text)
        .with_context(|| format!("cannot write {}", ours.display()))?;
    // Mostly a link. A host without the file has a resolver all the same,
    // at 127.0.0.1, and there is nothing to put ours on.
    match hosts.canonicalize() {
        Ok(place) => mount_bind(&ours, &place)
            .with_context(|| format!("cannot mount on {}", place.display())),
        Err(_) => Ok(()),
    }
}
