//! A root file system out of the host's own programs, and a way to run one
//! command in it and see all that it said.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its part of this module"
)]

use std::fs::{self, File};
use std::io::{PipeReader, Read, pipe};
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread;

use namespaces::{
    CgroupEntry, Created, Error, Exit, Mount, Process, Sandbox, Stdio, create,
};
use tempfile::TempDir;

/// A root directory with the host's `/usr`, read-only, and users of its own.
pub struct Root {
    pub dir: TempDir,
}

impl Root {
    pub fn new() -> Root {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        for name in ["bin", "sbin", "lib", "lib64"] {
            symlink(format!("usr/{name}"), path.join(name)).unwrap();
        }
        fs::create_dir(path.join("etc")).unwrap();
        fs::create_dir(path.join("tmp")).unwrap();
        fs::write(
            path.join("etc/passwd"),
            "root:x:0:0::/root:/bin/sh\nweb:x:4001:4002::/srv:/bin/sh\n",
        )
        .unwrap();
        let groups = "root:x:0:\nweb:x:4002:\nlogs:x:4003:web\n";
        fs::write(path.join("etc/group"), groups).unwrap();
        make_readable(path);
        Root { dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn sandbox(&self) -> Sandbox {
        let mut sandbox = Sandbox::new(self.path());
        sandbox.hostname = Some("box".to_owned());
        sandbox.mount(Mount::bind("/usr", "/usr").read_only());
        sandbox
    }
}

/// tempfile makes directories for one user only; the container may have
/// others.
fn make_readable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

pub fn sh(script: &str) -> Process {
    let mut process = Process::new(["sh", "-c", script]);
    process.env = vec!["PATH=/usr/bin:/bin:/usr/sbin".to_owned()];
    process
}

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Output {
    pub exit: Exit,
    pub out: String,
    pub err: String,
}

/// A started container with its streams.
pub struct Running {
    pub created: Created,
    pub out: PipeReader,
    pub err: PipeReader,
}

impl Running {
    pub fn finish(mut self) -> Output {
        let reader = |mut pipe: PipeReader| {
            thread::spawn(move || {
                let mut text = String::new();
                pipe.read_to_string(&mut text).unwrap();
                text
            })
        };
        let (out, err) = (reader(self.out), reader(self.err));
        let exit = self.created.wait().unwrap();
        Output { exit, out: out.join().unwrap(), err: err.join().unwrap() }
    }
}

pub fn with_streams(
    make: impl FnOnce(Stdio<'_>) -> Result<Created, Error>,
) -> Result<Running, Error> {
    let null = File::open("/dev/null").unwrap();
    let (out, out_in) = pipe().unwrap();
    let (err, err_in) = pipe().unwrap();
    let created = make(Stdio::Streams {
        stdin: null.as_fd(),
        stdout: out_in.as_fd(),
        stderr: err_in.as_fd(),
    })?;
    Ok(Running { created, out, err })
}

pub fn try_start(
    sandbox: &Sandbox,
    process: &Process,
) -> Result<Running, Error> {
    let mut running = with_streams(|stdio| {
        create(sandbox, process, stdio, CgroupEntry::default())
    })?;
    running.created.start()?;
    Ok(running)
}

pub fn start(sandbox: &Sandbox, process: &Process) -> Running {
    try_start(sandbox, process).unwrap_or_else(|error| panic!("{error}"))
}

pub fn run(sandbox: &Sandbox, process: &Process) -> Output {
    start(sandbox, process).finish()
}

/// Standard output of a script in a fresh root, which must succeed.
pub fn output(script: &str) -> String {
    let root = Root::new();
    let output = run(&root.sandbox(), &sh(script));
    assert_eq!(output.exit.code, 0, "{output:?}");
    output.out
}

/// Container tests need root.
pub fn is_root(test: &str) -> bool {
    cli_api::testing::root_or_skip(test)
}
