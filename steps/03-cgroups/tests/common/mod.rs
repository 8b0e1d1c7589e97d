//! Drives a stage binary as a user would, with a daemon and a state of its
//! own, and checks at the end that nothing of it is left on the machine.
//! Shared by the tests of stages 3 to 6.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its part of this module"
)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cli_api::testing::{leftovers_after, root_or_skip, skip};

/// A stage with its daemon.
pub struct Stage {
    program: &'static str,
    pub dir: tempfile::TempDir,
    daemon: Child,
}

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    /// Standard output of a command that must have succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }
}

impl Stage {
    pub fn new(program: &'static str) -> Stage {
        let dir = tempfile::tempdir().expect("a directory");
        let mut command = Command::new(program);
        command.arg("daemon").env("SKIFF_STEP_DIR", dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let daemon = command.spawn().expect("the daemon");
        let stage = Stage { program, dir, daemon };
        let start = Instant::now();
        while stage.run(&["ps"]).code != 0 {
            assert!(start.elapsed() < Duration::from_secs(20), "no daemon");
            std::thread::sleep(Duration::from_millis(20));
        }
        stage
    }

    pub fn run(&self, args: &[&str]) -> Said {
        self.run_in(Path::new("/"), args)
    }

    /// As a user who is in directory `cwd`.
    pub fn run_in(&self, cwd: &Path, args: &[&str]) -> Said {
        let output = Command::new(self.program)
            .args(args)
            .env("SKIFF_STEP_DIR", self.dir.path())
            .current_dir(cwd)
            .stdin(Stdio::null())
            .output()
            .expect("run the stage");
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Said {
            code: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    /// What `inspect` says, as JSON.
    pub fn inspect(&self, name: &str) -> serde_json::Value {
        let text = self.run(&["inspect", name]).ok();
        let list: serde_json::Value =
            serde_json::from_str(&text).expect("JSON");
        list[0].clone()
    }
}

/// For stages with images: builds `box`, with busybox for its programs and a
/// file `/srv/hello`, out of the host's busybox. `None`, and a line that
/// says so, where that cannot be had.
pub fn stage_with_box(program: &'static str, test: &str) -> Option<Stage> {
    if !root_or_skip(test) {
        return None;
    }
    let places = ["/bin/busybox", "/usr/bin/busybox"];
    let Some(busybox) = places.iter().find(|it| Path::new(it).exists()) else {
        skip(test, "needs busybox (apt-get install busybox-static)");
        return None;
    };
    let stage = Stage::new(program);
    let context = stage.dir.path().join("context");
    std::fs::create_dir(&context).expect("the context");
    std::fs::copy(busybox, context.join("busybox")).expect("busybox");
    std::fs::write(context.join("hello"), "hello\n").expect("hello");
    let dockerfile = "FROM scratch\n\
        COPY busybox /bin/busybox\n\
        RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n\
        ENV GREETING=hi\n\
        WORKDIR /srv\n\
        COPY hello .\n\
        CMD [\"cat\", \"hello\"]\n";
    std::fs::write(context.join("Dockerfile"), dockerfile).expect("write");
    stage.run_in(&context, &["build", "-t", "box", "."]).ok();
    Some(stage)
}

impl Drop for Stage {
    fn drop(&mut self) {
        let ids = self.run(&["ps", "-aq"]).out;
        for id in ids.split_whitespace() {
            let _ = self.run(&["rm", "-f", id]);
        }
        let pid = rustix::process::Pid::from_child(&self.daemon);
        let term = rustix::process::Signal::TERM;
        let _ = rustix::process::kill_process(pid, term);
        let _ = self.daemon.wait();
        let dir = self.dir.path().to_string_lossy().into_owned();
        let mut markers: Vec<&str> = ids.split_whitespace().collect();
        markers.push(&dir);
        let left = leftovers_after(Duration::from_secs(5), &markers);
        if !std::thread::panicking() {
            assert_eq!(left, Vec::<String>::new());
        }
    }
}
