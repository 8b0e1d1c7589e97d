use std::io;
use std::process::Command;

/// Connects the network namespace of the process `pid` with ours: a pair of
/// interfaces, `veth0` here with 10.9.0.1/24 and `eth0` there with
/// 10.9.0.2/24, and the way out through us.
pub fn connect(pid: u32) -> io::Result<()> {
    // BEGIN
    ip(&format!("link add veth0 type veth peer name eth0 netns {pid}"))?;
    ip("addr add 10.9.0.1/24 dev veth0")?;
    ip("link set veth0 up")?;
    inside(pid, "addr add 10.9.0.2/24 dev eth0")?;
    inside(pid, "link set eth0 up")?;
    inside(pid, "link set lo up")?;
    inside(pid, "route add default via 10.9.0.1")
    // STARTER
    //= ip("link add veth0 type veth peer name eth0")?;
    //= ip("addr add 10.9.0.1/24 dev veth0")?;
    //= let _ = inside;
    //= todo!("the other end belongs to {pid}")
    // END
}

/// Runs `ip` with these words.
fn ip(words: &str) -> io::Result<()> {
    run(Command::new("ip").args(words.split(' ')))
}

/// Runs `ip` in the network namespace of a process.
fn inside(pid: u32, words: &str) -> io::Result<()> {
    let mut command = Command::new("nsenter");
    command.args(["-t", &pid.to_string(), "-n", "ip"]);
    run(command.args(words.split(' ')))
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(format!("{command:?}: {said}")))
}
