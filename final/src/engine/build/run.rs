//! RUN: a container like any other, for one command.
//!
//! It gets a shim of its own, so there is one way to make a container, and
//! what holds for `docker run` (limits, seccomp, the ways out that are shut)
//! holds for a build. A build ends with its daemon; what is left of a RUN
//! then is removed by the next one, see [`sweep`].

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cgroups::Limits;
use cli_api::frames;
use layers::{ImageId, MountSource, RunMount, RunRequest, RunStep, Stream};
use namespaces::{Mount, Namespace, Process, Sandbox, Source, User};

use crate::engine::Engine;
use crate::engine::error::{Error, Result};
use crate::network::{self, AttachRequest};
use crate::shim::protocol::Attach;
use crate::shim::{Cgroup, Client, Spec, World};

/// How often a silent command is interrupted by the question whether anybody
/// still waits for it.
const LOOK_UP: Duration = Duration::from_millis(500);

/// What every RUN of a build may use.
#[derive(Debug, Clone, Default)]
pub struct RunLimits {
    /// Limits of its cgroup.
    pub cgroup: Limits,
    /// `--cgroup-parent`.
    pub cgroup_parent: Option<String>,
    /// `--shm-size`, in bytes.
    pub shm_size: Option<u64>,
    /// `--ulimit`.
    pub ulimits: Vec<namespaces::Rlimit>,
}

/// Runs the RUNs of one build.
pub struct Runner<'a> {
    engine: &'a Arc<Engine>,
    limits: RunLimits,
    /// See [`super::Request::hold_failed`].
    pub(super) hold_failed: bool,
    gone: &'a (dyn Fn() -> bool + Sync),
}

impl fmt::Debug for Runner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner").field("limits", &self.limits).finish()
    }
}

impl<'a> Runner<'a> {
    /// Runs RUNs with these limits until `gone` says that nobody waits for
    /// the result any more.
    pub fn new(
        engine: &'a Arc<Engine>,
        limits: RunLimits,
        gone: &'a (dyn Fn() -> bool + Sync),
    ) -> Self {
        Runner { engine, limits, hold_failed: false, gone }
    }
}

impl RunStep for Runner<'_> {
    fn run(
        &self,
        rootfs: &Path,
        step: &RunRequest,
        output: &mut dyn FnMut(Stream, &[u8]),
        stop: &(dyn Fn() -> bool + Sync),
    ) -> layers::Result<i32> {
        let room = Room::make(self.engine, &step.id).map_err(boxed)?;
        let code = self.run_in(&room, rootfs, step, output, stop);
        // The first error tells the story; the way back does what it can.
        let left = room.leave();
        let code = code.map_err(boxed)?;
        left.map_err(boxed)?;
        Ok(code)
    }

    /// Somebody opens a shell in it, with the mounts, and removes the image
    /// when they have seen enough.
    fn look_around(&self, image: &ImageId, stop: &(dyn Fn() -> bool + Sync)) {
        let wanted = || self.engine.store.image(image).is_ok();
        while self.hold_failed && wanted() && !(self.gone)() && !stop() {
            std::thread::sleep(LOOK_UP);
        }
    }
}

