//! What a process may do, checked against the kernel.

mod common;

use std::io::Read;

use common::{Root, is_root, run, sh, start, try_start, with_streams};
use namespaces::{
    CapSet, CgroupEntry, IdMap, Namespace, Process, Rlimit, Stdio, User,
    WindowSize, create, join,
};

/// A line of `/proc/self/status`, without its name.
fn status(process: &mut Process, field: &str) -> String {
    process.args[2] = format!("grep ^{field}: /proc/self/status");
    let root = Root::new();
    let output = run(&root.sandbox(), process);
    assert_eq!(output.exit.code, 0, "{output:?}");
    output.out.split_once(':').unwrap().1.trim().to_owned()
}

#[test]
fn root_keeps_dockers_fourteen_capabilities() {
    if !is_root("capabilities") {
        return;
    }
    let mut process = sh("");
    let docker = "00000000a80425fb";
    for set in ["CapEff", "CapPrm", "CapBnd"] {
        assert_eq!(status(&mut process, set), docker, "{set}");
    }
    for set in ["CapInh", "CapAmb"] {
        assert_eq!(status(&mut process, set), "0000000000000000", "{set}");
    }
    assert_eq!(CapSet::docker_default().names().len(), 14);
}

#[test]
fn a_user_by_name_has_the_images_numbers_and_no_capability() {
    if !is_root("user") {
        return;
    }
    let root = Root::new();
    let mut process = sh("id -u; id -g; id -G; echo $HOME; \
                          grep CapEff /proc/self/status");
    process.user = User::named("web");
    let output = run(&root.sandbox(), &process);
    insta::assert_snapshot!(output.out, @"
    4001
    4002
    4002 4003
    /srv
    CapEff:	0000000000000000
    ");
}

#[test]
fn an_ordinary_user_can_keep_a_capability_by_the_ambient_set() {
    if !is_root("ambient") {
        return;
    }
    let mut process = sh("");
    process.user = User::named("web");
    process.ambient = CapSet::parse("NET_BIND_SERVICE").unwrap();
    assert_eq!(status(&mut process, "CapEff"), "0000000000000400");
}

#[test]
fn the_filter_refuses_what_only_a_host_needs() {
    if !is_root("seccomp") {
        return;
    }
    let root = Root::new();
    let script = "grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status; \
                  unshare --user true; echo $?";
    let mut process = sh(script);
    let output = run(&root.sandbox(), &process);
    insta::assert_snapshot!(output.out, @"
    NoNewPrivs:	0
    Seccomp:	2
    1
    ");
    assert!(output.err.contains("Operation not permitted"), "{output:?}");
    process.no_new_privs = true;
    let output = run(&root.sandbox(), &process);
    assert!(output.out.starts_with("NoNewPrivs:\t1\nSeccomp:\t2\n"));
    process.seccomp = None;
    let output = run(&root.sandbox(), &process);
    assert!(output.out.contains("Seccomp:\t0"), "{output:?}");
}

#[test]
fn a_profile_of_the_users_own_decides() {
    if !is_root("own profile") {
        return;
    }
    let profile = r#"{
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO",
             "errnoRet": 28, "args": null},
            {"names": ["chmod", "fchmodat", "fchmodat2"],
             "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_CHOWN"]}}
        ]
    }"#;
    let root = Root::new();
    let mut process = sh("mkdir /tmp/d; chmod 700 /tmp && echo changed");
    process.seccomp =
        Some(namespaces::seccomp::Profile::from_json(profile).unwrap());
    let output = run(&root.sandbox(), &process);
    assert!(output.err.contains("No space left"), "{output:?}");
    assert_eq!(output.out, "changed\n");
}

