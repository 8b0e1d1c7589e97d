//! Volumes, with what the engine knows beyond step 6: events, and who uses
//! them.

use ::volumes::{
    ANONYMOUS, Claim, CreateVolume, MountKind, MountPoint, MountSpec, Pruned,
    Volume,
};
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
        for name in &pruned.volumes_deleted {
            self.tell_volume("destroy", name);
        }
        self.tell_pruned(Kind::Volume, pruned.space_reclaimed);
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

    /// Claims what a container wants, and reports the volumes that are new.
    pub(super) fn claim_volumes(
        &self,
        container: &str,
        specs: &[MountSpec],
    ) -> Result<Vec<Claim>> {
        let known = |spec: &&MountSpec| self.volumes.get(&spec.source).is_ok();
        let known = specs.iter().filter(known);
        let known: Vec<_> = known.map(|spec| spec.source.clone()).collect();
        let claims = self.volumes.claim(container, specs)?;
        for (name, _) in of_volumes(&claims) {
            if !known.iter().any(|it| it == name) {
                self.tell_volume("create", name);
            }
        }
        Ok(claims)
    }

    /// Reports which volumes went with the container that claimed them.
    pub(super) fn tell_volumes_gone(&self, claims: &[Claim]) {
        for (name, _) in of_volumes(claims) {
            if self.volumes.get(name).is_err() {
                self.tell_volume("destroy", name);
            }
        }
    }

    /// Reports that a container that starts has its volumes.
    pub(super) fn tell_mounted(&self, container: &str, claims: &[Claim]) {
        for (name, point) in of_volumes(claims) {
            let about = attributes([
                ("container", container),
                ("destination", &point.destination),
                ("driver", "local"),
                ("propagation", &point.propagation),
                ("read/write", if point.rw { "true" } else { "false" }),
            ]);
            self.events.emit(Kind::Volume, "mount", name, about);
        }
    }

    /// Reports that it has let go of them.
    pub(super) fn tell_unmounted(&self, container: &str, claims: &[Claim]) {
        for (name, _) in of_volumes(claims) {
            let about =
                attributes([("container", container), ("driver", "local")]);
            self.events.emit(Kind::Volume, "unmount", name, about);
        }
    }

    fn tell_volume(&self, verb: &str, name: &str) {
        let about = attributes([("driver", "local")]);
        self.events.emit(Kind::Volume, verb, name, about);
    }
}

/// Those claims that are volumes, with their names.
fn of_volumes(claims: &[Claim]) -> impl Iterator<Item = (&str, &MountPoint)> {
    let points = claims.iter().map(|claim| &claim.point);
    points
        .filter(|point| point.kind == MountKind::Volume)
        .map(|point| (point.name.as_str(), point))
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
