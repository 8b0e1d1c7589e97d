//! RUN for the stages: a container made with the crate of step 2 alone, over
//! the files that the builder hands us. (The finished engine runs it as it
//! runs any container, with a cgroup and a network.)

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread;

use namespaces::{
    CgroupEntry, Mount, Namespace, Process, Sandbox, Source, Stdio, User,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::error::io_at;
use crate::{
    Error, MountSource, Result, RunMount, RunRequest, RunStep, Stream,
};

/// How often a silent command is interrupted by the question whether anybody
/// still needs its result.
const LOOK_UP: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };

/// Runs a step on the host's network: packages come from there, and networks
/// of our own only come with the finished engine.
#[derive(Debug, Clone, Copy, Default)]
pub struct NamespaceRunner;

impl RunStep for NamespaceRunner {
    fn run(
        &self,
        rootfs: &Path,
        step: &RunRequest,
        output: &mut dyn FnMut(Stream, &[u8]),
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<i32> {
        refuse(step)?;
        let (sandbox, process) = (sandbox(rootfs, step), process(step));
        let pipe_failed = || io_at("make a pipe for", rootfs);
        let (out, out_end) = pipe().map_err(pipe_failed())?;
        let (err, err_end) = pipe().map_err(pipe_failed())?;
        let (input, feed) = pipe().map_err(pipe_failed())?;
        let stdio = Stdio::Streams {
            stdin: input.as_fd(),
            stdout: out_end.as_fd(),
            stderr: err_end.as_fd(),
        };
        let mut created = namespaces::create(
            &sandbox,
            &process,
            stdio,
            CgroupEntry::default(),
        )
        .map_err(outside)?;
        // Our copies of its ends: while they are open no end would come.
        drop((out_end, err_end, input));
        created.start().map_err(outside)?;
        let copied = thread::scope(|scope| {
            scope.spawn(|| give(feed, &step.stdin));
            let mut tell = |stream, bytes: &[u8]| {
                if stop() {
                    // It may have ended by itself just now.
                    let _ = created.kill(libc::SIGKILL);
                }
                if !bytes.is_empty() {
                    output(stream, bytes);
                }
            };
            copy_output(out, err, &mut tell)
        });
        let exit = created.wait().map_err(outside)?;
        copied.map_err(io_at("read the output of", rootfs))?;
        Ok(exit.code)
    }
}

/// What only the finished engine can do is said, not left out.
fn refuse(step: &RunRequest) -> Result<()> {
    let problem = if step.privileged {
        "RUN --security=insecure is not supported in the stages"
    } else if !step.extra_hosts.is_empty() {
        "--add-host is not supported in the stages"
    } else {
        return Ok(());
    };
    Err(Error::Outside(problem.into()))
}

fn sandbox(rootfs: &Path, step: &RunRequest) -> Sandbox {
    let mut sandbox = Sandbox::new(rootfs);
    sandbox.hostname = Some(cli_api::id::short(&step.id).to_owned());
    if step.network != "none" {
        sandbox.namespaces.net = Namespace::Host;
        // Names are looked up by a file, so the network takes that as well.
        let names = Path::new("/etc/resolv.conf");
        if File::open(names).is_ok() {
            sandbox.mount(Mount::bind(names, names).read_only());
        }
    }
    for lent in &step.mounts {
        sandbox.mount(mount(lent));
    }
    sandbox
}

fn mount(lent: &RunMount) -> Mount {
    let target = PathBuf::from(&lent.target);
    match &lent.source {
        MountSource::Bind { path, read_only: true } => {
            Mount::bind(path, target).read_only()
        }
        MountSource::Bind { path, .. } => Mount::bind(path, target),
        MountSource::Tmpfs { size } => {
            let size = size.map(|bytes| format!("size={bytes}"));
            let options = size.into_iter().collect();
            Mount::new(target, Source::Tmpfs { options })
        }
    }
}

fn process(step: &RunRequest) -> Process {
    let mut process = Process::new(step.argv.iter().cloned());
    process.env.clone_from(&step.env);
    process.cwd = PathBuf::from(&step.workdir);
    process.user = User::named(&step.user);
    process.die_with_parent = true;
    process
}

/// A process need not read what it is given (`EPIPE`); that is its business.
fn give(mut feed: PipeWriter, bytes: &[u8]) {
    let _ = feed.write_all(bytes);
}

fn outside(cause: namespaces::Error) -> Error {
    Error::Outside(Box::new(cause))
}

/// Hands over what comes out of two pipes until both have ended, and an empty
/// piece when nothing comes for a while. One after the other would not do: a
/// process that fills the second pipe while we wait for the first stands
/// still for ever.
fn copy_output(
    out: PipeReader,
    err: PipeReader,
    output: &mut dyn FnMut(Stream, &[u8]),
) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    let mut open = vec![(out, Stream::Stdout), (err, Stream::Stderr)];
    while !open.is_empty() {
        let mut fds: Vec<_> = open
            .iter()
            .map(|(pipe, _)| PollFd::new(pipe, PollFlags::IN))
            .collect();
        poll(&mut fds, Some(&LOOK_UP))?;
        let ready: Vec<bool> =
            fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        let mut at = 0;
        for ready in ready {
            let (pipe, stream) = &mut open[at];
            let n = if ready { pipe.read(&mut buffer)? } else { 0 };
            output(*stream, &buffer[..n]);
            // A ready pipe with nothing in it has come to its end.
            if ready && n == 0 {
                open.remove(at);
            } else {
                at += 1;
            }
        }
    }
    Ok(())
}
