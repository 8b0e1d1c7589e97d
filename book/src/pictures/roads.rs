//! Roads: what comes after what.

use super::canvas::Canvas;
use super::canvas::Type::{Code, Plain, Small, Strong};
use super::canvas::area;
use super::recorded::Container;

/// The six steps and the finale.
pub(super) fn steps(_: &Container) -> Canvas {
    let stations = [
        ("1  cli-api", "a command becomes a request to a daemon"),
        ("2  namespaces", "the process sees a world of its own"),
        ("3  cgroups", "the kernel keeps limits"),
        ("4  layers", "images are pulled, built, and copied"),
        ("5  overlay-cow", "a mount takes the place of the copy"),
        ("6  volumes", "data outlives the container"),
        ("7  skiff", "networks, shims, Docker's API"),
    ];
    let mut canvas = Canvas::new(64 * 7);
    let mut y = 4;
    for (index, (name, what)) in stations.into_iter().enumerate() {
        let at = area(4, y, 472, 50);
        let class = if index == 6 { "own" } else { "outer" };
        canvas.rect(at, class);
        canvas.text(14, y + 31, Strong, name);
        canvas.text(152, y + 31, Plain, what);
        if index < 6 {
            canvas.arrow((40, y + 50), (40, y + 64));
        }
        y += 64;
    }
    canvas
}

/// From the command to the process, and back.
pub(super) fn request(_: &Container) -> Canvas {
    let mut canvas = Canvas::new(372);
    let command = area(90, 4, 300, 44);
    let socket = area(90, 104, 300, 44);
    let daemon = area(90, 204, 300, 44);
    let process = area(90, 316, 180, 48);
    let log = area(306, 316, 170, 48);
    canvas.label(command, "plain", &[(Code, "skiff run --name nap sleep 60")]);
    canvas.label(socket, "shared", &[(Code, "/run/skiff.sock")]);
    canvas.label(daemon, "outer", &[(Strong, "the daemon")]);
    canvas.label(process, "own", &[(Strong, "the process")]);
    canvas.label(log, "plain", &[(Code, "log, record.json")]);
    for (y, text) in
        [(70, "POST /containers/create"), (90, "POST /containers/ID/start")]
    {
        canvas.text(232, y, Code, text);
    }
    canvas.arrow((220, 48), (220, 104));
    canvas.arrow((220, 148), (220, 204));
    canvas.text(232, 180, Small, "HTTP, over a Unix socket");
    canvas.arrow((210, 248), (210, 316));
    canvas.text(220, 286, Code, "fork, exec");
    canvas.arrow((350, 248), (380, 316));
    canvas.arrow((130, 316), (130, 248));
    canvas.stroke((90, 226), (56, 226));
    canvas.stroke((56, 226), (56, 26));
    canvas.arrow((56, 26), (90, 26));
    canvas.text(4, 286, Small, "output, exit status");
    canvas
}

/// `docker run nginx` as a list of stations with the crates that do it.
pub(super) fn nginx(_: &Container) -> Canvas {
    let stations = [
        ("POST /containers/create", "cli-api", "the command asks"),
        ("docker.io/library/nginx", "layers", "a name becomes an address"),
        ("GET /v2/…/blobs/sha256:…", "layers", "fetched, checked, unpacked"),
        ("containers/ID/config.json", "final", "written before it is done"),
        ("mount -t overlay", "overlay-cow", "a root directory, at once"),
        ("veth, bridge, dnat", "final", "a cable and a port"),
        ("mkdir /sys/fs/cgroup/…", "cgroups", "the shim sets limits"),
        ("clone3, pivot_root", "namespaces", "a world of its own"),
        ("execve nginx", "namespaces", "PID 1 is nginx"),
    ];
    let mut canvas = Canvas::new(62 * 9);
    let mut y = 4;
    for (index, (what, who, why)) in stations.into_iter().enumerate() {
        let class = if index == 8 { "own" } else { "outer" };
        canvas.rect(area(4, y, 472, 48), class);
        canvas.text(14, y + 20, Code, what);
        canvas.text(14, y + 40, Small, why);
        canvas.label(area(356, y + 9, 110, 30), "plain", &[(Small, who)]);
        if index < 8 {
            canvas.arrow((40, y + 48), (40, y + 62));
        }
        y += 62;
    }
    canvas
}