#[test]
fn limits_hold_and_one_that_cannot_be_raised_says_why() {
    if !is_root("rlimits") {
        return;
    }
    let limit =
        |soft, hard| vec![Rlimit { name: "nofile".to_owned(), soft, hard }];
    let root = Root::new();
    let mut process = sh("ulimit -Sn; ulimit -Hn");
    process.rlimits = limit(100, 200);
    assert_eq!(run(&root.sandbox(), &process).out, "100\n200\n");

    let resource = CapSet::parse("SYS_RESOURCE").unwrap();
    if CapSet::held().contains(resource) {
        return; // this machine may raise it
    }
    process.rlimits = limit(100, 1 << 29);
    let error = try_start(&root.sandbox(), &process).err().unwrap();
    let text = error.to_string();
    insta::with_settings!({ filters => vec![(r"\b20000\b", "[hard]")] }, {
        insta::assert_snapshot!(text, @"rlimits: setrlimit (nofile=100:536870912): Operation not permitted (EPERM); the hard limit here is [hard], and only CAP_SYS_RESOURCE may raise it: ask for --ulimit nofile=[hard] or less");
    });
    assert_eq!(error.exit_code(), 125);
    process.rlimits.clear();
    process.capabilities.add(resource);
    let error = try_start(&root.sandbox(), &process).err().unwrap();
    insta::assert_snapshot!(error, @"cannot grant CAP_SYS_RESOURCE: the engine does not hold it itself, so it runs confined; ask for less (--cap-drop) or give it to the engine");
}

