//! RUN: a command in a writable root file system, and what it changed.

use super::cache::Inputs;
use super::copying::stamps;
use super::dockerfile::{Command, CommandLine, Heredoc, Instruction, Run};
use super::entitlement;
use super::metadata::{self, command_line, set_env};
use super::mounted::Mounted;
use super::options::{BuildError, BuildEvent};
use super::rootpath::resolve;
use super::run_mounts::Lent;
use super::stage::{StageBuild, State, env, say};
use crate::error::io_at;
use crate::store::NewImage;
use crate::{History, Layer, RunRequest};
use rustix::fs::{AtFlags, CWD, Timestamps};
use std::fs;
use std::path::{Path, PathBuf};

/// What this module's functions return.
type Result<T> = std::result::Result<T, BuildError>;

/// What a container mounts over, besides the mounts of the RUN itself. Not
/// `/proc`, `/sys` and `/dev`: empty directories belong there in any image.
const MOUNT_POINTS: [&str; 3] =
    ["/etc/resolv.conf", "/etc/hosts", "/etc/hostname"];

impl<'a> StageBuild<'_, 'a> {
    /// What decides about the result: the command, the ARGs it sees, the
    /// flags, and the files lent to it. The environment and the shell are in
    /// the parent's key already. The network is not: what a RUN downloads is assumed to be the
    /// same, which is the one lie of every layer cache; `--no-cache` is the
    /// way out.
    pub(super) fn run_step(
        &mut self,
        state: &mut State,
        run: &Run,
        instruction: &Instruction,
    ) -> Result<()> {
        // A trigger of the base image is seen only now.
        entitlement::check(run, self.session.options)
            .map_err(|it| BuildError::step(it, &instruction.excerpt))?;
        let lent = self.mount_inputs(&run.mounts, instruction)?;
        let argv = argv(state, run);
        let by = created_by(state, &argv);
        let flag = |name: &str, value: &Option<String>| {
            let value = value.as_ref();
            value.map(|it| format!(" --{name}={it}")).unwrap_or_default()
        };
        let network = flag("network", &run.network);
        let security = flag("security", &run.security);
        let inputs = Inputs {
            parent: state.key.clone(),
            instruction: format!(
                "RUN{network}{security}{} {}",
                lent.text,
                written(&run.command)
            ),
            args: state.scope.cache_args(),
            files: lent.files,
            ..Inputs::default()
        };
        self.step_through(state, inputs, &by, instruction, |session, state| {
            session.execute(state, run, argv, instruction)
        })
    }

    /// A failed command leaves nothing: its file system is dropped with
    /// `mounted`.
    fn execute(
        &mut self,
        state: &State,
        run: &Run,
        argv: Vec<String>,
        instruction: &Instruction,
    ) -> Result<Option<Layer>> {
        let mounted = self.mount(&state.image.rootfs.diff_ids)?;
        let mut lent = self.lend(&run.mounts, instruction)?;
        let mut request = self.request(state, run, argv);
        // Held until the process has ended.
        let _script = match &run.script {
            Some(doc) if doc.content.starts_with("#!") => {
                let (room, target) = self.script(&mut lent, doc)?;
                request.argv = vec![target];
                Some(room)
            }
            _ => None,
        };
        request.env.append(&mut lent.env);
        request.mounts = std::mem::take(&mut lent.mounts);
        let points = MountPoints::note(&mounted.path, &request)?;
        let id = cli_api::id::short(&request.id).to_owned();
        self.line(format!(" ---> Running in {id}\n"));
        let code = self.spawn(&mounted.path, &request)?;
        points.clear()?;
        if code != 0 && self.session.options.keep_failed {
            self.keep(state, &mounted, &request)?;
        }
        if code != 0 {
            let command = request.argv.join(" ");
            let excerpt = instruction.excerpt.clone();
            return Err(BuildError::Command { command, code, excerpt });
        }
        let layer = self.commit(&mounted)?;
        self.line(format!(" ---> Removed intermediate container {id}\n"));
        Ok(layer)
    }

    /// What a failed command left behind, as an image in which somebody can
    /// look around with the environment that the command had.
    fn keep(
        &self,
        state: &State,
        mounted: &Mounted<'_>,
        request: &RunRequest,
    ) -> Result<()> {
        let mut image = state.image.clone();
        image.config.env = Some(request.env.clone());
        image.config.working_dir.clone_from(&request.workdir);
        if let Some(layer) = self.commit(mounted)? {
            image.rootfs.diff_ids.push(layer.diff_id);
            image.history.push(History {
                created: Some(self.session.now()),
                created_by: Some(request.argv.join(" ")),
                comment: Some("failed".into()),
                ..History::default()
            });
        }
        let store = self.session.builder.store;
        // Not the build's: whoever has looked around may remove it.
        let lease = store.lease()?;
        let bytes = image.to_bytes();
        let id = store.put_image(&lease, &bytes, NewImage::default())?;
        drop(lease);
        let mounts = request.mounts.clone();
        self.tell(BuildEvent::Failed(id.clone(), mounts));
        let stop = || self.session.board.stopped();
        self.session.builder.runner.look_around(&id, &stop);
        Ok(())
    }

    fn spawn(&self, rootfs: &Path, request: &RunRequest) -> Result<i32> {
        let mut tell = |stream, bytes: &[u8]| {
            self.tell(BuildEvent::Output(stream, bytes.to_vec()));
        };
        let session = self.session;
        let stop = || session.board.stopped();
        let runner = session.builder.runner;
        let ended = runner.run(rootfs, request, &mut tell, &stop);
        match ended {
            // Its own failure would hide the one that it was ended for.
            Err(_) if stop() => Err(BuildError::Stopped),
            ended => Ok(ended?),
        }
    }

    /// An ENV hides an ARG of the same name, and both hide a proxy that was
    /// only passed through.
    fn request(
        &self,
        state: &State,
        run: &Run,
        argv: Vec<String>,
    ) -> RunRequest {
        let config = &state.image.config;
        let id = cli_api::id::hex64();
        let mut vars = self.session.args.proxies();
        set_env(&mut vars, "HOSTNAME", cli_api::id::short(&id));
        for line in state.scope.run_args().iter().chain(env(&state.image)) {
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            set_env(&mut vars, name, value);
        }
        let network =
            run.network.clone().or(self.session.options.network.clone());
        RunRequest {
            id,
            argv,
            env: vars,
            workdir: match config.working_dir.as_str() {
                "" => "/".into(),
                path => path.to_owned(),
            },
            user: config.user.clone(),
            network: network.unwrap_or_else(|| "default".into()),
            mounts: Vec::new(),
            stdin: Vec::new(),
            privileged: run.security.as_deref() == Some("insecure"),
            extra_hosts: self.session.options.add_hosts.clone(),
        }
    }

    /// `RUN <<EOF` with a `#!` line is a program of its own, which has to be
    /// a file to be executed.
    fn script(
        &self,
        lent: &mut Lent<'_>,
        doc: &Heredoc,
    ) -> Result<(tempfile::TempDir, String)> {
        use std::os::unix::fs::PermissionsExt;
        let scratch = self.session.builder.store.scratch();
        let room = tempfile::tempdir_in(scratch)
            .map_err(io_at("make a directory in", scratch))?;
        let path = room.path().join("script");
        fs::write(&path, &doc.content).map_err(io_at("write", &path))?;
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&path, mode).map_err(io_at("chmod", &path))?;
        let target = "/run/build-script".to_owned();
        lent.bind(target.clone(), path, true);
        Ok((room, target))
    }

    /// WORKDIR is the one metadata instruction that may need a layer: the
    /// directory is made if it is not there.
    pub(super) fn workdir(
        &mut self,
        state: &mut State,
        instruction: &Instruction,
    ) -> Result<()> {
        let Command::Workdir(path) = &instruction.command else {
            unreachable!()
        };
        let path = say(&state.scope, path, instruction)?;
        let config = &mut state.image.config;
        config.working_dir = metadata::workdir(&config.working_dir, &path);
        let path = config.working_dir.clone();
        let said = format!("WORKDIR {path}");
        let inputs = Inputs {
            parent: state.key.clone(),
            instruction: said.clone(),
            ..Inputs::default()
        };
        let by = format!("/bin/sh -c #(nop) {said}");
        self.step_through(state, inputs, &by, instruction, |session, state| {
            let mounted = session.mount(&state.image.rootfs.diff_ids)?;
            let real = resolve(&mounted.path, Path::new(&path))
                .map_err(io_at("resolve", Path::new(&path)))?;
            if real.is_dir() {
                return Ok(None);
            }
            fs::create_dir_all(&real).map_err(io_at("make", &real))?;
            session.commit(&mounted)
        })
    }
}