impl Runner<'_> {
    fn run_in(
        &self,
        room: &Room<'_>,
        rootfs: &Path,
        step: &RunRequest,
        output: &mut dyn FnMut(Stream, &[u8]),
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<i32> {
        let net = self.network(room, step)?;
        let world = self.world(room, rootfs, step, net)?;
        let mut spec =
            Spec::new(&step.id, &room.dir, world, self.process(step));
        spec.open_stdin = !step.stdin.is_empty();
        spec.stdin_once = spec.open_stdin;
        let client = Client::spawn(&spec).map_err(Error::internal)?;
        let streams =
            Attach { stdin: spec.open_stdin, stdout: true, stderr: true };
        let stream = client.attach(streams).map_err(Error::internal)?;
        client.start().map_err(Error::internal)?;
        let needless = || (self.gone)() || stop();
        let talked = talk(stream, &step.stdin, output, &needless);
        if talked.is_err() {
            // Nobody listens, so the command has no purpose any more.
            client.kill(libc::SIGKILL).map_err(Error::internal)?;
        }
        let exit = client.wait().map_err(Error::internal)?;
        talked.map_err(Error::internal)?;
        if !exit.error.is_empty() {
            return Err(Error::Internal(exit.error));
        }
        Ok(exit.code)
    }

    fn world(
        &self,
        room: &Room<'_>,
        rootfs: &Path,
        step: &RunRequest,
        net: Namespace,
    ) -> Result<World> {
        let parent = self.limits.cgroup_parent.clone();
        let cgroup = Cgroup {
            parent: parent
                .or_else(|| self.engine.config().cgroup_parent.clone()),
            name: step.id.clone(),
            limits: self.cgroup_limits(step),
        };
        Ok(World::New {
            sandbox: Box::new(self.sandbox(room, rootfs, step, net)),
            cgroup: self.engine.cgroup_of(cgroup)?,
        })
    }

    fn network(&self, room: &Room<'_>, step: &RunRequest) -> Result<Namespace> {
        let mode = match step.network.as_str() {
            "" | "default" => "bridge",
            mode => mode,
        };
        let config = self.engine.config();
        let dns = config.dns.iter().map(|it| {
            it.parse().map_err(|_| {
                Error::Invalid(format!("invalid DNS address: {it}"))
            })
        });
        let mut request = AttachRequest {
            id: step.id.clone(),
            hostname: cli_api::id::short(&step.id).to_owned(),
            mode: mode.to_owned(),
            dns: dns.collect::<Result<_>>()?,
            dns_search: config.dns_search.clone(),
            dns_options: config.dns_opts.clone(),
            extra_hosts: step.extra_hosts.clone(),
            dir: room.dir.clone(),
            ..AttachRequest::default()
        };
        if mode == "bridge" {
            request.networks.insert("bridge".to_owned(), Default::default());
        }
        let attached = self.engine.networks.attach(request)?;
        Ok(match attached.namespace {
            network::Namespace::Path(path) => Namespace::Join(path),
            network::Namespace::Host => Namespace::Host,
            network::Namespace::Container(id) => {
                let other = self.engine.containers.find(&id)?;
                let pid = other.with(|record| record.state.pid);
                Namespace::Join(format!("/proc/{pid}/ns/net").into())
            }
        })
    }

    fn sandbox(
        &self,
        room: &Room<'_>,
        rootfs: &Path,
        step: &RunRequest,
        net: Namespace,
    ) -> Sandbox {
        let mut sandbox = Sandbox::new(rootfs);
        sandbox.namespaces.net = net;
        sandbox.hostname = Some(cli_api::id::short(&step.id).to_owned());
        if step.privileged {
            sandbox.unmask();
        }
        for name in ["resolv.conf", "hosts", "hostname"] {
            let file = room.dir.join(name);
            if file.exists() {
                sandbox.mount(Mount::bind(file, format!("/etc/{name}")));
            }
        }
        if let Some(size) = self.limits.shm_size {
            let options = vec!["mode=1777".into(), format!("size={size}")];
            let mut shm = Mount::new("/dev/shm", Source::Tmpfs { options });
            shm.options.nosuid = true;
            shm.options.nodev = true;
            shm.options.noexec = true;
            sandbox.mount(shm);
        }
        for lent in &step.mounts {
            sandbox.mount(mount(lent));
        }
        sandbox
    }

    /// The usual devices and no others, as for any container.
    fn cgroup_limits(&self, step: &RunRequest) -> Limits {
        let mut limits = self.limits.cgroup.clone();
        if !step.privileged && limits.devices.is_none() {
            limits.devices = Some(cgroups::default_devices());
        }
        limits
    }

    fn process(&self, step: &RunRequest) -> Process {
        let mut process = Process::new(step.argv.clone());
        process.env.clone_from(&step.env);
        process.cwd = PathBuf::from(match step.workdir.as_str() {
            "" => "/",
            dir => dir,
        });
        process.user = User::named(&step.user);
        process.rlimits.clone_from(&self.limits.ulimits);
        if step.privileged {
            process.capabilities = namespaces::CapSet::held();
            process.seccomp = None;
        }
        process
    }
}

