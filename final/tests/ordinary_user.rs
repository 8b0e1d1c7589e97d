//! The engine of an ordinary user, as that user meets it. The tests run as
//! root, so that each can be a machine of its own: with a mount and a
//! network namespace, subordinate IDs and users who know nothing of it.

#[path = "ordinary_user/lives.rs"]
mod lives;
#[path = "ordinary_user/machine.rs"]
mod machine;
#[path = "ordinary_user/rights.rs"]
mod rights;
#[path = "ordinary_user/uplink.rs"]
mod uplink;
#[path = "ordinary_user/user.rs"]
mod user;

use std::fs;
use std::path::Path;

use cli_api::testing;

use machine::{Machine, NOBODY};
use user::{WEB, fetch, fetch_once, text_of};

#[test]
fn an_ordinary_user_runs_containers() {
    let test = "an_ordinary_user_runs_containers";
    let Some(machine) = Machine::new(test) else { return };
    let Some(user) = machine.user(test, NOBODY) else { return };

    // Root inside, and somebody for each user of the image.
    let line = "id -u; stat -c %u /srv; su web -s /bin/sh -c 'id -u'";
    let said = user.says(&["run", "--rm", "box", "sh", "-c", line]);
    assert_eq!(said, "0\n7\n7");
    let output = user.skiff(&["run", "--rm", "box", "sh", "-c", "exit 3"]);
    assert_eq!(output.status.code(), Some(3));
    let info = user.says(&["info", "--format", "{{json .SecurityOptions}}"]);
    assert!(info.contains("name=rootless"), "{info}");

    user.says(&[
        "run",
        "-d",
        "--name",
        "web",
        "-h",
        "web",
        "-p",
        "8080:80",
        "-v",
        "data:/data",
        "box",
        "sh",
        "-c",
        WEB,
    ]);
    assert_eq!(fetch("127.0.0.1:8080"), "web");
    assert_eq!(fetch("[::1]:8080"), "web");
    assert_eq!(user.says(&["logs", "web"]), "serving");
    user.says(&["exec", "web", "sh", "-c", "echo kept > /data/file"]);
    let top = user.says(&["top", "web"]);
    assert!(top.contains("httpd"), "{top}");

    user.says(&["network", "create", "net"]);
    user.says(&["network", "connect", "net", "web"]);
    let ask = ["run", "--rm", "--network", "net", "box"];
    let ask = [&ask[..], &["wget", "-qO-", "http://web/"]].concat();
    assert_eq!(user.says(&ask), "web");

    user.says(&["stop", "-t", "1", "web"]);
    assert_eq!(fetch_once("127.0.0.1:8080"), None);
    user.says(&["start", "web"]);
    assert_eq!(fetch("127.0.0.1:8080"), "web");
    user.says(&["rm", "-f", "web"]);
    assert_eq!(fetch_once("127.0.0.1:8080"), None);
    let volume = ["run", "--rm", "-v", "data:/data", "box"];
    let volume = [&volume[..], &["cat", "/data/file"]].concat();
    assert_eq!(user.says(&volume), "kept");
}

#[test]
fn an_ordinary_user_builds_images() {
    let test = "an_ordinary_user_builds_images";
    let Some(machine) = Machine::new(test) else { return };
    let Some(user) = machine.user(test, NOBODY) else { return };
    let context = user.home.join("context");
    fs::create_dir(&context).unwrap();
    fs::write(context.join("file"), "copied\n").unwrap();
    let dockerfile = "FROM box\nRUN echo built > /built && chown web /built\n\
                      COPY --chown=web file /file\n\
                      CMD stat -c %U /built /file && cat /built /file\n";
    fs::write(context.join("Dockerfile"), dockerfile).unwrap();
    user.says(&["build", "-t", "mine", "context"]);
    let said = user.says(&["run", "--rm", "mine"]);
    assert_eq!(said, "web\nweb\nbuilt\ncopied");
}

#[test]
fn the_docker_command_finds_nothing_missing() {
    let test = "the_docker_command_finds_nothing_missing";
    let Some(machine) = Machine::new(test) else { return };
    let Some(user) = machine.user(test, NOBODY) else { return };
    let program = ["/usr/local/bin/docker", "/usr/bin/docker"];
    let Some(docker) = program.iter().find(|it| Path::new(it).exists()) else {
        testing::skip(test, "the docker command is not installed");
        return;
    };
    let docker = |arguments: &[&str]| {
        let socket = format!("unix://{}", user.socket().display());
        let mut command = user.command(Path::new(docker));
        command.env("DOCKER_HOST", socket).args(arguments);
        text_of(arguments, command.output().unwrap())
    };
    assert_eq!(docker(&["run", "--rm", "box", "echo", "hi"]), "hi");
    let web = ["run", "-d", "--name", "web", "-h", "web", "-P"];
    docker(&[&web[..], &["--expose=80", "box", "sh", "-c", WEB]].concat());
    let port = docker(&["port", "web", "80"]);
    let port = port.lines().next().unwrap().rsplit_once(':').unwrap().1;
    assert_eq!(fetch(&format!("127.0.0.1:{port}")), "web");
    assert_eq!(docker(&["exec", "web", "id", "-u"]), "0");
    docker(&["cp", "/etc/hostname", "web:/copied"]);
    docker(&["rm", "-f", "web"]);
}
