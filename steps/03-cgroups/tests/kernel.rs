//! The library against the kernel of this machine, whichever dialect it
//! speaks: real groups, real processes. Each test takes its group away.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use cgroups::{Cgroup, DeviceRule, Error, Hierarchy, Kind, Limits};
use cli_api::testing::{root_or_skip, skip};

/// A group for one test, removed (with all in it) when the test ends.
struct Guard(Cgroup);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.kill().expect("kill what is left");
        self.0.remove().expect("remove the group");
        assert!(self.0.dirs().all(|dir| !dir.exists()), "group is left");
    }
}

/// Whether groups with limits can be made here: by root, or by a user to
/// whom systemd handed a group down (v2). If not, says so.
fn may_limit(test: &str, kind: Kind) -> bool {
    let hierarchy = Hierarchy::detect().expect("a cgroup file system");
    if !hierarchy.has(kind) {
        skip(test, "takes root, or a delegated cgroup on v2");
    }
    hierarchy.has(kind)
}

fn group(test: &str, limits: &Limits) -> Option<Guard> {
    if !may_limit(test, Kind::Memory) {
        return None;
    }
    let name = format!("skiff/test-{test}-{}", std::process::id());
    let hierarchy = Hierarchy::detect().expect("a cgroup file system");
    Some(Guard(Cgroup::create(&hierarchy, &name, limits).expect("create")))
}

