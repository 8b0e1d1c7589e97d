//! What a process sees from inside, checked against the kernel.

mod common;

use std::fs;
use std::time::Duration;

use cli_api::testing::leftovers_after;
use common::{Root, is_root, output, run, sh, start};
use namespaces::{Mount, MountOptions, Namespace, Source};

#[test]
fn the_command_is_pid_1_inside_and_another_outside() {
    if !is_root("pid 1") {
        return;
    }
    let root = Root::new();
    let mut running = start(&root.sandbox(), &sh("echo $$; sleep 60"));
    let mut line = [0; 2];
    std::io::Read::read_exact(&mut running.out, &mut line).unwrap();
    assert_eq!(&line, b"1\n");
    assert!(running.created.pid() > 1);
    let comm = format!("/proc/{}/comm", running.created.pid());
    assert_eq!(fs::read_to_string(comm).unwrap(), "sh\n");
    running.created.kill(libc::SIGKILL).unwrap();
    let exit = running.finish().exit;
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
}

#[test]
fn ps_sees_only_the_container() {
    if !is_root("ps") {
        return;
    }
    let pids =
        output("ls -d /proc/[0-9]* | grep -v $$ | wc -l; ps aux | wc -l");
    let lines: Vec<_> = pids.lines().collect();
    // ps itself, the header, the shell and wc.
    assert!(lines[1].trim().parse::<u32>().unwrap() <= 4, "{pids}");
}

#[test]
fn the_host_name_is_its_own() {
    if !is_root("hostname") {
        return;
    }
    let before = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(output("cat /proc/sys/kernel/hostname"), "box\n");
    let after = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(before, after);
}

#[test]
fn a_new_network_has_only_a_loopback_that_is_down() {
    if !is_root("net") {
        return;
    }
    let names = output("ls /sys/class/net; tail -n +3 /proc/net/dev | wc -l");
    assert_eq!(names, "lo\n1\n");
}

#[test]
fn mounts_inside_do_not_appear_outside() {
    if !is_root("mounts") {
        return;
    }
    let root = Root::new();
    let inside = run(&root.sandbox(), &sh("cat /proc/self/mountinfo"));
    let targets: Vec<_> = inside
        .out
        .lines()
        .map(|line| line.split(' ').nth(4).unwrap())
        .collect();
    for path in ["/", "/proc", "/dev", "/dev/pts", "/sys", "/usr"] {
        assert!(targets.contains(&path), "{path} in {targets:?}");
    }
    let name = root.path().to_str().unwrap().to_owned();
    let host = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!host.contains(&name), "mount left on the host");
    assert!(!inside.out.contains(" /old"), "{}", inside.out);
}

#[test]
fn the_cgroup_looks_like_the_root_of_the_tree() {
    if !is_root("cgroup") {
        return;
    }
    let lines = output("cat /proc/self/cgroup");
    for line in lines.lines() {
        assert!(line.ends_with(":/"), "{line}");
    }
    let tree = output("ls /sys/fs/cgroup; touch /sys/fs/cgroup/x || true");
    assert!(tree.lines().count() > 1, "{tree}");
}

