//! Volumes, with what the engine knows beyond step 6: events, and who uses
//! them.

use ::volumes::{ANONYMOUS, CreateVolume, Pruned, Volume};
use serde_json::{Value, json};

use super::Engine;
use super::error::{Error, Result};
use super::events::{Kind, attributes};
use super::filters::Filters;

impl Engine {
    /// Makes a volume, or finds it.
    ///
    /// # Errors
    /// In Docker's words.
    pub fn create_volume(&self, wanted: &CreateVolume) -> Result<Volume> {
        let existed = self.volumes.get(&wanted.name).is_ok();
        let volume = self.volumes.create(wanted).map_err(|error| {
            let driverless = matches!(error, ::volumes::Error::NoDriver { .. });
            match Error::from(error) {
                // Docker says for what it was looking for the plugin.
                error if driverless => {
                    error.context(&format!("create {}", wanted.name))
                }
                error => error,
            }
        })?;
        if !existed {
            self.tell_volume("create", &volume.name);
        }
        Ok(volume)
    }

    /// The volumes that pass the filters.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a filter's value.
    pub fn list_volumes(&self, filters: &Filters) -> Result<Vec<Volume>> {
        let dangling = filters.flag("dangling")?;
        let names = filters.patterns("name");
        let mut list = self.volumes.list()?;
        list.retain(|volume| {
            let free = || {
                let users = self.volumes.users(&volume.name);
                users.is_ok_and(|users| users.is_empty())
            };
            names.match_any(&[&volume.name])
                && filters.any("driver", |name| name == volume.driver)
                && filters.labels(&volume.labels)
                && dangling.is_none_or(|wanted| free() == wanted)
        });
        Ok(list)
    }

    /// Removes a volume; with `force`, one that is not there is fine.
    ///
    /// # Errors
    /// In Docker's words, if it is in use or not there.
    pub fn remove_volume(&self, name: &str, force: bool) -> Result<()> {
        match self.volumes.remove(name) {
            Err(::volumes::Error::NotFound { .. }) if force => return Ok(()),
            other => other?,
        }
        self.tell_volume("destroy", name);
        Ok(())
    }

    /// Removes what nobody uses: unnamed ones, or with `all` every one.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a filter's value.
    pub fn prune_volumes(&self, filters: &Filters) -> Result<Pruned> {
        let all = filters.flag("all")?.unwrap_or(false);
        let pruned = self.volumes.prune(|volume| {
            (all || volume.labels.contains_key(ANONYMOUS))
                && filters.labels(&volume.labels)
        })?;
        let reclaimed = pruned.space_reclaimed.to_string();
        let about = attributes([("reclaimed", &reclaimed)]);
        self.events.emit(Kind::Volume, "prune", "", about);
        Ok(pruned)
    }

    /// A volume with its size and its users, for `system df`.
    pub(super) fn volume_usage(&self, volume: &Volume) -> Value {
        let users = self.volumes.users(&volume.name).unwrap_or_default();
        let mut json = json!(volume);
        json["UsageData"] = json!({
            "Size": super::system::disk_usage(&volume.mountpoint),
            "RefCount": users.len(),
        });
        json
    }

    fn tell_volume(&self, verb: &str, name: &str) {
        let about = attributes([("driver", "local")]);
        self.events.emit(Kind::Volume, verb, name, about);
    }
}

impl From<::volumes::Error> for Error {
    fn from(error: ::volumes::Error) -> Error {
        let text = error.to_string();
        match error {
            ::volumes::Error::NotFound { .. }
            | ::volumes::Error::NoDriver { .. } => Error::NotFound(text),
            ::volumes::Error::InUse { .. } => Error::Conflict(text),
            ::volumes::Error::Invalid(_) => Error::Invalid(text),
            _ => Error::Internal(text),
        }
    }
}
