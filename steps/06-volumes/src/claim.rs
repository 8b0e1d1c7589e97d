//! From what a user asked for to mounts in the container, in four moments of
//! its life, because the daemon may be another one at each of them:
//! `claim` when it is created, `prepare` when it starts, `settle`
//! when it has stopped, `release` when it is removed.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use namespaces::{Mount, Source};
use serde::{Deserialize, Serialize};

use crate::spec::clean_target;
use crate::{
    CreateVolume, Error, MountKind, MountSpec, VolumeStore, copy_up,
    flag_tmpfs, local, make_dir, propagation, subpath,
};

/// A mount of a container as `docker inspect` shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MountPoint {
    /// Volume, bind or tmpfs.
    #[serde(rename = "Type")]
    pub kind: MountKind,
    /// The volume's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The path on the host.
    pub source: String,
    /// The path in the container.
    pub destination: String,
    /// `local` for a volume.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub driver: String,
    /// The options of `-v`, as they were given.
    pub mode: String,
    /// Whether it may be written.
    #[serde(rename = "RW")]
    pub rw: bool,
    /// Whether later mounts travel.
    pub propagation: String,
}

/// A mount that a container has a right to: the wish, and what it became.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The wish.
    pub spec: MountSpec,
    /// What it became; the name is known, whatever was asked for.
    pub point: MountPoint,
}

impl Claim {
    /// Whether the volume was made for this mount alone, because the wish
    /// named none. One that was made without a name but is mounted by the
    /// name it got is somebody's: `V=$(docker volume create)`, and Compose's
    /// new container with the old one's data.
    fn is_own(&self) -> bool {
        self.spec.kind == MountKind::Volume && self.spec.source.is_empty()
    }
}

/// Adds a volume without a name for every path in `targets` (the image's
/// `VOLUME`) at which nothing is mounted yet.
pub fn add_anonymous<'a>(
    specs: &mut Vec<MountSpec>,
    targets: impl IntoIterator<Item = &'a str>,
) {
    for target in targets {
        let place = clean_target(target);
        if !specs.iter().any(|spec| clean_target(&spec.target) == place) {
            specs.push(MountSpec { target: place, ..MountSpec::default() });
        }
    }
}

impl VolumeStore {
    /// For a container that is being created: checks the wishes, makes the
    /// volumes that do not exist and notes that `container` uses them.
    /// Parents come before their children in the result.
    ///
    /// # Errors
    /// Docker's sentences; nothing is held or newly made then.
    pub fn claim(
        &self,
        container: &str,
        specs: &[MountSpec],
    ) -> Result<Vec<Claim>, Error> {
        let mut places = HashSet::new();
        for spec in specs {
            spec.validate().map_err(Error::Invalid)?;
            check_host(spec)?;
            let place = clean_target(&spec.target);
            if !places.insert(place.clone()) {
                return Err(Error::Invalid(format!(
                    "Duplicate mount point: {place}"
                )));
            }
        }
        let mut claims = Vec::new();
        for spec in specs {
            match self.claim_one(container, spec) {
                Ok(claim) => claims.push(claim),
                Err(error) => {
                    // The first error tells the story.
                    let _ = self.release(container, &claims, true);
                    return Err(error);
                }
            }
        }
        // /data must be there before /data/logs can be put on top of it.
        claims.sort_by_key(|claim| {
            Path::new(&claim.point.destination).components().count()
        });
        Ok(claims)
    }