/// Either form as arguments, by this image's SHELL.
fn argv(state: &State, run: &Run) -> Vec<String> {
    command_line(&state.image.config, &run.command)
}

/// As in the Dockerfile. The two forms cannot be mistaken for one another:
/// a line that is a list in JSON is always the exec form.
fn written(command: &CommandLine) -> String {
    match command {
        CommandLine::Shell(line) => line.clone(),
        CommandLine::Exec(words) => serde_json::json!(words).to_string(),
    }
}

/// As in Docker's histories: `|1 V=2 /bin/sh -c make`.
fn created_by(state: &State, argv: &[String]) -> String {
    let args = state.scope.cache_args();
    let command = argv.join(" ");
    if args.is_empty() {
        return command;
    }
    let pairs = args.iter().map(|(name, value)| format!("{name}={value}"));
    let pairs: Vec<String> = pairs.collect();
    format!("|{} {} {command}", pairs.len(), pairs.join(" "))
}

/// Files and directories that exist only because something was mounted
/// there. Left behind, they would end up in the layer.
struct MountPoints {
    /// Did not exist before, deepest last.
    missing: Vec<PathBuf>,
    /// Times of the directories that will hold them.
    times: Vec<(PathBuf, Timestamps)>,
}

impl MountPoints {
    /// Before the command: what is missing now and appears until the end was
    /// either made as a mount point or by the command itself.
    fn note(rootfs: &Path, request: &RunRequest) -> Result<Self> {
        let (mut missing, mut times) = (Vec::new(), Vec::new());
        let targets = request.mounts.iter().map(|m| m.target.as_str());
        for target in MOUNT_POINTS.into_iter().chain(targets) {
            let target = Path::new(target);
            let real =
                resolve(rootfs, target).map_err(io_at("resolve", target))?;
            let above = real.ancestors().take_while(|p| *p != rootfs);
            missing.extend(
                above
                    .filter(|path| fs::symlink_metadata(path).is_err())
                    .map(Path::to_owned),
            );
            let there = real.ancestors().skip(1).find(|path| path.is_dir());
            if let Some(path) = there
                && let Ok(meta) = fs::metadata(path)
            {
                times.push((path.to_owned(), stamps(&meta)));
            }
        }
        missing.sort();
        missing.dedup();
        Ok(Self { missing, times })
    }

    /// Removes what is still empty. What the command itself put something
    /// into is its result and stays.
    fn clear(self) -> Result<()> {
        let mut removed = false;
        for path in self.missing.iter().rev() {
            let Ok(meta) = fs::symlink_metadata(path) else { continue };
            let gone = match meta.is_dir() {
                true => fs::remove_dir(path).is_ok(),
                false if meta.is_file() && meta.len() == 0 => {
                    fs::remove_file(path).map_err(io_at("remove", path))?;
                    true
                }
                false => false,
            };
            removed |= gone;
        }
        if removed {
            for (path, times) in &self.times {
                // A directory may be gone with the command's `rm -r`.
                let _ =
                    rustix::fs::utimensat(CWD, path, times, AtFlags::empty());
            }
        }
        Ok(())
    }
}
