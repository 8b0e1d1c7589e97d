//! A new daemon on an old data root: it may have been killed at any instant,
//! and nothing of what its containers did meanwhile is lost.
//!
//! The truth about a process is in the files of its shim, which has no
//! daemon to lose: `shim.json` while it lives, `exit.json` when it ended.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cli_api::state::read_json;

use super::record::{Record, config_file};
use super::state::{Status, Step};
use super::{Container, list, oom, restart, stop};
use crate::engine::Engine;
use crate::engine::error::{Error, Result};
use crate::engine::events::Attributes;
use crate::shim::{self, Client, Exit};

impl Engine {
    /// Reads all containers and takes up each where it is now.
    ///
    /// # Errors
    /// [`Error::Internal`] if the directory cannot be read. A container
    /// whose record is damaged is left alone, with a line in the log.
    pub(in crate::engine) fn recover(self: &Arc<Self>) -> Result<()> {
        let dir = self.containers.dir().to_owned();
        let entries =
            std::fs::read_dir(&dir).map_err(Error::io("read", &dir))?;
        for entry in entries.flatten() {
            self.recover_one(&entry.path());
        }
        let all = self.containers.all();
        let up = all.iter().filter(|container| {
            container.status().has_process() && alive(container)
        });
        let up: Vec<_> = up.map(|container| container.id.clone()).collect();
        for error in self.networks.restore(&up) {
            tracing::warn!("a container's network: {error}");
        }
        for container in all {
            if let Err(error) = self.learn_connections(&container) {
                tracing::warn!("{}: {error}", container.id);
            }
            self.take_up(&container);
        }
        Ok(())
    }

    /// A daemon that was killed while it connected a container had not
    /// written so in the container's record.
    fn learn_connections(&self, container: &Container) -> Result<()> {
        let there = self.networks.endpoints(&container.id);
        let known = |it: &Record| {
            there.keys().all(|at| it.own.attached.contains_key(at))
        };
        if container.with(known) {
            return Ok(());
        }
        container.change(|record| {
            for (network, settings) in there {
                let endpoints = &mut record.own.endpoints;
                endpoints
                    .entry(network.clone())
                    .or_insert_with(|| settings.wishes());
                record.own.attached.entry(network).or_insert(settings);
            }
        })
    }

    fn recover_one(&self, dir: &Path) {
        let file = config_file(dir);
        if !file.exists() {
            // Half created or half removed; nobody knows its name.
            let _ = std::fs::remove_dir_all(dir);
            return;
        }
        let record: Record = match read_json(&file) {
            Ok(record) => record,
            Err(error) => {
                tracing::error!("left alone: {error}");
                return;
            }
        };
        let name = record.short_name().to_owned();
        if let Err(error) = self.containers.take_name(&name, &record.id) {
            tracing::error!("{}: {error}", record.id);
        }
        let container = Container::new(dir.to_owned(), record);
        self.containers.insert(Arc::new(container));
    }

    /// Finds out what has become of one container.
    fn take_up(self: &Arc<Self>, container: &Arc<Container>) {
        let record = container.record();
        if !record.state.status.has_process() {
            let _ = std::fs::remove_dir_all(container.dir.join("execs"));
        }
        match record.state.status {
            Status::Removing | Status::Dead => self.finish_removal(container),
            Status::Running | Status::Paused => self.still_up(container),
            Status::Restarting => self.boot(container, true),
            Status::Created | Status::Exited => {
                if record.own.in_use {
                    self.undo_start(container);
                }
                self.boot(container, restart::at_boot(&record));
            }
        }
    }

    /// It ran when the last daemon died.
    fn still_up(self: &Arc<Self>, container: &Arc<Container>) {
        let ran = container.with(|record| ran_since(&record.state.started_at));
        let client = Client::new(&container.dir);
        let over = Exit::load(&container.dir).is_ok_and(|it| it.is_some());
        if !over && alive(container) {
            let since = Instant::now().checked_sub(ran);
            let since = since.unwrap_or_else(Instant::now);
            let told = oom::kills(container);
            self.follow(container, client, since, told);
            self.recover_execs(container);
            self.watch_health(container);
            return;
        }
        let exit = client.last_exit().ok().flatten().unwrap_or_else(|| {
            self.kill_all(container);
            Exit {
                code: 137,
                signal: Some(9),
                oom_killed: false,
                finished_at: super::state::now(),
                error: "its shim was gone when the engine came back".to_owned(),
            }
        });
        self.recover_execs(container);
        self.ended_meanwhile(container, exit, ran);
    }

    /// On a thread of its own: a restart policy may make it wait.
    fn ended_meanwhile(
        self: &Arc<Self>,
        container: &Arc<Container>,
        exit: Exit,
        ran: Duration,
    ) {
        let (engine, container) = (self.clone(), container.clone());
        std::thread::spawn(move || {
            if exit.oom_killed {
                engine.tell(&container, "oom", Attributes::new());
            }
            engine.ended(&container, exit, ran);
        });
    }

    /// The last daemon died in the middle of a start. The process may stand
    /// at its gate, or even run; nobody was told that it does.
    fn undo_start(&self, container: &Arc<Container>) {
        if alive(container) {
            self.kill_all(container);
            let _ = Client::new(&container.dir).wait();
        }
        self.release_resources(container);
        let noted = stop::sweep_cgroup(container).and_then(|()| {
            container.change(|record| record.own.in_use = false)
        });
        if let Err(error) = noted {
            tracing::warn!("{}: {error}", container.id);
        }
    }

    fn finish_removal(&self, container: &Arc<Container>) {
        let dead = container.status() == Status::Dead;
        let failed = if dead {
            Ok(())
        } else {
            container.advance(Step::RemoveFailed, |_| ())
        };
        // Whether it was `rm -v` nobody knows any more; a volume too many is
        // no loss.
        let volumes = self.removes_itself(container);
        let removed = failed
            .and_then(|()| self.remove_container(container, true, volumes));
        if let Err(error) = removed {
            tracing::warn!("cannot remove {}: {error}", container.id);
        }
    }

    /// Starts it if its policy says so, and removes it if it was to go.
    fn boot(self: &Arc<Self>, container: &Arc<Container>, start: bool) {
        if container.status() == Status::Restarting
            && let Err(error) = container.advance(Step::GiveUp, |_| ())
        {
            tracing::warn!("{}: {error}", container.id);
        }
        // One that was never started has nobody who would remove it, either.
        let over =
            matches!(container.status(), Status::Exited | Status::Created);
        let goes = over && self.removes_itself(container);
        if !start && !goes {
            return;
        }
        let (engine, container) = (self.clone(), container.clone());
        std::thread::spawn(move || {
            let done = if start {
                let _verb = container.begin();
                engine.start_begun(&container)
            } else {
                engine.remove_container(&container, false, true)
            };
            if let Err(error) = done {
                tracing::warn!("{}: {error}", container.id);
            }
        });
    }
}

/// Whether the process is still the one that was started: a PID alone may
/// be somebody else's by now.
fn alive(container: &Container) -> bool {
    shim::Record::load(&container.dir).is_ok_and(|record| {
        let now = shim::start_ticks(record.pid);
        now == Some(record.start_ticks)
            && Client::new(&container.dir).status().is_ok()
    })
}

fn ran_since(started_at: &str) -> Duration {
    let now = jiff::Timestamp::now();
    let seconds = list::time(started_at)
        .map_or(0, |started| now.as_second() - started.as_second());
    Duration::from_secs(seconds.unsigned_abs())
}
