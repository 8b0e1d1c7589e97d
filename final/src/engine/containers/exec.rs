//! `docker exec`: one more process in a container that runs.
//!
//! It gets a shim of its own, which joins the container's namespaces and
//! cgroup. What it was and how it ended is remembered: the docker command
//! asks for the exit code afterwards.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cli_api::id;
use namespaces::{CapSet, Process, User};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::state::Status;
use super::{Container, lock, spec, start};
use crate::engine::Engine;
use crate::engine::error::{Error, Result};
use crate::engine::events::attributes;
use crate::shim::protocol::Attach;
use crate::shim::{self, Client, Spec, World};

/// What Docker's messages of an exec begin with.
const EXEC_FAILED: &str = "OCI runtime exec failed: exec failed";

/// How long a resize waits for an exec to start, as in Docker.
const READY: Duration = Duration::from_secs(10);

/// The body of `POST /containers/NAME/exec`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs, reason = "the API's own fields")]
pub struct ExecConfig {
    pub user: String,
    pub privileged: bool,
    pub tty: bool,
    pub console_size: Option<[u16; 2]>,
    pub attach_stdin: bool,
    pub attach_stdout: bool,
    pub attach_stderr: bool,
    pub detach_keys: String,
    pub env: Vec<String>,
    pub working_dir: String,
    pub cmd: Vec<String>,
}

/// One exec.
#[derive(Debug)]
pub struct Exec {
    /// 64 hexadecimal digits.
    pub id: String,
    /// What was asked for.
    pub config: ExecConfig,
    /// The container's ID.
    pub container: String,
    /// Its shim's files.
    pub(super) dir: PathBuf,
    created: Instant,
    state: Mutex<State>,
    /// Told when there is a process, and when there will be none.
    decided: Condvar,
}

#[derive(Debug, Default)]
struct State {
    started: bool,
    running: bool,
    pid: i32,
    exit_code: Option<i32>,
    ended: Option<Instant>,
}

impl Exec {
    /// One that has not been started.
    pub(super) fn new(
        container: &Container,
        id: String,
        config: ExecConfig,
    ) -> Exec {
        Exec {
            dir: container.dir.join("execs").join(&id),
            id,
            config,
            container: container.id.clone(),
            created: Instant::now(),
            state: Mutex::default(),
            decided: Condvar::new(),
        }
    }

    /// Its shim's handle.
    pub(super) fn client(&self) -> Client {
        Client::new(&self.dir)
    }

    /// `GET /exec/ID/json`.
    pub fn inspect(&self) -> Value {
        self.notice_end();
        let state = lock(&self.state);
        let config = &self.config;
        let mut words = config.cmd.iter();
        json!({
            "ID": self.id,
            "Running": state.running,
            "ExitCode": state.exit_code,
            "ProcessConfig": {
                "tty": config.tty,
                "entrypoint": words.next(),
                "arguments": words.collect::<Vec<_>>(),
                "privileged": config.privileged,
                "user": config.user,
            },
            "OpenStdin": config.attach_stdin,
            "OpenStderr": config.attach_stderr,
            "OpenStdout": config.attach_stdout,
            "CanRemove": false,
            "ContainerID": self.container,
            "DetachKeys": config.detach_keys,
            "Pid": state.pid,
        })
    }

    /// The exit code, from the end of the streams on.
    pub(super) fn exit_code(&self) -> Option<i32> {
        self.notice_end();
        lock(&self.state).exit_code
    }

    pub(super) fn is_started(&self) -> bool {
        lock(&self.state).started
    }

    /// When it ended, or else was created.
    pub(super) fn last_seen(&self) -> Instant {
        lock(&self.state).ended.unwrap_or(self.created)
    }

    pub(super) fn is_over(&self) -> bool {
        let state = lock(&self.state);
        state.started && !state.running
    }

    /// A client asks for the exit code when it has seen the end of the
    /// streams, which may be before our own thread has been told. The shim
    /// writes the code down before it ends them, and our thread takes what is
    /// written away only once it has told it.
    fn notice_end(&self) {
        if !self.is_over()
            && let Ok(Some(exit)) = shim::Exit::load(&self.dir)
        {
            self.ended(exit.code);
        }
    }