#[test]
fn dev_has_harmless_nodes_and_the_usual_names() {
    if !is_root("dev") {
        return;
    }
    let names = output("cd /dev && ls && readlink ptmx fd stdin");
    insta::assert_snapshot!(names, @"
    fd
    full
    mqueue
    null
    ptmx
    pts
    random
    shm
    stderr
    stdin
    stdout
    tty
    urandom
    zero
    pts/ptmx
    /proc/self/fd
    /proc/self/fd/0
    ");
    assert_eq!(output("echo x > /dev/null && stat -c %a /dev/null"), "666\n");
}

#[test]
fn kernel_files_of_the_host_are_covered_or_read_only() {
    if !is_root("masks") {
        return;
    }
    let script = "wc -c < /proc/timer_list; wc -c < /proc/interrupts; \
                  ls /sys/firmware | wc -l; \
                  echo 1 > /proc/sys/vm/drop_caches; \
                  echo 1 > /proc/irq/default_smp_affinity; \
                  mkdir /sys/fs/cgroup/x";
    let root = Root::new();
    let output = run(&root.sandbox(), &sh(script));
    assert_eq!(output.out, "0\n0\n0\n");
    let refused = output.err.matches("Read-only file system").count();
    assert_eq!(refused, 3, "{output:?}");
}

#[test]
fn a_read_only_root_cannot_be_written_but_its_mounts_can() {
    if !is_root("read-only") {
        return;
    }
    let root = Root::new();
    let mut sandbox = root.sandbox();
    sandbox.readonly_rootfs = true;
    sandbox.mount(Mount::new(
        "/made/for/it",
        Source::Tmpfs { options: vec!["size=1m".to_owned()] },
    ));
    let script = "echo x > /made/for/it/file && cat /made/for/it/file; \
                  echo x > /tmp/file";
    let output = run(&sandbox, &sh(script));
    assert_eq!(output.out, "x\n");
    assert!(output.err.contains("Read-only file system"), "{output:?}");
}

#[test]
fn bind_mounts_share_files_and_keep_their_restrictions() {
    if !is_root("bind") {
        return;
    }
    let (root, data) = (Root::new(), tempfile::tempdir().unwrap());
    fs::write(data.path().join("in"), "from the host\n").unwrap();
    let mut sandbox = root.sandbox();
    let at = |target| Mount::bind(data.path(), target);
    sandbox.mount(at("/data"));
    let mut limited = at("/limited").read_only();
    limited.options = MountOptions { noexec: true, ..limited.options };
    sandbox.mount(limited);
    sandbox.mount(Mount::bind(data.path().join("in"), "/etc/one/file"));
    let script = "cat /data/in /etc/one/file; echo back > /data/out; \
                  echo no > /limited/out2";
    let output = run(&sandbox, &sh(script));
    assert_eq!(output.out, "from the host\nfrom the host\n");
    assert!(output.err.contains("Read-only"), "{output:?}");
    let back = fs::read_to_string(data.path().join("out")).unwrap();
    assert_eq!(back, "back\n");
}

#[test]
fn a_link_in_the_image_never_leads_out_of_it() {
    if !is_root("escape") {
        return;
    }
    let (root, data) = (Root::new(), tempfile::tempdir().unwrap());
    let outside = tempfile::tempdir().unwrap();
    // An image that would like its volume mounted over the host's files.
    let trap = outside.path().to_str().unwrap();
    let up = "../../../../../../../..";
    std::os::unix::fs::symlink(trap, root.path().join("abs")).unwrap();
    let relative = format!("{up}{trap}");
    std::os::unix::fs::symlink(relative, root.path().join("rel")).unwrap();
    fs::write(data.path().join("file"), "").unwrap();
    for target in ["/abs", "/rel", "/abs/deep"] {
        let mut sandbox = root.sandbox();
        sandbox.mount(Mount::bind(data.path(), target));
        // Dangling inside the root, so it is refused or made inside.
        let _ = common::try_start(&sandbox, &sh("true"))
            .map(common::Running::finish);
        let left = fs::read_dir(outside.path()).unwrap().count();
        assert_eq!(left, 0, "{target} made something outside");
    }
}

#[test]
fn a_mount_over_a_link_to_nothing_makes_what_it_names_in_the_root() {
    if !is_root("dangling link") {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    fs::write(data.path().join("file"), "from the host\n").unwrap();
    let link = std::os::unix::fs::symlink;
    for (text, made) in [
        ("/srv/deep/place", "/srv/deep/place"),
        ("srv/../other//place", "/etc/other/place"),
        ("../twice", "/elsewhere"),
        ("../../../up", "/up"),
    ] {
        for (source, see) in [("", "/file"), ("file", "")] {
            let root = Root::new();
            link(text, root.path().join("etc/data")).unwrap();
            link("/elsewhere", root.path().join("twice")).unwrap();
            let mut sandbox = root.sandbox();
            let source = data.path().join(source);
            sandbox.mount(Mount::bind(source, "/etc/data"));
            let output = run(&sandbox, &sh(&format!("cat {made}{see}")));
            assert_eq!(output.out, "from the host\n", "{text}: {output:?}");
        }
    }
}

#[test]
fn links_to_nothing_that_go_in_a_circle_are_no_place_for_a_mount() {
    if !is_root("circle") {
        return;
    }
    let (root, data) = (Root::new(), tempfile::tempdir().unwrap());
    let link = std::os::unix::fs::symlink;
    link("two/x", root.path().join("one")).unwrap();
    link("one/x", root.path().join("two")).unwrap();
    let mut sandbox = root.sandbox();
    sandbox.mount(Mount::bind(data.path(), "/one"));
    let error = common::try_start(&sandbox, &sh("true"));
    let error = error.err().unwrap().to_string();
    assert!(error.contains("ELOOP"), "{error}");
}

#[test]
fn a_proc_that_is_a_link_is_refused() {
    if !is_root("proc link") {
        return;
    }
    let root = Root::new();
    fs::create_dir(root.path().join("fake")).unwrap();
    std::os::unix::fs::symlink("fake", root.path().join("proc")).unwrap();
    let error = common::try_start(&root.sandbox(), &sh("true"));
    let error = error.err().unwrap().to_string();
    insta::assert_snapshot!(error, @"mounts: openat2 (proc on /proc): Too many levels of symbolic links (ELOOP); the image has a symbolic link where the kernel's own file system goes, which could trick the engine: refused");
}

#[test]
fn sysctls_reach_the_namespace_and_not_the_host() {
    if !is_root("sysctl") {
        return;
    }
    let host = fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl").unwrap();
    let root = Root::new();
    let mut sandbox = root.sandbox();
    let name = "net.ipv4.ip_default_ttl".to_owned();
    sandbox.sysctls.insert(name, "42".to_owned());
    let output = run(&sandbox, &sh("cat /proc/sys/net/ipv4/ip_default_ttl"));
    assert_eq!(output.out, "42\n");
    let after =
        fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl").unwrap();
    assert_eq!(host, after);
}

#[test]
fn namespaces_can_be_the_hosts_or_another_containers() {
    if !is_root("joins") {
        return;
    }
    let root = Root::new();
    let mut first = start(&root.sandbox(), &sh("sleep 60"));
    let pid = first.created.pid();
    let ns = |kind: &str| {
        let path = format!("/proc/{pid}/ns/{kind}");
        (fs::read_link(&path).unwrap(), Namespace::Join(path.into()))
    };
    let show = sh("readlink /proc/self/ns/net /proc/self/ns/uts \
                   /proc/self/ns/ipc /proc/self/ns/pid; echo $$");
    let mut sandbox = root.sandbox();
    let (net, join_net) = ns("net");
    let (other_pid, join_pid) = ns("pid");
    sandbox.namespaces.net = join_net;
    sandbox.namespaces.pid = join_pid;
    sandbox.namespaces.uts = Namespace::Host;
    sandbox.hostname = None;
    let output = run(&sandbox, &show);
    let lines: Vec<_> = output.out.lines().collect();
    let host_uts = fs::read_link("/proc/self/ns/uts").unwrap();
    assert_eq!(lines[0], net.to_str().unwrap(), "{output:?}");
    assert_eq!(lines[1], host_uts.to_str().unwrap());
    assert_ne!(lines[2], ns("ipc").0.to_str().unwrap());
    assert_eq!(lines[3], other_pid.to_str().unwrap());
    assert_ne!(lines[4], "1", "it is not PID 1 of somebody else's");
    first.created.kill(9).unwrap();
    first.created.wait().unwrap();
}

#[test]
fn a_hundred_starts_leave_nothing() {
    if !is_root("leak") {
        return;
    }
    let root = Root::new();
    for _ in 0..100 {
        assert_eq!(run(&root.sandbox(), &sh("exit 3")).exit.code, 3);
    }
    let marker = root.path().to_str().unwrap();
    let left = leftovers_after(Duration::from_secs(5), &[marker]);
    assert!(left.is_empty(), "{left:#?}");
    // Other tests of this file have files open at the same time.
    let fds = fs::read_dir("/proc/self/fd").unwrap().count();
    assert!(fds < 200, "{fds} file descriptors open");
}
