//! The offline catalogue, for real: packages from this machine's apt, images
//! from our own builder, and nginx's own page out of the result.

use layers::{
    MountSource, Reference, RunMount, RunRequest, RunStep, Snapshots, Store,
    Stream,
};
use namespaces::{
    CapSet, CgroupEntry, Mount, Process, Sandbox, Source, Stdio, User,
};
use overlay_cow::OverlaySnapshots;
use skiff::engine::catalogue::{self, CatalogueError, Kitchen, LABEL};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;

/// A container without limits and with no network but its own loopback.
struct Bare;

impl RunStep for Bare {
    fn run(
        &self,
        rootfs: &Path,
        step: &RunRequest,
        output: &mut dyn FnMut(Stream, &[u8]),
        _: &(dyn Fn() -> bool + Sync),
    ) -> layers::Result<i32> {
        let mut sandbox = Sandbox::new(rootfs);
        step.mounts.iter().for_each(|lent| sandbox.mount(mount(lent)));
        let mut process = Process::new(step.argv.clone());
        process.env.clone_from(&step.env);
        process.cwd = step.workdir.clone().into();
        process.user = User::named(&step.user);
        if step.privileged {
            process.capabilities = CapSet::held();
        }
        let (mut reader, writer) = std::io::pipe().unwrap();
        let null = File::open("/dev/null").unwrap();
        let stdio = Stdio::Streams {
            stdin: null.as_fd(),
            stdout: writer.as_fd(),
            stderr: writer.as_fd(),
        };
        let cgroup = CgroupEntry::default();
        let mut created =
            namespaces::create(&sandbox, &process, stdio, cgroup).unwrap();
        drop(writer);
        created.start().unwrap();
        let mut buffer = [0; 4096];
        loop {
            match reader.read(&mut buffer).unwrap() {
                0 => return Ok(created.wait().unwrap().code),
                length => output(Stream::Stdout, &buffer[..length]),
            }
        }
    }
}

fn mount(lent: &RunMount) -> Mount {
    let target = &lent.target;
    match &lent.source {
        MountSource::Bind { path, read_only: true } => {
            Mount::bind(path, target).read_only()
        }
        MountSource::Bind { path, .. } => Mount::bind(path, target),
        MountSource::Tmpfs { .. } => {
            Mount::new(target, Source::Tmpfs { options: Vec::new() })
        }
    }
}

/// Runs a shell line in an image and returns what it said.
fn say(
    snapshots: &OverlaySnapshots,
    image: &layers::Image,
    line: &str,
) -> String {
    let rootfs = snapshots.prepare("look", image.layers()).unwrap();
    let path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin".to_owned();
    let step = RunRequest {
        id: "look".into(),
        argv: ["bash", "-c", line].map(String::from).into(),
        env: vec![path],
        workdir: "/".into(),
        // To bring the loopback device up.
        privileged: true,
        ..RunRequest::default()
    };
    let mut said = Vec::new();
    let mut keep = |_, bytes: &[u8]| said.extend_from_slice(bytes);
    Bare.run(&rootfs, &step, &mut keep, &|| false).unwrap();
    snapshots.remove("look").unwrap();
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn nginx_is_made_from_packages_and_serves_its_own_page() {
    let test = "nginx_is_made_from_packages_and_serves_its_own_page";
    if !rustix::process::geteuid().is_root() {
        println!("SKIP: {test}: needs root");
        return;
    }
    // Not in /tmp: overlayfs does not take every memory file system.
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let store = Store::open(dir.path()).unwrap();
    let snapshots =
        OverlaySnapshots::open(dir.path().join("overlay2")).unwrap();
    let kitchen =
        Kitchen { store: &store, snapshots: &snapshots, runner: &Bare };
    let name: Reference = "nginx".parse().unwrap();
    let recipe = catalogue::find(&name).unwrap();
    let mut told = Vec::new();
    let id = match recipe.build(&kitchen, &name, &mut |line| told.push(line)) {
        Ok(id) => id,
        Err(CatalogueError::Apt(error)) => {
            println!("SKIP: {test}: {error}");
            return;
        }
        Err(error) => panic!("{error}\n{}", told.join("\n")),
    };

    let image = store.resolve("nginx:latest").unwrap();
    assert_eq!(image.id, id);
    assert!(image.layers().len() >= 5, "{:?}", image.layers());
    let config = &image.config.config;
    assert_eq!(config.labels.as_ref().unwrap()[LABEL], "nginx");
    assert!(config.exposed_ports.as_ref().unwrap().contains_key("80/tcp"));

    let page = say(
        &snapshots,
        &image,
        "ip link set lo up; nginx; exec 3<>/dev/tcp/127.0.0.1/80
         printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3; nginx -s quit",
    );
    assert!(page.contains("Welcome to nginx!"), "{page}");
    // dpkg knows of everything that is in the image, and is content.
    let audit =
        say(&snapshots, &image, "dpkg --audit; dpkg -l nginx | tail -1");
    assert!(audit.starts_with("ii  nginx"), "{audit}");

    // The second time nothing is made.
    told.clear();
    recipe.build(&kitchen, &name, &mut |line| told.push(line)).unwrap();
    assert_eq!(told, [""; 0]);
}