    pub(super) fn runs(&self, pid: i32) {
        let mut state = lock(&self.state);
        (state.started, state.running, state.pid) = (true, true, pid);
        self.decided.notify_all();
    }

    /// Tells its terminal its size: rows, columns. A client does so at once
    /// after the start, so the process is waited for.
    ///
    /// # Errors
    /// [`Error::Invalid`] in Docker's words if there is none.
    pub fn resize(&self, size: [u16; 2]) -> Result<()> {
        let undecided =
            |state: &mut State| state.pid == 0 && state.exit_code.is_none();
        let state = lock(&self.state);
        let (state, late) = self
            .decided
            .wait_timeout_while(state, READY, undecided)
            .unwrap_or_else(PoisonError::into_inner);
        let refuse = |text: &str| Err(Error::Invalid(text.to_owned()));
        if late.timed_out() {
            return refuse("timeout waiting for exec session ready");
        }
        if !state.running {
            return refuse("exec process is not started");
        }
        drop(state);
        match self.client().resize(spec::window(size)) {
            // The shim goes when its process has ended.
            Err(shim::Error::Io { .. }) => refuse("exec process has ended"),
            done => done.map_err(Error::internal),
        }
    }

    /// It will never start; true if it has not.
    pub(super) fn give_up(&self) -> bool {
        !std::mem::replace(&mut lock(&self.state).started, true)
    }

    pub(super) fn ended(&self, code: i32) {
        let mut state = lock(&self.state);
        (state.started, state.running) = (true, false);
        state.exit_code = Some(code);
        state.ended.get_or_insert_with(Instant::now);
        self.decided.notify_all();
    }
}

impl Engine {
    /// Prepares an exec.
    ///
    /// # Errors
    /// [`Error::Conflict`] in Docker's words if the container does not run.
    pub fn exec_create(
        &self,
        name: &str,
        config: ExecConfig,
    ) -> Result<Arc<Exec>> {
        let container = self.containers.find(name)?;
        can_exec(&container, name)?;
        if config.cmd.first().is_none_or(String::is_empty) {
            return Err(Error::Invalid("No exec command specified".to_owned()));
        }
        let exec = Arc::new(Exec::new(&container, id::hex64(), config));
        exec.keep()?;
        container.remember(&exec);
        self.exec_event(&container, &exec, "exec_create");
        Ok(exec)
    }

    /// An exec by its ID, and its container.
    ///
    /// # Errors
    /// [`Error::NotFound`] in Docker's words.
    pub fn exec(&self, id: &str) -> Result<(Arc<Exec>, Arc<Container>)> {
        for container in self.containers.all() {
            let found = lock(&container.execs).get(id).cloned();
            if let Some(exec) = found {
                return Ok((exec, container));
            }
        }
        Err(Error::NotFound(format!("No such exec instance: {id}")))
    }

    /// Runs it. With `streams`, their connection is made before the first
    /// instruction.
    ///
    /// # Errors
    /// Why its process could not be made; its exit code is 126 or 127 then.
    pub fn exec_start(
        self: &Arc<Self>,
        id: &str,
        size: Option<[u16; 2]>,
        streams: Option<Attach>,
    ) -> Result<Option<UnixStream>> {
        let (exec, container) = self.exec(id)?;
        can_exec(&container, &container.id)?;
        {
            let mut state = lock(&exec.state);
            if state.started {
                return Err(Error::Conflict(format!(
                    "Error: Exec command {id} is already running"
                )));
            }
            state.started = true;
            state.running = true;
        }
        match self.exec_launch(&container, &exec, size, streams) {
            Ok((client, stream)) => {
                self.exec_event(&container, &exec, "exec_start");
                self.exec_follow(container, exec, client);
                Ok(stream)
            }
            Err((error, code)) => {
                exec.keep_end(code);
                Err(error)
            }
        }
    }