    /// What one wish comes to. Volumes are made here and not at the start, so
    /// that `docker create` shows their names.
    fn claim_one(
        &self,
        container: &str,
        spec: &MountSpec,
    ) -> Result<Claim, Error> {
        let mut point = MountPoint {
            kind: spec.kind,
            destination: clean_target(&spec.target),
            rw: !spec.read_only,
            ..MountPoint::default()
        };
        match spec.kind {
            MountKind::Tmpfs => {}
            MountKind::Bind => {
                let word =
                    spec.bind_options.as_ref().map(|o| o.propagation.as_str());
                let word = word.filter(|word| !word.is_empty());
                point.source = clean_target(&spec.source);
                word.unwrap_or("rprivate").clone_into(&mut point.propagation);
            }
            MountKind::Volume => {
                let volume = self.create(&wanted(spec))?;
                self.hold(&volume.name, container)?;
                point.source = volume.mountpoint.display().to_string();
                point.name = volume.name;
                point.driver = volume.driver;
            }
        }
        if !point.rw {
            "ro".clone_into(&mut point.mode);
        }
        Ok(Claim { spec: spec.clone(), point })
    }

    /// For a container that is being started: everything that has to be on
    /// the host is put there, and the mounts for step 2 are returned, in
    /// order. `rootfs` is the container's root as the host sees it.
    ///
    /// # Errors
    /// The first thing that failed; [`VolumeStore::settle`] cleans up.
    pub fn prepare(
        &self,
        container: &str,
        claims: &[Claim],
        rootfs: &Path,
    ) -> Result<Vec<Mount>, Error> {
        let all = claims.iter().enumerate();
        all.map(|(at, claim)| {
            let mut mount = match claim.spec.kind {
                MountKind::Tmpfs => tmpfs(&claim.spec)?,
                MountKind::Bind => bind(claim)?,
                MountKind::Volume => {
                    let place = self.subpath_place(claim, container, at);
                    self.volume(claim, rootfs, &place)?
                }
            };
            mount.options.read_only |= claim.spec.read_only;
            Ok(mount)
        })
        .collect()
    }

    /// A volume as a mount: brought to life if it is more than a directory,
    /// filled if it is new, cut down to a part if that was asked for.
    fn volume(
        &self,
        claim: &Claim,
        rootfs: &Path,
        place: &Path,
    ) -> Result<Mount, Error> {
        let options = claim.spec.volume_options.clone().unwrap_or_default();
        let target = Path::new(&claim.point.destination);
        let path = {
            // Two containers that start at once must not both fill it, and a
            // second one must not see it half full.
            let _lock = self.lock();
            let volume = self.get(&claim.point.name)?;
            local::ensure_mounted(&volume)?;
            if options.subpath.is_empty() {
                if !options.no_copy {
                    self.fill(&volume.name, rootfs, target)?;
                }
                volume.mountpoint
            } else {
                subpath::mount(&volume, &options.subpath, place)?
            }
        };
        Ok(Mount::bind(path, target))
    }

    /// Copies the image's content up, in a way that survives a crash: what
    /// was half copied is thrown away and done again.
    fn fill(
        &self,
        name: &str,
        rootfs: &Path,
        target: &Path,
    ) -> Result<(), Error> {
        let data = self.dir(name).join("_data");
        let mark = self.dir(name).join("filling");
        if mark.exists() {
            clear(&data)?;
        }
        fs::write(&mark, "")
            .map_err(|error| Error::directory("make", &mark, &error))?;
        copy_up(rootfs, target, &data)?;
        fs::remove_file(&mark)
            .map_err(|error| Error::directory("remove", &mark, &error))
    }

    /// For a container that has stopped: takes away the mounts on the host
    /// that [`VolumeStore::prepare`] made for it alone.
    ///
    /// # Errors
    /// [`Error::Unmount`]; all of them are tried.
    pub fn settle(
        &self,
        container: &str,
        claims: &[Claim],
    ) -> Result<(), Error> {
        let mut result = Ok(());
        for (at, claim) in claims.iter().enumerate() {
            let options = claim.spec.volume_options.as_ref();
            if options.is_some_and(|options| !options.subpath.is_empty()) {
                let place = self.subpath_place(claim, container, at);
                result = result.and(subpath::unmount(&place));
            }
        }
        result
    }