fn mount(lent: &RunMount) -> Mount {
    match &lent.source {
        MountSource::Bind { path, read_only } => {
            let mount = Mount::bind(path, &lent.target);
            if *read_only { mount.read_only() } else { mount }
        }
        MountSource::Tmpfs { size } => {
            let options = size.map(|size| format!("size={size}"));
            let options = options.into_iter().collect();
            Mount::new(&lent.target, Source::Tmpfs { options })
        }
    }
}

/// Feeds standard input and hands the output on until both streams end.
fn talk(
    stream: UnixStream,
    stdin: &[u8],
    output: &mut dyn FnMut(Stream, &[u8]),
    needless: &dyn Fn() -> bool,
) -> io::Result<()> {
    let mut input = stream.try_clone()?;
    stream.set_read_timeout(Some(LOOK_UP))?;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A command that does not read its input to the end is no
            // failure of the build.
            let _ = input.write_all(stdin);
            let _ = input.shutdown(Shutdown::Write);
        });
        let heard = hear(&stream, output, needless);
        if heard.is_err() {
            // Wakes the writer, which may wait for a reader for ever.
            stream.shutdown(Shutdown::Both)?;
        }
        heard
    })
}

fn hear(
    mut stream: &UnixStream,
    output: &mut dyn FnMut(Stream, &[u8]),
    needless: &dyn Fn() -> bool,
) -> io::Result<()> {
    let mut frames = frames::Decoder::default();
    let mut buffer = [0; 32 * 1024];
    loop {
        let length = match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        if needless() {
            let text = "nobody needs the result any more";
            return Err(io::Error::other(text));
        }
        frames.push(&buffer[..length]);
        while let Some((from, bytes)) =
            frames.next_piece().map_err(io::Error::other)?
        {
            let stream = match from {
                frames::Stream::Stderr => Stream::Stderr,
                _ => Stream::Stdout,
            };
            output(stream, &bytes);
        }
    }
}

/// A directory for the shim's files, and what must be taken back.
struct Room<'a> {
    engine: &'a Engine,
    id: String,
    dir: PathBuf,
}

impl<'a> Room<'a> {
    fn make(engine: &'a Engine, id: &str) -> Result<Room<'a>> {
        let dir = rooms(engine).join(id);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o710)
            .create(&dir)
            .map_err(Error::io("make", &dir))?;
        Ok(Room { engine, id: id.to_owned(), dir })
    }

    fn leave(self) -> Result<()> {
        // All of it, whatever fails.
        let network = self.engine.networks.leave(&self.id);
        let removed = fs::remove_dir_all(&self.dir)
            .map_err(Error::io("remove", &self.dir));
        network.map_err(Error::from).and(removed)
    }
}

fn rooms(engine: &Engine) -> PathBuf {
    engine.store.root().join("build")
}

/// Ends what builds of an earlier daemon have left, so that a daemon that
/// was killed in the middle of a RUN leaves nothing for ever. To be called
/// once the containers are known, and before the first build.
///
/// # Errors
/// A directory that cannot be read.
pub fn sweep(engine: &Engine) -> Result<()> {
    let dir = rooms(engine);
    let entries = match fs::read_dir(&dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        other => Some(other.map_err(Error::io("list", &dir))?),
    };
    for entry in entries.into_iter().flatten() {
        let entry = entry.map_err(Error::io("list", &dir))?;
        let id = entry.file_name().to_string_lossy().into_owned();
        let client = Client::new(entry.path());
        // No shim, no process: then there is nothing to wait for.
        if client.kill(libc::SIGKILL).is_ok() {
            let _ = client.wait();
        }
        let room = Room { engine, id, dir: entry.path() };
        if let Err(error) = room.leave() {
            tracing::warn!("what is left of a build: {error}");
        }
    }
    sweep_layers(engine)
}

/// A writable layer belongs to a container, or else to a step of a build.
fn sweep_layers(engine: &Engine) -> Result<()> {
    for id in engine.snapshots.list().map_err(Error::internal)? {
        if engine.containers.dir().join(&id).exists() {
            continue;
        }
        if let Err(error) = engine.snapshots.delete(&id) {
            tracing::warn!("what is left of a build: {error}");
        }
    }
    Ok(())
}

fn boxed(error: Error) -> layers::Error {
    layers::Error::Outside(Box::new(error))
}
