//! Volumes on real file systems: files with all their attributes, real
//! mounts, and the tricks that a container could try.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use cli_api::testing::root_or_skip;
use namespaces::Source;
use rustix::fs::{XattrFlags, getxattr, setxattr};
use volumes::{
    Claim, CreateVolume, Error, MountSpec, VolumeStore, add_anonymous, copy_up,
    parse_mount_flag, parse_volume_flag,
};

struct Host {
    dir: tempfile::TempDir,
    store: VolumeStore,
}

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = VolumeStore::open(dir.path()).unwrap();
        fs::create_dir(dir.path().join("rootfs")).unwrap();
        Self { dir, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn rootfs(&self) -> PathBuf {
        self.path("rootfs")
    }

    fn make(&self, name: &str) -> PathBuf {
        let wanted = CreateVolume { name: name.into(), ..Default::default() };
        self.store.create(&wanted).unwrap().mountpoint
    }

    /// Claims for container `id`, as it would be created.
    fn claim(&self, id: &str, flags: &[&str]) -> Result<Vec<Claim>, Error> {
        let specs: Vec<MountSpec> = flags
            .iter()
            .map(|flag| {
                if flag.contains('=') {
                    parse_mount_flag(flag).unwrap()
                } else {
                    parse_volume_flag(flag).unwrap()
                }
            })
            .collect();
        self.store.claim(id, &specs)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let ours = self.dir.path().to_str().unwrap();
        assert!(!mounts.contains(ours), "a mount is left: {mounts}");
    }
}

fn source(mount: &namespaces::Mount) -> &Path {
    match &mount.source {
        Source::Bind { path, .. } => path,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_volume_outlives_its_container_and_cannot_be_removed_before() {
    let host = Host::new();
    let claims = host.claim("c1", &["db:/data"]).unwrap();
    let mounts = host.store.prepare("c1", &claims, &host.rootfs()).unwrap();
    fs::write(source(&mounts[0]).join("row"), "42").unwrap();

    let error = host.store.remove("db").unwrap_err().to_string();
    assert_eq!(error, "remove db: volume is in use - [c1]");
    host.store.release("c1", &claims, true).unwrap();

    let claims = host.claim("c2", &["db:/elsewhere:ro"]).unwrap();
    let mounts = host.store.prepare("c2", &claims, &host.rootfs()).unwrap();
    let row = source(&mounts[0]).join("row");
    assert_eq!(fs::read_to_string(row).unwrap(), "42");
    assert!(mounts[0].options.read_only);
    host.store.release("c2", &claims, true).unwrap();

    host.store.remove("db").unwrap();
    let error = host.store.get("db").unwrap_err().to_string();
    assert_eq!(error, "get db: no such volume");
}

#[test]
fn a_volume_without_a_name_goes_with_its_container_if_asked() {
    let host = Host::new();
    let mut specs = vec![parse_volume_flag("db:/data").unwrap()];
    add_anonymous(&mut specs, ["/data/", "/logs"]);
    assert_eq!(specs.len(), 2, "/data has a volume already");
    let claims = host.store.claim("c1", &specs).unwrap();
    let name = claims[1].point.name.clone();
    assert_eq!(name.len(), 64);
    host.store.release("c1", &claims, true).unwrap();
    let left = host.store.list().unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].name, "db");
}

#[test]
fn a_volume_mounted_by_its_random_name_outlives_its_containers() {
    let host = Host::new();
    let nameless = CreateVolume::default();
    let volume = host.store.create(&nameless).unwrap().name;
    let own = host.claim("c1", &["/data"]).unwrap();
    let lent = own[0].point.name.clone();
    let named = host
        .claim("c2", &[&format!("{volume}:/a"), &format!("{lent}:/b")])
        .unwrap();

    // Who made it goes first: the other one still uses it.
    host.store.release("c1", &own, true).unwrap();
    host.store.release("c2", &named, true).unwrap();
    host.store.get(&volume).unwrap();
    host.store.get(&lent).unwrap();

    // The other way round it goes with the one whose own it is.
    let own = host.claim("c3", &["/data"]).unwrap();
    let lent = own[0].point.name.clone();
    let named = host.claim("c4", &[&format!("{lent}:/b")]).unwrap();
    host.store.release("c4", &named, true).unwrap();
    host.store.get(&lent).unwrap();
    host.store.release("c3", &own, true).unwrap();
    host.store.get(&lent).unwrap_err();
}