    /// For a container that is being removed: its volumes may be removed
    /// from now on. With `anonymous` (`rm -v`, `run --rm`) those that were
    /// made for it because it named none go at once, if nobody else uses
    /// them.
    ///
    /// # Errors
    /// The first one; all are tried.
    pub fn release(
        &self,
        container: &str,
        claims: &[Claim],
        anonymous: bool,
    ) -> Result<(), Error> {
        let mut result = self.settle(container, claims);
        for claim in claims.iter().filter(|c| !c.point.name.is_empty()) {
            let name = &claim.point.name;
            result = result.and(self.let_go(name, container));
            let Ok(volume) = self.get(name) else { continue };
            if !self.users(name)?.is_empty() {
                continue;
            }
            if anonymous && claim.is_own() {
                match self.remove(name) {
                    // Somebody else was quicker, either way.
                    Err(Error::NotFound { .. } | Error::InUse { .. }) => {}
                    other => result = result.and(other),
                }
            } else {
                result = result.and(local::unmount(&volume));
            }
        }
        result
    }

    /// Where a part of a volume is mounted for one container.
    fn subpath_place(
        &self,
        claim: &Claim,
        container: &str,
        at: usize,
    ) -> PathBuf {
        let name = format!("{container}-{at}");
        self.dir(&claim.point.name).join("subpaths").join(name)
    }
}

/// The volume that a wish makes if it does not exist.
fn wanted(spec: &MountSpec) -> CreateVolume {
    let options = spec.volume_options.clone().unwrap_or_default();
    let driver = options.driver_config.unwrap_or_default();
    CreateVolume {
        name: spec.source.clone(),
        driver: driver.name,
        driver_opts: driver.options,
        labels: options.labels,
    }
}

/// What can only be said by looking at the host.
fn check_host(spec: &MountSpec) -> Result<(), Error> {
    let Some(options) = &spec.bind_options else {
        return match spec.kind {
            MountKind::Bind => must_exist(&spec.source),
            _ => Ok(()),
        };
    };
    if options.read_only_non_recursive {
        return Err(Error::Invalid(
            "bind-recursive=writable is not supported: a read-only bind is \
             read-only for the mounts below it too"
                .into(),
        ));
    }
    if options.create_mountpoint {
        return Ok(());
    }
    must_exist(&spec.source)
}

/// `--mount` is strict, and by the start `-v` is, too.
fn must_exist(source: &str) -> Result<(), Error> {
    if Path::new(source).exists() {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "invalid mount config for type \"bind\": bind source path does not \
         exist: {source}"
    )))
}

/// A path of the host. Links in it are followed: it is the user's own, and
/// the user is whoever may talk to the daemon.
fn bind(claim: &Claim) -> Result<Mount, Error> {
    let options = claim.spec.bind_options.clone().unwrap_or_default();
    let source = PathBuf::from(&claim.point.source);
    if options.create_mountpoint && !source.exists() {
        make_dir(&source, 0o755)?;
    }
    // It may have gone since the container was created.
    must_exist(&claim.point.source)?;
    let travels = propagation::check(&options.propagation, &source)?;
    let recursive = !options.non_recursive;
    let mut mount = Mount::new(
        PathBuf::from(&claim.point.destination),
        Source::Bind { path: source, recursive },
    );
    mount.options.propagation = travels;
    Ok(mount)
}

/// The long form says the same things as `--tmpfs`, with fewer words.
fn tmpfs(spec: &MountSpec) -> Result<Mount, Error> {
    let options = spec.tmpfs_options.clone().unwrap_or_default();
    let text = flag_tmpfs::as_text(&options, spec.read_only);
    flag_tmpfs::tmpfs_mount(&spec.target, &text).map_err(Error::Invalid)
}

/// Empties a directory without following links out of it: the standard
/// library's `remove_dir_all` goes by file descriptors (CVE-2022-21658).
fn clear(dir: &Path) -> Result<(), Error> {
    let failed = |error| Error::directory("remove", dir, &error);
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let is_dir = entry.file_type().map_err(failed)?.is_dir();
        let path = entry.path();
        if is_dir { fs::remove_dir_all(path) } else { fs::remove_file(path) }
            .map_err(failed)?;
    }
    Ok(())
}
