//! Containers of an ordinary user: this file runs itself as one.

mod common;

use std::os::unix::process::CommandExt;
use std::process::Command;

use common::{Root, run, sh, start, try_start, with_streams};
use namespaces::{CgroupEntry, Namespace, Sandbox, User, UserMaps, join};

/// `nobody`, on every distribution.
const NOBODY: u32 = 65534;

/// As root: runs the test `name` again as nobody and says true. As anybody
/// else: false, this is the run that counts.
fn run_as_nobody(name: &str) -> bool {
    if !rustix::process::geteuid().is_root() {
        return false;
    }
    let test = std::env::current_exe().unwrap();
    // The build directory may be closed to others.
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("test");
    std::fs::copy(test, &copy).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(dir.path(), open).unwrap();
    let run = || {
        Command::new(&copy)
            .args(["--exact", name, "--nocapture"])
            .current_dir("/")
            .uid(NOBODY)
            .gid(NOBODY)
            .output()
    };
    // ETXTBSY: a test on another thread forked while the copy was open for
    // writing, and its child has not executed anything yet.
    let output = loop {
        match run() {
            Err(it) if it.kind() == std::io::ErrorKind::ExecutableFileBusy => {}
            output => break output.unwrap(),
        }
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    eprint!("{errors}");
    assert!(output.status.success(), "{text}{errors}");
    assert!(text.contains("1 passed"), "{text}");
    true
}

fn sandbox(root: &Root) -> Sandbox {
    let mut sandbox = root.sandbox();
    sandbox.namespaces.user = Namespace::New;
    let maps = UserMaps::of_this_user();
    (sandbox.uid_map, sandbox.gid_map) = (maps.uid, maps.gid);
    sandbox
}

/// Some hosts keep user namespaces from ordinary users.
fn is_forbidden(test: &str) -> bool {
    let root = Root::new();
    match try_start(&sandbox(&root), &sh("true")) {
        Ok(running) => {
            running.finish();
            false
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains("user namespaces are"), "{text}");
            eprintln!("SKIP: {test}: {text}");
            true
        }
    }
}

#[test]
fn an_ordinary_user_is_root_inside_and_only_there() {
    let name = "an_ordinary_user_is_root_inside_and_only_there";
    if run_as_nobody(name) || is_forbidden(name) {
        return;
    }
    let root = Root::new();
    let script = "id -u; echo $$; cat /proc/sys/kernel/hostname; \
                  ls /sys/class/net; grep CapEff /proc/self/status; \
                  touch /tmp/mine && stat -c %u /tmp/mine; \
                  echo x > /dev/null && ls /sys/fs/cgroup | wc -l";
    let output = run(&sandbox(&root), &sh(script));
    let (text, groups) = output.out.trim_end().rsplit_once('\n').unwrap();
    insta::assert_snapshot!(text, @"
    0
    1
    box
    lo
    CapEff:	00000000a80425fb
    0
    ");
    assert!(groups.parse::<u32>().unwrap() > 0, "{output:?}");
    use std::os::unix::fs::MetadataExt;
    let mine = std::fs::metadata(root.path().join("tmp/mine")).unwrap();
    assert_eq!(mine.uid(), NOBODY);
}

#[test]
fn an_exec_joins_a_users_container() {
    let name = "an_exec_joins_a_users_container";
    if run_as_nobody(name) || is_forbidden(name) {
        return;
    }
    let root = Root::new();
    let mut first = start(&sandbox(&root), &sh("sleep 60"));
    let pid = first.created.pid();
    let process = sh("id -u; cat /proc/1/comm");
    let mut second = with_streams(|stdio| {
        join(pid, &process, stdio, CgroupEntry::default())
    })
    .unwrap_or_else(|error| panic!("{error}"));
    second.created.start().unwrap();
    assert_eq!(second.finish().out, "0\nsh\n");
    first.created.kill(9).unwrap();
    first.created.wait().unwrap();
}

#[test]
fn a_user_without_a_number_outside_is_told_what_helps() {
    let name = "a_user_without_a_number_outside_is_told_what_helps";
    if run_as_nobody(name) || is_forbidden(name) {
        return;
    }
    let root = Root::new();
    let mut process = sh("id");
    process.user = User::named("web:web");
    let error = try_start(&sandbox(&root), &process).err().unwrap();
    insta::assert_snapshot!(error, @"user: setresgid (uid 4001, gid 4002): Invalid argument (EINVAL); this ID has no number outside the user namespace: an ordinary user needs newuidmap and a line in /etc/subuid");
}

#[test]
fn without_a_user_namespace_the_error_says_what_is_missing() {
    let name = "without_a_user_namespace_the_error_says_what_is_missing";
    if run_as_nobody(name) {
        return;
    }
    let root = Root::new();
    let mut process = sh("true");
    process.capabilities = namespaces::CapSet::EMPTY;
    let error = try_start(&root.sandbox(), &process).err().unwrap();
    insta::assert_snapshot!(error, @"clone: clone3: Operation not permitted (EPERM); new namespaces need CAP_SYS_ADMIN: run the engine as root, or rootless with a user namespace");
}