#[test]
fn prune_takes_what_nobody_refers_to() {
    let host = Host::new();
    host.make("used");
    fs::write(host.make("free").join("x"), [7; 10_000]).unwrap();
    host.store.hold("used", "c1").unwrap();
    let pruned = host.store.prune(|_| true).unwrap();
    assert_eq!(pruned.volumes_deleted, ["free"]);
    assert!(pruned.space_reclaimed >= 10_000);
    // The daemon was killed before it could say that c1 is gone.
    host.store.reconcile(|id| id != "c1").unwrap();
    assert_eq!(host.store.prune(|_| true).unwrap().volumes_deleted, ["used"]);
}

#[test]
fn an_empty_volume_is_filled_from_the_image_with_every_attribute() {
    if !root_or_skip("an_empty_volume_is_filled_from_the_image") {
        return;
    }
    let host = Host::new();
    let image = host.rootfs().join("var/lib/db");
    fs::create_dir_all(image.join("sub")).unwrap();
    fs::write(image.join("file"), "data").unwrap();
    fs::hard_link(image.join("file"), image.join("sub/again")).unwrap();
    symlink("/etc/passwd", image.join("link")).unwrap();
    let suid = fs::Permissions::from_mode(0o4750);
    std::os::unix::fs::chown(image.join("file"), Some(999), Some(998)).unwrap();
    fs::set_permissions(image.join("file"), suid).unwrap();
    setxattr(image.join("file"), "user.note", b"hi", XattrFlags::empty())
        .unwrap();
    std::os::unix::fs::chown(&image, Some(70), Some(70)).unwrap();
    fs::set_permissions(&image, fs::Permissions::from_mode(0o700)).unwrap();
    // The image reaches it by a link, which means the container's /var.
    symlink("/var/lib/db", host.rootfs().join("data")).unwrap();

    let claims = host.claim("c1", &["db:/data"]).unwrap();
    let mounts = host.store.prepare("c1", &claims, &host.rootfs()).unwrap();
    let data = source(&mounts[0]);
    let meta = |name| fs::symlink_metadata(data.join(name)).unwrap();
    assert_eq!((meta("").uid(), meta("").mode() & 0o7777), (70, 0o700));
    assert_eq!((meta("file").uid(), meta("file").gid()), (999, 998));
    assert_eq!(meta("file").mode() & 0o7777, 0o4750);
    assert_eq!(meta("file").ino(), meta("sub/again").ino());
    assert!(meta("link").is_symlink());
    let mut value = [0u8; 8];
    let size = getxattr(data.join("file"), "user.note", &mut value[..]);
    assert_eq!(&value[..size.unwrap()], b"hi");
    let from = fs::metadata(image.join("file")).unwrap();
    assert_eq!(from.mtime_nsec(), meta("file").mtime_nsec());

    // A second container finds it filled and changes nothing.
    fs::write(image.join("newer"), "").unwrap();
    assert!(!copy_up(&host.rootfs(), Path::new("/data"), data).unwrap());
    host.store.release("c1", &claims, true).unwrap();
}

#[test]
fn nocopy_leaves_the_volume_empty() {
    let host = Host::new();
    fs::create_dir(host.rootfs().join("data")).unwrap();
    fs::write(host.rootfs().join("data/x"), "").unwrap();
    let claims = host.claim("c1", &["db:/data:nocopy"]).unwrap();
    let mounts = host.store.prepare("c1", &claims, &host.rootfs()).unwrap();
    assert_eq!(fs::read_dir(source(&mounts[0])).unwrap().count(), 0);
    host.store.release("c1", &claims, true).unwrap();
}

#[test]
fn a_copy_that_was_cut_off_is_done_again_from_the_start() {
    let host = Host::new();
    fs::create_dir(host.rootfs().join("data")).unwrap();
    fs::write(host.rootfs().join("data/whole"), "").unwrap();
    // As a killed daemon leaves it: half a copy, and the mark.
    fs::write(host.make("db").join("half"), "").unwrap();
    fs::write(host.path("volumes/db/filling"), "").unwrap();
    let claims = host.claim("c1", &["db:/data"]).unwrap();
    let mounts = host.store.prepare("c1", &claims, &host.rootfs()).unwrap();
    assert!(source(&mounts[0]).join("whole").exists());
    assert!(!source(&mounts[0]).join("half").exists());
    host.store.release("c1", &claims, true).unwrap();
}

#[test]
fn v_makes_a_missing_source_and_mount_refuses_it() {
    let host = Host::new();
    let source = host.path("missing/dir");
    let text = source.to_str().unwrap();
    let mount = format!("type=bind,source={text},target=/data");
    let error = host.claim("c1", &[&mount]).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "invalid mount config for type \"bind\": bind source path does \
             not exist: {text}"
        )
    );
    let claims = host.claim("c1", &[&format!("{text}:/data")]).unwrap();
    host.store.prepare("c1", &claims, &host.rootfs()).unwrap();
    assert!(source.is_dir());
}

