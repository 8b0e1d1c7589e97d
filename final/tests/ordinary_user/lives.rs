//! What becomes of an ordinary user's containers when the daemon, the keeper
//! of its namespaces or another user comes in between.

use super::machine::{DAEMON, Machine, NOBODY};
use super::user::{User, WEB, fetch, fetch_once, until};

#[test]
fn a_killed_daemon_costs_neither_containers_nor_ports() {
    let test = "a_killed_daemon_costs_neither_containers_nor_ports";
    let Some(machine) = Machine::new(test) else { return };
    let Some(user) = machine.user(test, NOBODY) else { return };
    let web = ["run", "-d", "--name", "web", "-h", "web", "-p", "8080:80"];
    user.says(&[&web[..], &["box", "sh", "-c", WEB]].concat());
    assert_eq!(fetch("127.0.0.1:8080"), "web");
    let keeper = user.keeper();

    user.kill(user.daemon());
    assert_eq!(fetch("127.0.0.1:8080"), "web", "no daemon");
    // The next command starts one, which moves in with the same keeper.
    let names = ["ps", "--format", "{{.Names}} {{.Ports}}"];
    let ports = "web 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp";
    assert_eq!(user.says(&names), ports);
    assert_eq!(user.keeper(), keeper);
    assert_eq!(fetch("127.0.0.1:8080"), "web");
    assert_eq!(user.says(&["exec", "web", "hostname"]), "web");
    assert_eq!(user.says(&["logs", "web"]), "serving");

    // And if the keeper is killed as well, its namespaces are still those
    // of the containers.
    user.kill(user.daemon());
    user.kill(keeper);
    assert_eq!(user.says(&names), ports);
    assert_ne!(user.keeper(), keeper);
    assert_eq!(fetch("127.0.0.1:8080"), "web");
    assert_eq!(user.says(&["exec", "web", "hostname"]), "web");

    // Losing it below a living daemon is told, and the next one mends it.
    let warns = || user.says(&["info", "--format", "{{json .Warnings}}"]);
    let lost = "the process that keeps the published ports";
    assert!(!warns().contains(lost), "{}", warns());
    user.kill(user.keeper());
    until("the loss is told", || warns().contains(lost));
    user.kill(user.daemon());
    assert!(!warns().contains(lost), "{}", warns());
    assert_eq!(fetch("127.0.0.1:8080"), "web");
    user.says(&["rm", "-f", "web"]);
    assert_eq!(fetch_once("127.0.0.1:8080"), None);
}

#[test]
fn a_keeper_without_daemon_and_containers_ends() {
    let test = "a_keeper_without_daemon_and_containers_ends";
    let Some(machine) = Machine::new(test) else { return };
    let Some(user) = machine.user(test, NOBODY) else { return };
    assert!(user.keeper().is_some());
    user.kill(user.daemon());
    until("the keeper has ended", || user.keeper().is_none());
    assert_eq!(user.says(&["images", "-q"]).lines().count(), 1);
}

#[test]
fn two_users_do_not_see_each_other() {
    let test = "two_users_do_not_see_each_other";
    let Some(machine) = Machine::new(test) else { return };
    let Some(one) = machine.user(test, NOBODY) else { return };
    let Some(other) = machine.user(test, DAEMON) else { return };
    let run = |user: &User, host: &str, port: &str| {
        let web = ["run", "-d", "--name", "web", "-h", host, "-p", port];
        user.says(&[&web[..], &["box", "sh", "-c", WEB]].concat());
    };
    run(&one, "one", "8081:80");
    run(&other, "other", "8082:80");
    assert_eq!(fetch("127.0.0.1:8081"), "one");
    assert_eq!(fetch("127.0.0.1:8082"), "other");
    for user in [&one, &other] {
        assert_eq!(user.says(&["ps", "-aq"]).lines().count(), 1);
    }
    // There is one host, though.
    let taken = ["run", "--rm", "-p", "8081:80", "box", "true"];
    let taken = other.complains(&taken);
    assert!(taken.ends_with(":8081 failed: address already in use"), "{taken}");
    let theirs = format!("unix://{}", one.socket().display());
    let refused = other.complains(&["-H", &theirs, "ps"]);
    assert!(refused.contains("Cannot connect"), "{refused}");
}
