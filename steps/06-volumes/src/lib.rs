//! # Step 6: data that outlives the container
//!
//! The writable layer of a container (step 5) goes with the container. A
//! database must not. The answer is older than containers: mount another
//! directory over the place where the data is written, and that directory
//! stays when everything around it is thrown away.
//!
//! | flag                              | what is mounted                    |
//! |-----------------------------------|------------------------------------|
//! | `-v db:/data`                     | the **volume** `db`: a directory   |
//! |                                   | that the engine keeps, by name     |
//! | `-v /data`                        | a volume with a random name        |
//! | `-v /srv:/data`                   | `/srv` of the host: a **bind**     |
//! | `--tmpfs /run`                    | memory, gone with the container    |
//! | `--mount type=…,source=…,target=…`| any of these, spelt out            |
//!
//! A volume is nothing but `volumes/<name>/_data` below the data root.
//! [`VolumeStore`] in this file keeps these directories; [`claim`](claim)
//! turns what a user asked for into mounts for step 2. Beside them:
//! `flag_volume` and `flag_mount` parse the flags as Docker does, `copy_up`
//! fills a new volume from the image, `local` mounts volumes that are not
//! directories (tmpfs, NFS, another path), `subpath` mounts a part of one.
//!
//! Man pages: mount(2), mount_namespaces(7), tmpfs(5).
#![deny(missing_docs)]

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cli_api::{id, state};
use serde::{Deserialize, Serialize};

mod args;
pub mod claim;
mod copy_up;
mod error;
mod flag_mount;
mod flag_tmpfs;
mod flag_volume;
mod local;
mod names;
mod propagation;
mod spec;
mod stage;
mod subpath;
mod types;
mod users;
mod verbs;

pub use args::MountArgs;
pub use claim::{Claim, MountPoint, add_anonymous};
pub use copy_up::copy_up;
pub use error::Error;
pub use flag_mount::parse_mount_flag;
pub use flag_tmpfs::tmpfs_mount;
pub use flag_volume::parse_volume_flag;
pub use spec::{
    BindOptions, DriverConfig, MountKind, MountSpec, TmpfsOptions,
    VolumeOptions,
};
pub use types::{CreateVolume, Pruned};
pub use verbs::{VolumeVerb, VolumeVerbs};

/// A volume as `docker volume inspect` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Volume {
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// Always `local`.
    pub driver: String,
    /// Whatever the user wants to find it by.
    pub labels: BTreeMap<String, String>,
    /// The directory on the host that a container sees.
    pub mountpoint: PathBuf,
    /// Its name; 64 hex digits if nobody gave it one.
    pub name: String,
    /// `type`, `device` and `o`, if it is not a plain directory.
    pub options: BTreeMap<String, String>,
    /// Always `local`: it is on this machine only.
    pub scope: String,
}

/// All the volumes below one data root.
#[derive(Debug)]
pub struct VolumeStore {
    root: PathBuf,
    /// One change at a time: "is anybody using it?" and "remove it" must not
    /// have a "use it" between them.
    lock: Mutex<()>,
}

/// The label of volumes with a random name. `volume prune` takes those only,
/// unless told otherwise: a name means that somebody wants to come back.
pub const ANONYMOUS: &str = "com.docker.volume.anonymous";

impl VolumeStore {
    /// Opens `data_root/volumes` and makes it if needed.
    ///
    /// # Errors
    /// [`Error::Directory`] if that cannot be done.
    pub fn open(data_root: &Path) -> Result<Self, Error> {
        let root = data_root.join("volumes");
        // 0711: processes of a container run as any user and have to get
        // through to `_data`, but nobody but root may list the names.
        make_dir(&root, 0o711)?;
        Ok(Self { root, lock: Mutex::new(()) })
    }

