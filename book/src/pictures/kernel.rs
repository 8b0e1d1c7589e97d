//! What the kernel keeps of a container: namespaces and control groups.

use std::path::Path;

use super::canvas::Type::{Code, Plain, Small, Strong};
use super::canvas::{Canvas, area, fit};
use super::recorded::{Container, name};

const ROW: i32 = 40;

/// A row for each kind, the host on the left and the container on the right.
pub(super) fn namespaces(it: &Container) -> Canvas {
    let rows = i32::try_from(it.namespaces.len()).unwrap_or(0);
    let mut canvas = Canvas::new(82 + rows * ROW);
    let process = &it.process;
    let shim = format!("shim, PID {}", process.shim);
    let first = format!("PID {} = PID {}", process.pid, process.pid_inside);
    canvas.label(
        area(4, 4, 190, 56),
        "outer",
        &[(Strong, "the host"), (Code, &shim)],
    );
    canvas.label(
        area(286, 4, 190, 56),
        "own",
        &[(Strong, &it.name), (Code, &first)],
    );
    let mut y = 76;
    for namespace in &it.namespaces {
        let inode = namespace.inode.to_string();
        let height = ROW - 10;
        if namespace.inode == namespace.host {
            let text = format!("{}: {inode}, shared", namespace.kind);
            canvas.label(area(4, y, 472, height), "shared", &[(Code, &text)]);
        } else {
            let host = namespace.host.to_string();
            canvas.label(area(4, y, 190, height), "outer", &[(Code, &host)]);
            canvas.centred(240, y + 20, Strong, &namespace.kind);
            canvas.label(area(286, y, 190, height), "own", &[(Code, &inode)]);
        }
        y += ROW;
    }
    canvas
}

/// The tree down to the container's group, and the files in it.
pub(super) fn cgroups(it: &Container) -> Canvas {
    let controls = &it.group.controls;
    let rows = i32::try_from(controls.len()).unwrap_or(0);
    let mut canvas = Canvas::new(165 + rows * 30);
    let group = controls.first().and_then(|it| it.path.parent());
    let place = group.and_then(|it| it.strip_prefix("/sys/fs/cgroup").ok());
    let (mut x, mut y) = (4, 4);
    canvas.label(area(x, y, 200, 32), "outer", &[(Code, "/sys/fs/cgroup")]);
    for part in place.unwrap_or(Path::new("")) {
        let text = fit(&part.to_string_lossy(), Code, 226);
        elbow(&mut canvas, x, y);
        (x, y) = (x + 32, y + 44);
        let class = if text.ends_with('…') { "own" } else { "outer" };
        canvas.label(area(x, y, 240, 32), class, &[(Code, &text)]);
    }
    y += 44;
    for control in controls {
        let file = name(&control.path);
        let y_text = y + 20;
        canvas.cable((x + 14, y - 14), (x + 14, y + 16));
        canvas.cable((x + 14, y + 16), (x + 32, y + 16));
        canvas.text(x + 36, y_text, Code, file);
        canvas.text(x + 156, y_text, Code, &fit(&control.value, Code, 100));
        canvas.text(x + 262, y_text, Small, meaning(file));
        y += 30;
    }
    canvas.text(4, y + 18, Plain, "limits are files that you write to");
    canvas
}

/// From the left side of a box down to the next one.
fn elbow(canvas: &mut Canvas, x: i32, y: i32) {
    canvas.cable((x + 14, y + 32), (x + 14, y + 46));
    canvas.cable((x + 14, y + 46), (x + 32, y + 46));
}

fn meaning(file: &str) -> &'static str {
    match file {
        "memory.max" => "bytes, at most",
        "memory.current" => "bytes, now",
        "cpu.max" => "µs in each period",
        "pids.max" => "processes, at most",
        "pids.current" => "processes, now",
        "cgroup.procs" => "who is in it",
        _ => "",
    }
}