/// A shell that waits outside until it is in the group, then runs `script`.
fn start(group: &Cgroup, script: &str) -> Child {
    let mut child = Command::new("sh")
        .args(["-c", &format!("read go; {script}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh");
    group.add(child.id()).expect("add");
    let mut stdin = child.stdin.take().expect("stdin");
    stdin.write_all(b"go\n").expect("go");
    child
}

fn run(group: &Cgroup, script: &str) -> ExitStatus {
    start(group, script).wait().expect("wait")
}

const MIB: u64 = 1 << 20;

#[test]
fn a_process_that_takes_more_than_its_memory_is_killed_and_counted() {
    let limits = Limits {
        memory: Some(64 * MIB),
        memory_swap: Some(64 << 20),
        ..Limits::default()
    };
    let Some(Guard(group)) = &group("memory", &limits) else { return };
    let watch = group.oom_events().unwrap().expect("memory controller");
    assert!(!watch.wait(0).unwrap(), "nothing has happened yet");

    // `tail` keeps its last line, which never ends, in memory.
    let status = run(group, "exec tail /dev/zero");
    assert_eq!(status.signal(), Some(libc::SIGKILL));
    assert!(watch.wait(5_000).unwrap(), "the watch saw it");
    assert_eq!(group.oom_kills().unwrap(), 1);

    let memory = group.stats().unwrap().memory;
    assert_eq!(memory.limit, Some(64 * MIB));
    assert!(memory.max_usage.is_none_or(|max| max > 32 * MIB));
}

#[test]
fn a_busy_loop_gets_half_a_core_by_the_kernels_own_accounting() {
    let limits = Limits { nano_cpus: Some(500_000_000), ..Limits::default() };
    let Some(Guard(group)) = &group("cpu", &limits) else { return };
    let mut child = start(group, "while :; do :; done");
    std::thread::sleep(Duration::from_millis(300));
    let (start, before) = (Instant::now(), group.stats().unwrap().cpu);
    std::thread::sleep(Duration::from_secs(2));
    let after = group.stats().unwrap().cpu;
    let wall = start.elapsed();
    group.kill().unwrap();
    child.wait().unwrap();

    let used = Duration::from_nanos(after.total - before.total);
    let share = used.as_secs_f64() / wall.as_secs_f64();
    // A loaded machine may give less; the limit is that it is not more.
    assert!(share < 0.58, "got {share:.2} of a core");
    if share > 0.45 {
        assert!(after.throttled_periods > before.throttled_periods);
    }
}

#[test]
fn a_fork_bomb_stops_at_the_pids_limit_and_kill_ends_it() {
    let limits = Limits { pids: Some(20), ..Limits::default() };
    let Some(Guard(group)) = &group("pids", &limits) else { return };
    let mut child = start(group, "bomb() { bomb | bomb & }; bomb; sleep 100");
    std::thread::sleep(Duration::from_millis(500));
    let pids = group.stats().unwrap().pids;
    assert!(pids.current <= 20, "{pids:?}");
    assert_eq!(pids.limit, Some(20));
    group.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(group.procs().unwrap(), Vec::<u32>::new());
}

#[test]
fn a_frozen_group_stands_still_until_it_is_thawed() {
    let Some(Guard(group)) = &group("freeze", &Limits::default()) else {
        return;
    };
    let mut child = start(group, "while :; do :; done");
    group.freeze().unwrap();
    assert!(group.is_frozen().unwrap());
    let before = group.stats().unwrap().cpu.total;
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(group.stats().unwrap().cpu.total, before);
    group.thaw().unwrap();
    assert!(!group.is_frozen().unwrap());
    // A frozen group can be killed too: nobody has to thaw it first.
    group.freeze().unwrap();
    group.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
}

#[test]
fn a_device_outside_the_list_cannot_be_opened() {
    if !root_or_skip("a_device_outside_the_list") {
        return;
    }
    let mut rules = vec![DeviceRule::deny_all()];
    rules.push(DeviceRule::parse("c 1:3 rwm").unwrap());
    let limits = Limits { devices: Some(rules), ..Limits::default() };
    let Some(Guard(group)) = &group("devices", &limits) else { return };
    assert!(run(group, "exec 3</dev/null").success());
    assert!(!run(group, "exec 3</dev/zero").success());
}

#[test]
fn limits_of_a_running_group_can_be_changed_up_and_down() {
    let limits = Limits {
        memory: Some(32 * MIB),
        pids: Some(5),
        cpu_shares: Some(512),
        ..Limits::default()
    };
    let Some(Guard(group)) = &group("update", &limits) else { return };
    for size in [128 * MIB, 16 * MIB] {
        group
            .update(&Limits {
                memory: Some(size),
                memory_swap: i64::try_from(size * 2).ok(),
                pids: Some(-1),
                ..Limits::default()
            })
            .unwrap();
        let stats = group.stats().unwrap();
        assert_eq!(stats.memory.limit, Some(size));
        assert_eq!(stats.pids.limit, None);
    }
}

#[test]
fn a_group_is_there_for_the_next_daemon_and_cannot_be_made_twice() {
    let Some(Guard(group)) = &group("open", &Limits::default()) else {
        return;
    };
    let hierarchy = Hierarchy::detect().unwrap();
    let mut child = start(group, "exec sleep 100");
    let again = Cgroup::open(&hierarchy, group.path()).unwrap();
    assert_eq!(again.procs().unwrap(), vec![child.id()]);
    let error = Cgroup::create(&hierarchy, group.path(), &Limits::default());
    assert!(matches!(error, Err(Error::Exists { .. })), "{error:?}");
    assert!(group.dirs().all(|dir| dir.exists()), "left alone");
    again.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_group_with_processes_is_not_removed_and_names_them() {
    let Some(Guard(group)) = &group("busy", &Limits::default()) else {
        return;
    };
    let mut child = start(group, "exec sleep 100");
    let error = group.remove().unwrap_err().to_string();
    assert!(error.contains("EBUSY"), "{error}");
    assert!(error.contains(&child.id().to_string()), "{error}");
    group.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_cpuset_outside_the_machine_says_which_file_refused_it() {
    if !root_or_skip("a_cpuset_outside_the_machine") {
        return;
    }
    let hierarchy = Hierarchy::detect().unwrap();
    let limits =
        Limits { cpuset_cpus: Some("4000".into()), ..Limits::default() };
    let name = format!("skiff/test-cpuset-{}", std::process::id());
    let error = Cgroup::create(&hierarchy, &name, &limits).unwrap_err();
    assert!(error.to_string().contains("cpuset.cpus"), "{error}");
    // What was made before the error is gone again.
    assert_eq!(Cgroup::open(&hierarchy, &name).unwrap().dirs().count(), 0);
}

#[test]
fn one_core_of_the_cpuset_is_all_a_process_sees() {
    if !root_or_skip("one_core_of_the_cpuset") {
        return;
    }
    let limits = Limits { cpuset_cpus: Some("0".into()), ..Limits::default() };
    let Some(Guard(group)) = &group("cpuset1", &limits) else { return };
    assert!(run(group, "test $(nproc) = 1").success());
}
