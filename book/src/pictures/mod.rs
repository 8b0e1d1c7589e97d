//! Pictures: drawn by this tool, so that they follow the reader's theme and
//! the machine's truth.
//!
//! `{{#picture NAME}}` in a chapter becomes an inline SVG. What a picture
//! says about a container comes from one that ran: `recorded.rs` has asked
//! `skiff explain` about it.

mod canvas;
mod files;
mod kernel;
mod network;
mod recorded;
mod roads;

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use canvas::Canvas;
use recorded::Container;

/// A picture.
struct Picture {
    /// In the directive.
    name: &'static str,
    /// Below the picture.
    title: &'static str,
    /// For those who cannot see it: what there is to be seen.
    alt: &'static str,
    draw: fn(&Container) -> Canvas,
}

const ALL: [Picture; 8] = [
    Picture {
        name: "road",
        title: "The road: each step adds one thing that the kernel can do",
        alt: "Seven boxes from top to bottom. Step 1, cli-api: a command \
              becomes a request to a daemon. Step 2, namespaces: the process \
              sees a world of its own. Step 3, cgroups: the kernel keeps \
              limits. Step 4, layers: images are pulled, built and copied. \
              Step 5, overlay-cow: a mount takes the place of the copy. Step \
              6, volumes: data outlives the container. The finale, skiff: \
              networks, a shim for each container, Docker's API.",
        draw: roads::steps,
    },
    Picture {
        name: "request",
        title: "The way of a request, and of the answer",
        alt: "The command skiff run sends HTTP over a Unix socket: POST \
              containers create, then POST containers ID start. The daemon \
              writes a record, then starts the process and holds the other \
              ends of its streams. What the process prints goes through the \
              daemon into a log file and back to the command; the exit \
              status comes back the same way.",
        draw: roads::request,
    },
    Picture {
        name: "namespaces",
        title: "The namespaces of a running container",
        alt: "Two columns, the host and the container, with a row for each \
              of eight kinds of namespaces and its inode numbers. In the \
              rows cgroup, ipc, uts, net, pid and mnt the numbers differ: the \
              container has its own. In the rows user and time there is one \
              box across both columns: they are shared.",
        draw: kernel::namespaces,
    },
    Picture {
        name: "cgroups",
        title: "A container's place in the tree of control groups",
        alt: "A tree of directories: below /sys/fs/cgroup is skiff, below it \
              one directory named after the container. In it are files: \
              memory.max, cpu.max and pids.max hold the limits, \
              memory.current and pids.current what is used, and cgroup.procs \
              the PID of the process.",
        draw: kernel::cgroups,
    },
    Picture {
        name: "layers",
        title: "A stack of layers, and a file that was copied up",
        alt: "A stack of boxes. On top is what the container sees, the \
              merged view. Below it is the writable layer, its own, and \
              below that the image's read-only layers with the instruction \
              that made each. An arrow leads from the file /etc/passwd in \
              the lowest layer to its copy in the writable layer: it was \
              copied up when it was first written to.",
        draw: files::layers,
    },
    Picture {
        name: "volumes",
        title: "A volume is a directory; propagation says who sees later mounts",
        alt: "Above: the directory of the volume on the host is bind mounted \
              at /data in the container. The container's writable layer goes \
              when it is removed, the volume stays. Below: three kinds of \
              propagation between host and container. Private: no arrow. \
              Slave: one arrow from host to container. Shared: arrows both \
              ways.",
        draw: files::volumes,
    },
    Picture {
        name: "network",
        title: "How a packet finds the container",
        alt: "From top to bottom: a client connects to a published port of \
              the host. A rule of nf_tables replaces the destination by the \
              container's address. The bridge passes the packet to the \
              host's end of a veth pair. Its other end is eth0 in the \
              network namespace of the container, where the server listens. \
              Packets on their way out get the host's address instead of \
              the container's.",
        draw: network::bridge,
    },
    Picture {
        name: "nginx",
        title: "docker run nginx, end to end",
        alt: "Nine stations from top to bottom, each with the crate that has \
              its code. The command asks the daemon. The reference becomes a \
              registry's address. Layers are fetched, checked and unpacked. \
              The record is written. The overlay is mounted. A network \
              namespace is cabled to the bridge. The shim makes the control \
              group. clone3 makes the process in its namespaces. execve makes \
              it nginx.",
        draw: roads::nginx,
    },
];

/// The names of all pictures.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|it| it.name)
}

/// A picture as HTML.
///
/// # Errors
/// If there is none of this name, it has no text for those who cannot see
/// it, or something in it does not fit.
pub(crate) fn html(name: &str) -> Result<String> {
    let found = ALL.iter().find(|it| it.name == name);
    let Some(picture) = found else {
        let names: Vec<_> = names().collect();
        bail!("no picture `{name}`; there are {}", names.join(", "));
    };
    let canvas = (picture.draw)(&recorded::load()?);
    let faults = canvas.faults();
    ensure!(faults.is_empty(), "picture `{name}`: {}", faults.join("; "));
    ensure!(
        picture.alt.len() > picture.title.len(),
        "picture `{name}` has no text for those who cannot see it"
    );
    Ok(canvas.svg(picture.title, picture.alt))
}

/// Runs the container again that the pictures show, and compares; with
/// `bless`, takes the new one.
///
/// # Errors
/// If it is another, or cannot be run.
pub(crate) fn check(root: &Path, bless: bool) -> Result<()> {
    recorded::check(root, bless).context("record the container of the pictures")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_picture_fits_its_sheet_and_can_be_told_in_words() {
        let mut faults = Vec::new();
        for name in names() {
            match html(name) {
                Ok(html) => {
                    assert!(html.contains("aria-label="), "{name}");
                    assert!(!html.contains("\n\n"), "{name}: ends the block");
                }
                Err(error) => faults.push(error.to_string()),
            }
        }
        assert!(faults.is_empty(), "{faults:#?}");
    }

    #[test]
    fn an_unknown_picture_is_refused_with_the_names_of_those_there_are() {
        let error = html("nosuch").unwrap_err().to_string();
        assert!(error.contains("no picture `nosuch`; there are road"));
    }

    #[test]
    fn the_container_in_the_pictures_is_like_one_that_runs_now() {
        let _building = crate::tests::building();
        check(&crate::workspace_root(), false).unwrap();
    }
}