    fn exec_launch(
        &self,
        container: &Container,
        exec: &Exec,
        size: Option<[u16; 2]>,
        streams: Option<Attach>,
    ) -> Result<(Client, Option<UnixStream>), (Error, i32)> {
        let broken = |error: Error| (error, 126);
        let dir = &exec.config.working_dir;
        if !dir.is_empty() && !dir.starts_with('/') {
            let why = "Cwd must be an absolute path";
            let text = format!("{EXEC_FAILED}: {why}: unknown");
            return Err(broken(Error::Internal(text)));
        }
        std::fs::create_dir_all(&exec.dir)
            .map_err(Error::io("make", &exec.dir))
            .map_err(broken)?;
        let spec = self.exec_spec(container, exec, size).map_err(broken)?;
        let run = || {
            let client = Client::spawn(&spec)?;
            let stream = streams.map(|it| client.attach(it)).transpose()?;
            client.start()?;
            Ok((client, stream))
        };
        let (client, stream) = run().map_err(|error: shim::Error| {
            let code = error.exit_code();
            let text = start::runtime_words(EXEC_FAILED, error.to_string());
            match code {
                126 | 127 => (Error::Invalid(text), code),
                _ => (Error::Internal(text), 126),
            }
        })?;
        let record = shim::Record::load(&exec.dir);
        exec.runs(record.map_or(0, |record| record.pid));
        Ok((client, stream))
    }

    fn exec_spec(
        &self,
        container: &Container,
        exec: &Exec,
        size: Option<[u16; 2]>,
    ) -> Result<Spec> {
        let record = container.record();
        let config = &exec.config;
        let mut process = Process::new(config.cmd.iter().cloned());
        let links = self.link_variables(&record);
        process.env = spec::environment(&record, &links);
        if config.tty {
            spec::override_env(&mut process.env, &["TERM=xterm".to_owned()]);
        }
        spec::override_env(&mut process.env, &config.env);
        let dir = match config.working_dir.as_str() {
            "" => &record.config.working_dir,
            own => own,
        };
        process.cwd = spec::cwd(dir);
        let name = match config.user.as_str() {
            "" => record.config.user.clone(),
            own => own.to_owned(),
        };
        let groups = record.host_config.group_add.clone();
        process.user = User { name, groups: groups.unwrap_or_default() };
        spec::restrict(self, &record.host_config, &mut process)?;
        if config.privileged {
            process.capabilities = CapSet::held();
            process.seccomp = None;
        }
        let world = World::Join { container: container.dir.clone() };
        let mut spec = Spec::new(&exec.id, &exec.dir, world, process);
        let size = size.or(config.console_size).unwrap_or_default();
        spec.terminal = config.tty.then(|| spec::window(size));
        spec.open_stdin = config.attach_stdin;
        spec.stdin_once = true;
        Ok(spec)
    }

    pub(super) fn exec_follow(
        self: &Arc<Self>,
        container: Arc<Container>,
        exec: Arc<Exec>,
        client: Client,
    ) {
        let engine = self.clone();
        let watched = exec.id.clone();
        let spawned = std::thread::Builder::new()
            .name("skiff-exec".to_owned())
            .stack_size(256 << 10)
            .spawn(move || {
                let code = client.wait().map_or(137, |exit| exit.code);
                exec.keep_end(code);
                let about = attributes([
                    ("execID", &exec.id),
                    ("exitCode", &code.to_string()),
                ]);
                engine.tell(&container, "exec_die", about);
            });
        if let Err(error) = spawned {
            tracing::error!("cannot watch exec {watched}: {error}");
        }
    }

    /// Reports that a client has typed its detach keys.
    pub fn exec_detached(&self, exec: &Exec) {
        // A container that is gone has nobody to hear of it.
        if let Ok(container) = self.containers.find(&exec.container) {
            let about = attributes([("execID", &exec.id)]);
            self.tell(&container, "exec_detach", about);
        }
    }

    fn exec_event(&self, container: &Container, exec: &Exec, verb: &str) {
        // Docker joins the program and its arguments, also if it has none.
        let words = &exec.config.cmd;
        let program = words.first().map_or("", String::as_str);
        let rest = words.get(1..).unwrap_or_default().join(" ");
        let action = format!("{verb}: {program} {rest}");
        self.tell(container, &action, attributes([("execID", &exec.id)]));
    }
}

fn can_exec(container: &Container, name: &str) -> Result<()> {
    let id = &container.id;
    Err(Error::Conflict(match container.status() {
        Status::Running => return Ok(()),
        Status::Paused => format!(
            "Container {name} is paused, unpause the container before exec"
        ),
        Status::Restarting => format!(
            "Container {id} is restarting, wait until the container is running"
        ),
        _ => format!("container {id} is not running"),
    }))
}
