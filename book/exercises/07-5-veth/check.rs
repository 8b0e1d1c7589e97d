//! Connects a process in its own network namespace, and talks to it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use exercises::{Verdict, failed, observed};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::learner;

pub fn check() -> Verdict {
    let (pid, go) = container();
    let result = learner::connect(pid);
    let links = ip(pid, "-o link");
    let ours = String::from_utf8(
        Command::new("ip").args(["-o", "link"]).output().expect("ip").stdout,
    );
    if !links.contains("eth0") {
        let ours = ours.unwrap_or_default();
        let here =
            if ours.contains("eth0@") { "it is here" } else { "nor here" };
        let text = format!("there is no eth0 in the container; {here}");
        return Err(match result {
            Err(error) if here == "nor here" => {
                failed("error", "connect", &error)
            }
            _ => observed("at-home", text),
        });
    }
    result.map_err(|error| failed("error", "connect", &error))?;
    drop(go);
    state(pid, &links)?;
    talk(pid)
}

/// A process with its own network that answers on port 80 once `go` is
/// closed.
fn container() -> (u32, std::fs::File) {
    let (wait, go) = rustix::pipe::pipe().expect("a pipe");
    let (ready, tell) = rustix::pipe::pipe().expect("a pipe");
    // SAFETY: a check has one thread.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        drop((go, ready));
        // SAFETY: as above.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("unshare");
        drop(tell);
        let _ = std::fs::File::from(wait).read(&mut [0]);
        let listener = TcpListener::bind("0.0.0.0:80").expect("listen");
        for stream in listener.incoming() {
            let _ = stream.expect("a connection").write_all(b"hi");
        }
        std::process::exit(0);
    }
    drop((wait, tell));
    let _ = std::fs::File::from(ready).read(&mut [0]);
    (pid.unsigned_abs(), go.into())
}

/// What `ip` says in the container.
fn ip(pid: u32, words: &str) -> String {
    let mut command = Command::new("nsenter");
    command.args(["-t", &pid.to_string(), "-n", "ip"]);
    let output = command.args(words.split(' ')).output().expect("nsenter");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn state(pid: u32, links: &str) -> Verdict {
    let line = |name: &str| {
        let found = links.lines().find(|it| it.contains(name));
        found.unwrap_or_default().to_owned()
    };
    for name in ["eth0", "lo:"] {
        if !line(name).contains(",UP") {
            return Err(observed(
                if name == "eth0" { "down" } else { "lo" },
                format!("in the container: {}", line(name)),
            ));
        }
    }
    let addresses = ip(pid, "-o -4 addr show eth0");
    if !addresses.contains("10.9.0.2/24") {
        return Err(observed(
            "address",
            format!("eth0 in the container: {addresses:?}"),
        ));
    }
    let route = ip(pid, "route show default");
    if !route.contains("via 10.9.0.1") {
        return Err(observed(
            "route",
            format!("the container's default route: {route:?}"),
        ));
    }
    Ok(Vec::new())
}

fn talk(pid: u32) -> Verdict {
    let there: SocketAddr = "10.9.0.2:80".parse().expect("an address");
    let mut text = String::new();
    let mut last = None;
    // The server may need a moment until it listens.
    for _ in 0..20 {
        match TcpStream::connect_timeout(&there, Duration::from_millis(300)) {
            Ok(mut stream) => {
                stream.read_to_string(&mut text).expect("read");
                break;
            }
            Err(error) => last = Some(error),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    if text != "hi" {
        return Err(observed(
            "outer",
            format!("a connection to {there} from outside: {last:?}"),
        ));
    }
    Ok(vec![
        format!("10.9.0.2:80, in the network of {pid}, answered from outside"),
        format!("the container's way out: {}", ip(pid, "route show default")),
    ])
}
