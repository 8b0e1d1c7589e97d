//! What an ordinary user cannot have, and how that is said.

use cli_api::testing;

use super::machine::{Machine, NOBODY};

#[test]
fn what_only_root_can_have_is_refused_with_the_reason() {
    let test = "what_only_root_can_have_is_refused_with_the_reason";
    let Some(machine) = Machine::new(test) else { return };
    let Some(user) = machine.user(test, NOBODY) else { return };
    let low = ["run", "--rm", "--name", "low", "-p", "80:80", "box", "true"];
    insta::assert_snapshot!(user.complains(&low), @"skiff: Error response from daemon: driver failed programming external connectivity on endpoint low: Bind for 0.0.0.0:80 failed: permission denied (ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE; as root: sysctl net.ipv4.ip_unprivileged_port_start=80, or choose a port from 1024 on)");
    let limit = ["run", "--rm", "--ulimit", "nofile=9999999", "box", "true"];
    let limit = user.complains(&limit);
    assert!(limit.contains("only CAP_SYS_RESOURCE may raise it"), "{limit}");
    let score = ["run", "--rm", "--oom-score-adj", "-900", "box", "true"];
    let score = user.complains(&score);
    assert!(score.contains("only CAP_SYS_RESOURCE may lower"), "{score}");

    let driver = user.says(&["info", "--format", "{{.CgroupDriver}}"]);
    if driver != "none" {
        testing::skip(test, "this user has cgroups");
        return;
    }
    let cpus = ["run", "--rm", "--cpus", "1", "box", "true"];
    insta::assert_snapshot!(user.complains(&cpus), @"skiff: Error response from daemon: NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted");
    let memory = ["run", "--rm", "-m", "16m", "box", "true"];
    let memory = user.skiff(&memory);
    assert!(memory.status.success(), "{memory:?}");
    let warning = String::from_utf8_lossy(&memory.stderr);
    insta::assert_snapshot!(warning, @"WARNING: Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.");
    user.says(&["run", "-d", "--name", "up", "box", "sleep", "60"]);
    let pause = user.complains(&["pause", "up"]);
    assert!(pause.contains("needs a delegated one to pause"), "{pause}");
}

#[test]
fn a_user_without_subordinate_ids_is_told_and_has_an_engine() {
    let test = "a_user_without_subordinate_ids_is_told_and_has_an_engine";
    let Some(machine) = Machine::with_sub_ids(test, "") else { return };
    let Some(user) = machine.user(test, NOBODY) else { return };
    let line = "id -u; stat -c %u /srv";
    let said = user.says(&["run", "--rm", "box", "sh", "-c", line]);
    assert_eq!(said, "0\n0");
    let warnings = user.says(&["info", "--format", "{{json .Warnings}}"]);
    let fix = "/etc/subuid has no line for nobody; as root: usermod \
               --add-subuids 100000-165535";
    assert!(warnings.contains(fix), "{warnings}");
}