#[test]
fn parents_come_before_children_and_no_place_is_taken_twice() {
    let host = Host::new();
    let claims = host.claim("c1", &["aa:/x/y/z", "bb:/x", "cc:/x/y"]).unwrap();
    let places: Vec<_> =
        claims.iter().map(|c| c.point.destination.as_str()).collect();
    assert_eq!(places, ["/x", "/x/y", "/x/y/z"]);
    host.store.release("c1", &claims, true).unwrap();

    let error = host.claim("c2", &["aa:/x", "bb:/y/../x/"]).unwrap_err();
    assert_eq!(error.to_string(), "Duplicate mount point: /x");
    assert!(host.store.users("aa").unwrap().is_empty(), "nothing is held");
}

#[test]
fn a_link_in_a_volume_leads_nowhere_outside_of_it() {
    if !root_or_skip("a_link_in_a_volume_leads_nowhere_outside_of_it") {
        return;
    }
    let host = Host::new();
    let data = host.make("db");
    // What a container that has the volume could leave for the next one.
    symlink("/etc", data.join("absolute")).unwrap();
    symlink("../../../../../../../etc", data.join("climbing")).unwrap();
    for subpath in ["absolute", "climbing", "absolute/passwd"] {
        let flag = format!("source=db,target=/d,volume-subpath={subpath}");
        let claims = host.claim("c1", &[&flag]).unwrap();
        let error = host.store.prepare("c1", &claims, &host.rootfs());
        let error = error.unwrap_err().to_string();
        assert!(error.contains("ENOENT"), "{error}");
        host.store.release("c1", &claims, true).unwrap();
    }
    // With a directory of that name *inside*, that is what the link means.
    fs::create_dir(data.join("etc")).unwrap();
    fs::write(data.join("etc/mine"), "").unwrap();
    let flag = "source=db,target=/d,volume-subpath=climbing";
    let claims = host.claim("c1", &[flag]).unwrap();
    let mounts = host.store.prepare("c1", &claims, &host.rootfs()).unwrap();
    assert!(source(&mounts[0]).join("mine").exists());
    assert!(!source(&mounts[0]).join("passwd").exists());
    host.store.release("c1", &claims, true).unwrap();
    host.store.remove("db").unwrap();
}

#[test]
fn a_tmpfs_volume_is_mounted_while_it_is_used() {
    if !root_or_skip("a_tmpfs_volume_is_mounted_while_it_is_used") {
        return;
    }
    let host = Host::new();
    let options = [("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m")];
    let wanted = CreateVolume {
        name: "fast".into(),
        driver_opts: options
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect::<BTreeMap<_, _>>(),
        ..Default::default()
    };
    host.store.create(&wanted).unwrap();
    let claims = host.claim("c1", &["fast:/data"]).unwrap();
    let mounts = host.store.prepare("c1", &claims, &host.rootfs()).unwrap();
    let too_much = fs::write(source(&mounts[0]).join("x"), vec![0; 2 << 20]);
    assert_eq!(too_much.unwrap_err().raw_os_error(), Some(libc::ENOSPC));
    host.store.release("c1", &claims, true).unwrap();
    let left = fs::read_dir(host.path("volumes/fast/_data")).unwrap();
    assert_eq!(left.count(), 0, "it is unmounted with its last user");
}

#[test]
fn propagation_out_of_a_private_mount_is_refused() {
    if !root_or_skip("propagation_out_of_a_private_mount_is_refused") {
        return;
    }
    let host = Host::new();
    let dir = host.path("private");
    fs::create_dir(&dir).unwrap();
    let flags = nix::mount::MsFlags::MS_PRIVATE;
    nix::mount::mount(
        Some("none"),
        &dir,
        Some("tmpfs"),
        nix::mount::MsFlags::empty(),
        None::<&str>,
    )
    .unwrap();
    nix::mount::mount(None::<&str>, &dir, None::<&str>, flags, None::<&str>)
        .unwrap();
    let flag = format!("{}:/data:rshared", dir.display());
    let claims = host.claim("c1", &[&flag]).unwrap();
    let error = host.store.prepare("c1", &claims, &host.rootfs());
    let error = error.unwrap_err().to_string();
    nix::mount::umount(&dir).unwrap();
    assert!(error.ends_with("but it is not a shared mount"), "{error}");
}
