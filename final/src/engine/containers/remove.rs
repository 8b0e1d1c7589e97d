//! `docker rm`, and `container prune`.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::state::{Status, Step};
use super::stop::Stop;
use super::{Container, inspect, stop};
use crate::engine::Engine;
use crate::engine::error::{Error, Result};
use crate::engine::events::{Attributes, Kind};
use crate::engine::filters::Filters;

/// What a prune took away.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Pruned {
    /// IDs.
    pub containers_deleted: Vec<String>,
    /// Bytes.
    pub space_reclaimed: u64,
}

impl Engine {
    /// Removes a container; `force` kills it first, `volumes` takes its
    /// unnamed volumes along.
    ///
    /// # Errors
    /// [`Error::Conflict`] in Docker's words if it runs or is being removed
    /// already.
    pub fn remove(&self, name: &str, force: bool, volumes: bool) -> Result<()> {
        let container = self.containers.find(name)?;
        if container.status() == Status::Removing {
            return Err(Error::Conflict(format!(
                "removal of container {name} is already in progress"
            )));
        }
        let context = container
            .with(|it| format!("cannot remove container {:?}", it.name));
        self.remove_container(&container, force, volumes).map_err(|error| {
            match error {
                // Somebody else was quicker.
                Error::NotFound(_) => Error::no_container(name),
                other => other.context(&context),
            }
        })
    }

    /// Takes the name `alias` for another container away from this one, and
    /// with it the way to that container where there is no other.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a container or a link that is none.
    pub fn remove_link(&self, name: &str, alias: &str) -> Result<()> {
        let container = self.containers.find(name)?;
        let _verb = container.begin();
        let is_it = |link: &String| inspect::link(link).1 == alias;
        let links = container.with(|it| it.host_config.links.clone());
        if !links.iter().flatten().any(is_it) {
            return Err(Error::NotFound(format!(
                "Cannot get parent {name} for name /{name}/{alias}"
            )));
        }
        container.change(|record| {
            let links = record.host_config.links.as_mut();
            if let Some(links) = links {
                links.retain(|link| !is_it(link));
            }
        })?;
        Ok(self.networks.unlink(&container.id, alias)?)
    }

    pub(super) fn remove_container(
        &self,
        container: &Arc<Container>,
        force: bool,
        volumes: bool,
    ) -> Result<()> {
        let _verb = container.begin();
        if container.watch().borrow().removed {
            return Err(Error::no_container(&container.id));
        }
        if force && container.status().is_up() {
            self.force_stop(container)?;
        }
        container.advance(Step::Remove, |_| ())?;
        match self.take_apart(container, volumes) {
            Ok(()) => {
                self.containers.forget(container);
                self.tell(container, "destroy", Attributes::new());
                container.tell_removed(String::new());
                Ok(())
            }
            Err(error) => {
                let text = error.to_string();
                container.advance(Step::RemoveFailed, |record| {
                    record.state.error.clone_from(&text);
                })?;
                container.tell_removed(text);
                Err(error)
            }
        }
    }

    fn force_stop(&self, container: &Arc<Container>) -> Result<()> {
        let at_once =
            Stop { signal: Some("KILL".to_owned()), timeout: Some(10) };
        self.end_begun(container, &at_once)
    }

    fn take_apart(&self, container: &Container, volumes: bool) -> Result<()> {
        let claims = container.with(|record| record.own.claims.clone());
        let id = container.id.as_str();
        stop::sweep_cgroup(container)?;
        let root = layers::Snapshots::remove(&*self.snapshots, id);
        let released = self.volumes.release(id, &claims, volumes);
        root.map_err(Error::internal)?;
        self.tell_volumes_gone(&claims);
        released?;
        // The record goes first: a directory without one is rubbish that
        // the next daemon sweeps away.
        let record = super::record::config_file(&container.dir);
        for result in
            [std::fs::remove_file(&record), remove_tree(&container.dir)]
        {
            match result {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    let failed = Error::io("remove", &container.dir);
                    return Err(failed(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes all that have ended.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a filter; what cannot be removed is passed over.
    pub fn prune_containers(&self, filters: &Filters) -> Result<Pruned> {
        let until = filters.one("until").map(super::list::time).transpose()?;
        let mut pruned = Pruned::default();
        for container in self.containers.all() {
            let (ended, created, labels) = container.with(|record| {
                let status = record.state.status;
                let ended = matches!(
                    status,
                    Status::Created | Status::Exited | Status::Dead
                );
                (ended, record.created.clone(), record.config.labels.clone())
            });
            let old = until.is_none_or(|until| {
                super::list::time(&created).is_ok_and(|it| it < until)
            });
            if !ended || !old || !filters.labels(&labels) {
                continue;
            }
            let size = self.size_rw(&container);
            if self.remove_container(&container, false, false).is_ok() {
                pruned.containers_deleted.push(container.id.clone());
                pruned.space_reclaimed += size;
            }
        }
        self.tell_pruned(Kind::Container, pruned.space_reclaimed);
        Ok(pruned)
    }
}

/// Removes a directory into which somebody may still write for a moment: the
/// threads that wait for the container's execs write down how they ended.
fn remove_tree(dir: &Path) -> std::io::Result<()> {
    const ATTEMPTS: u32 = 100;
    for _ in 1..ATTEMPTS {
        match std::fs::remove_dir_all(dir) {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {
                std::thread::sleep(Duration::from_millis(5));
            }
            done => return done,
        }
    }
    std::fs::remove_dir_all(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_removed_though_somebody_still_writes_into_it() {
        let parent = tempfile::tempdir().unwrap();
        for round in 0..50 {
            let dir = parent.path().join(round.to_string());
            std::fs::create_dir_all(dir.join("execs")).unwrap();
            let writer = std::thread::spawn({
                let dir = dir.clone();
                move || {
                    for number in 0..200 {
                        let _ = std::fs::create_dir(dir.join("execs"));
                        let file = dir.join("execs").join(number.to_string());
                        let _ = std::fs::write(file, "{}");
                    }
                }
            });
            let removed = remove_tree(&dir);
            writer.join().unwrap();
            removed.unwrap();
            assert!(!dir.exists());
        }
    }
}
