//! The way out of an ordinary user's network, which is a program's.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;

use cli_api::testing;
use rustix::mount::mount_bind;
use rustix::process::Pid;

use super::machine::{Machine, NOBODY, installed};
use super::user::{WEB, fetch};

#[test]
fn a_container_reaches_the_world_outside() {
    let test = "a_container_reaches_the_world_outside";
    let programs = ["pasta", "slirp4netns"];
    let programs = programs.into_iter().filter(|it| installed(it));
    for program in programs {
        std::thread::scope(|scope| {
            let done = scope.spawn(|| reaches_by(test, program)).join();
            done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
    }
    if !["pasta", "slirp4netns"].iter().any(|it| installed(it)) {
        testing::skip(test, "neither pasta nor slirp4netns is installed");
    }
}

/// With all other programs for it out of sight.
fn reaches_by(test: &str, program: &str) {
    let Some(machine) = Machine::new(test) else { return };
    if !Path::new("/dev/net/tun").exists() || !installed("ip") {
        return testing::skip(test, "there is no /dev/net/tun, or no ip");
    }
    for other in ["/usr/bin/pasta", "/usr/bin/slirp4netns"] {
        if Path::new(other).exists() && !other.ends_with(program) {
            mount_bind("/bin/false", other).unwrap();
        }
    }
    // What stands for the host's Ethernet.
    for line in [
        "link add eth0 type veth peer name far",
        "link set eth0 up",
        "link set far up",
        "addr add 198.51.100.9/24 dev eth0",
        "route add default via 198.51.100.1",
    ] {
        let words = line.split(' ');
        assert!(Command::new("ip").args(words).status().unwrap().success());
    }
    let address: SocketAddr = "198.51.100.9:8000".parse().unwrap();
    let server = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        for client in server.incoming() {
            let mut client = client.unwrap();
            let _ = client.read(&mut [0; 1024]);
            let _ = client.write_all(b"HTTP/1.0 200 OK\r\n\r\noutside");
        }
    });
    let Some(user) = machine.user(test, NOBODY) else { return };
    let url = format!("http://{address}/");
    let ask = ["run", "--rm", "box", "wget", "-qO-", &url];
    assert_eq!(user.says(&ask), "outside", "{program}");

    // It is told when the program is lost, and the next daemon has another.
    let warns = || user.says(&["info", "--format", "{{json .Warnings}}"]);
    let lost = format!("{program}, by which containers");
    assert!(!warns().contains(&lost), "{}", warns());
    let file = fs::read(user.home.join("run/skiff/uplink.json")).unwrap();
    let file: serde_json::Value = serde_json::from_slice(&file).unwrap();
    let pid = file["pid"].as_i64().unwrap() as i32;
    user.kill(Pid::from_raw(pid));
    assert!(warns().contains(&lost), "{}", warns());
    user.kill(user.daemon());
    assert_eq!(user.says(&ask), "outside", "{program}, started again");
    assert!(!warns().contains(&lost), "{}", warns());
}

#[test]
fn without_a_way_out_it_is_said_and_containers_still_meet() {
    let test = "without_a_way_out_it_is_said_and_containers_still_meet";
    let Some(machine) = Machine::new(test) else { return };
    for program in ["/usr/bin/pasta", "/usr/bin/slirp4netns"] {
        if Path::new(program).exists() {
            mount_bind("/bin/false", program).unwrap();
        }
    }
    let Some(user) = machine.user(test, NOBODY) else { return };
    let warnings = user.says(&["info", "--format", "{{json .Warnings}}"]);
    assert!(warnings.contains("nothing outside can be reached"), "{warnings}");
    let pull = user.skiff(&["pull", "nobody/has-this"]);
    assert!(!pull.status.success());
    let told = String::from_utf8_lossy(&pull.stdout);
    assert!(told.contains("nothing outside can be reached"), "{pull:?}");
    let web = ["run", "-d", "--name", "web", "-h", "web", "-p", "8080:80"];
    user.says(&[&web[..], &["box", "sh", "-c", WEB]].concat());
    assert_eq!(fetch("127.0.0.1:8080"), "web");
}