    /// Makes a volume. If there is one of that name it is returned as it
    /// is: `docker volume create` can be run twice.
    ///
    /// # Errors
    /// [`Error::Invalid`] with Docker's sentence for a bad name, driver or
    /// option.
    pub fn create(&self, wanted: &CreateVolume) -> Result<Volume, Error> {
        names::check_driver(&wanted.driver)?;
        local::check_options(&wanted.driver_opts)?;
        let mut labels = wanted.labels.clone();
        let mut name = wanted.name.clone();
        if name.is_empty() {
            name = id::hex64();
            labels.insert(ANONYMOUS.to_owned(), String::new());
        }
        names::check(&name)?;
        let _lock = self.lock();
        if let Ok(found) = self.get(&name) {
            return Ok(found);
        }
        let dir = self.root.join(&name);
        let volume = Volume {
            created_at: jiff::Timestamp::now()
                .strftime("%Y-%m-%dT%H:%M:%SZ")
                .to_string(),
            driver: "local".to_owned(),
            labels,
            mountpoint: dir.join("_data"),
            name,
            options: wanted.driver_opts.clone(),
            scope: "local".to_owned(),
        };
        make_dir(&dir, 0o711)?;
        make_dir(&volume.mountpoint, 0o755)?;
        // The description comes last. A crash before it leaves a directory
        // that is no volume yet, and the next `create` goes on from there.
        let file = dir.join("volume.json");
        state::write_json_durable(&file, &volume)
            .map_err(|error| Error::record(&file, error))?;
        Ok(volume)
    }

    /// The volume of that name.
    ///
    /// # Errors
    /// [`Error::NotFound`] in Docker's words.
    pub fn get(&self, name: &str) -> Result<Volume, Error> {
        let missing = || Error::NotFound { name: name.to_owned() };
        // A name that breaks the rules cannot exist, and must never become
        // part of a path.
        names::check(name).map_err(|_| missing())?;
        let file = self.root.join(name).join("volume.json");
        if !file.exists() {
            return Err(missing());
        }
        let mut volume: Volume = state::read_json(&file)
            .map_err(|error| Error::record(&file, error))?;
        // The data root may have been moved since.
        volume.mountpoint = self.root.join(name).join("_data");
        Ok(volume)
    }

    /// All of them, by name.
    ///
    /// # Errors
    /// [`Error::Directory`] if the directory cannot be read.
    pub fn list(&self) -> Result<Vec<Volume>, Error> {
        let entries = fs::read_dir(&self.root)
            .map_err(|error| Error::directory("read", &self.root, &error))?;
        let mut found: Vec<Volume> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter_map(|name| self.get(&name).ok())
            .collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Removes a volume and the data in it.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::InUse`] names the containers (running
    /// or not) that still refer to it.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        let _lock = self.lock();
        self.remove_locked(name)
    }

    fn remove_locked(&self, name: &str) -> Result<(), Error> {
        let volume = self.get(name)?;
        let users = self.users(name)?;
        if !users.is_empty() {
            return Err(Error::InUse { name: name.to_owned(), users });
        }
        local::unmount(&volume)?;
        let dir = self.root.join(name);
        // The description goes first: what is left after a crash is then no
        // volume any more, and nobody can start to use half of one.
        let file = dir.join("volume.json");
        fs::remove_file(&file)
            .and_then(|()| fs::remove_dir_all(&dir))
            .map_err(|error| Error::directory("remove", &dir, &error))
    }

    /// Removes every volume that no container refers to and that `which`
    /// picks.
    ///
    /// # Errors
    /// [`Error::Directory`] from the listing; a volume that cannot be
    /// removed is passed over and stays in the list.
    pub fn prune(
        &self,
        which: impl Fn(&Volume) -> bool,
    ) -> Result<Pruned, Error> {
        let _lock = self.lock();
        let mut pruned = Pruned::default();
        for volume in self.list()? {
            let size = names::disk_usage(&volume.mountpoint);
            if which(&volume) && self.remove_locked(&volume.name).is_ok() {
                pruned.volumes_deleted.push(volume.name);
                pruned.space_reclaimed += size;
            }
        }
        Ok(pruned)
    }

    /// Bytes on disk, as `docker system df -v` shows them.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn size(&self, name: &str) -> Result<u64, Error> {
        Ok(names::disk_usage(&self.get(name)?.mountpoint))
    }

    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A panic in another thread leaves the directories as they are; each
    /// step above can be taken up again from there.
    pub(crate) fn lock(&self) -> MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn make_dir(dir: &Path, mode: u32) -> Result<(), Error> {
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(dir)
        .map_err(|error| Error::directory("make", dir, &error))
}