#[test]
fn commands_that_cannot_run_get_dockers_words_and_codes() {
    if !is_root("errors") {
        return;
    }
    let root = Root::new();
    std::fs::write(root.path().join("etc/script"), "#!/no/such\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    let script = root.path().join("etc/script");
    std::fs::set_permissions(script, mode).unwrap();
    let mut all = String::new();
    let commands =
        ["nosuch", "/no/such", "/etc/passwd", "/etc", "", "/etc/script"];
    for command in commands {
        let mut process = Process::new([command]);
        process.env = sh("").env;
        let error = try_start(&root.sandbox(), &process).err().unwrap();
        all += &format!("{} {error}\n", error.exit_code());
    }
    insta::assert_snapshot!(all, @r#"
    127 exec: "nosuch": executable file not found in $PATH
    127 exec: "/no/such": stat /no/such: no such file or directory
    126 exec: "/etc/passwd": permission denied
    126 exec: "/etc": is a directory
    125 no command specified
    127 exec: "/etc/script": no such file or directory (the file is there, but the interpreter in its first line, or its dynamic loader, is not in the image)
    "#);
}

#[test]
fn a_working_directory_is_made_and_never_leaves_the_root() {
    if !is_root("cwd") {
        return;
    }
    let root = Root::new();
    let mut process = sh("pwd");
    process.cwd = "/srv/app".into();
    assert_eq!(run(&root.sandbox(), &process).out, "/srv/app\n");
    // CVE-2024-21626: a directory of the host by way of a leaked fd.
    process.cwd = "/proc/self/fd/3".into();
    assert!(try_start(&root.sandbox(), &process).is_err());
}

#[test]
fn an_exec_joins_the_world_of_a_container() {
    if !is_root("exec") {
        return;
    }
    let root = Root::new();
    let mut first = start(&root.sandbox(), &sh("sleep 60"));
    let pid = first.created.pid();
    let script = "echo $$; cat /proc/sys/kernel/hostname; \
                  tr '\\0' ' ' < /proc/1/cmdline; echo; \
                  for ns in cgroup ipc mnt net pid uts user; do \
                  test $(readlink /proc/1/ns/$ns) = \
                  $(readlink /proc/self/ns/$ns) || exit 9; done";
    let process = sh(script);
    let mut second = with_streams(|stdio| {
        join(pid, &process, stdio, CgroupEntry::default())
    })
    .unwrap();
    second.created.start().unwrap();
    let output = second.finish();
    assert_eq!(output.exit.code, 0, "{output:?}");
    let (number, rest) = output.out.split_once('\n').unwrap();
    assert!(number.parse::<u32>().unwrap() > 1);
    assert!(rest.starts_with("box\nsh -c sleep 60 \n"), "{rest}");
    first.created.kill(9).unwrap();
    first.created.wait().unwrap();
    let gone = with_streams(|stdio| {
        join(pid, &process, stdio, CgroupEntry::default())
    });
    assert!(gone.is_err());
}

#[test]
fn a_terminal_is_the_controlling_one_and_the_console() {
    if !is_root("terminal") {
        return;
    }
    let root = Root::new();
    let script = "tty; stty size; stat -c %t /dev/console; \
                  stat -c %u /dev/pts/0; echo x > /dev/tty";
    let mut process = sh(script);
    process.user = User::named("web");
    let size = WindowSize { rows: 33, cols: 99 };
    let mut created = create(
        &root.sandbox(),
        &process,
        Stdio::Terminal(size),
        CgroupEntry::default(),
    )
    .unwrap();
    let mut master = std::fs::File::from(created.terminal().unwrap());
    created.start().unwrap();
    let mut text = Vec::new();
    // A terminal ends with EIO.
    let _ = master.read_to_end(&mut text);
    let text = String::from_utf8(text).unwrap();
    assert_eq!(text, "/dev/pts/0\r\n33 99\r\n88\r\n4001\r\nx\r\n");
    assert_eq!(created.wait().unwrap().code, 0);
}

#[test]
fn an_init_reaps_orphans_and_hands_signals_on() {
    if !is_root("init") {
        return;
    }
    let root = Root::new();
    let script = "tr '\\0' ' ' < /proc/1/cmdline | grep -c / >&2; \
                  trap 'echo term; exit 5' TERM; \
                  (sh -c 'sleep 0.1 & echo $$' &); sleep 0.3; \
                  ps -e -o stat= | grep -c Z; echo $$; \
                  while :; do sleep 0.05; done";
    let mut process = sh(script);
    process.init = true;
    let mut running = start(&root.sandbox(), &process);
    let mut text = Vec::new();
    let mut byte = [0];
    while text.iter().filter(|it| **it == b'\n').count() < 3 {
        running.out.read_exact(&mut byte).unwrap();
        text.push(byte[0]);
    }
    let text = String::from_utf8(text).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[1], "0", "no zombies");
    assert_eq!(lines[2], "2", "the command is PID 2");
    running.created.kill(libc::SIGTERM).unwrap();
    let output = running.finish();
    assert_eq!((output.out.as_str(), output.exit.code), ("term\n", 5));
    assert_eq!(output.err, "0\n", "no path of the host in its command line");
}

#[test]
fn a_user_namespace_makes_root_inside_an_ordinary_user_outside() {
    if !is_root("user namespace") {
        return;
    }
    let root = Root::new();
    let id = Some(200_000);
    std::os::unix::fs::chown(root.path(), id, id).unwrap();
    let mut sandbox = root.sandbox();
    sandbox.namespaces.user = Namespace::New;
    let map = vec![IdMap { inside: 0, outside: 200_000, count: 65536 }];
    (sandbox.uid_map, sandbox.gid_map) = (map.clone(), map);
    let script = "id -u; touch /dev/shm/f; stat -c %u /dev/shm/f; \
                  cat /proc/self/uid_map | tr -s ' '; sleep 60";
    let mut running = start(&sandbox, &sh(script));
    let mut text = [0; 20];
    running.out.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"0\n0\n 0 200000 65536\n");
    let path = format!("/proc/{}", running.created.pid());
    use std::os::unix::fs::MetadataExt;
    assert_eq!(std::fs::metadata(path).unwrap().uid(), 200_000);
    running.created.kill(9).unwrap();
    running.created.wait().unwrap();
}

#[test]
fn dropping_one_that_was_never_started_ends_it() {
    if !is_root("drop") {
        return;
    }
    let root = Root::new();
    let running = with_streams(|stdio| {
        create(&root.sandbox(), &sh("true"), stdio, CgroupEntry::default())
    })
    .unwrap();
    let proc = format!("/proc/{}", running.created.pid());
    assert!(std::path::Path::new(&proc).exists());
    drop(running);
    assert!(!std::path::Path::new(&proc).exists());
}
