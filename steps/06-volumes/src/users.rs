//! Who refers to a volume: an empty file for each container in
//! `volumes/<name>/users/`. Files, because the answer must survive a daemon
//! that is killed, and because a learner can look.

use std::fs::{self, File};

use crate::{Error, VolumeStore, make_dir};

impl VolumeStore {
    /// Notes that `container` refers to the volume, which then cannot be
    /// removed. Doing it twice is no error.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Directory`].
    pub fn hold(&self, name: &str, container: &str) -> Result<(), Error> {
        let _lock = self.lock();
        self.get(name)?;
        let users = self.dir(name).join("users");
        make_dir(&users, 0o700)?;
        let file = users.join(container);
        File::create(&file)
            .map(drop)
            .map_err(|error| Error::directory("make", &file, &error))
    }

    /// The containers that refer to the volume, sorted.
    ///
    /// # Errors
    /// [`Error::Directory`] if the directory cannot be read.
    pub fn users(&self, name: &str) -> Result<Vec<String>, Error> {
        let dir = self.dir(name).join("users");
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(Error::directory("read", &dir, &error)),
        };
        let mut users: Vec<String> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        users.sort();
        Ok(users)
    }

    /// Takes [`VolumeStore::hold`] back; that it was not there is no error.
    ///
    /// # Errors
    /// [`Error::Directory`] if the file cannot be removed.
    pub fn let_go(&self, name: &str, container: &str) -> Result<(), Error> {
        let _lock = self.lock();
        let file = self.dir(name).join("users").join(container);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::directory("remove", &file, &error))
            }
            _ => Ok(()),
        }
    }

    /// Forgets containers that are no more: a daemon that was killed between
    /// two steps may have left their names. To be called when it starts.
    ///
    /// # Errors
    /// As [`VolumeStore::users`] and [`VolumeStore::let_go`].
    pub fn reconcile(
        &self,
        exists: impl Fn(&str) -> bool,
    ) -> Result<(), Error> {
        for volume in self.list()? {
            for user in self.users(&volume.name)? {
                if !exists(&user) {
                    self.let_go(&volume.name, &user)?;
                }
            }
        }
        Ok(())
    }
}
