//! What happens when a container's process has ended.
//!
//! A thread per running container waits for it: it sleeps in read(2) on the
//! shim's socket and costs a few kilobytes. When it wakes up it cleans up,
//! and only then tells the others, so that whoever was waiting finds
//! nothing left in the kernel.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::state::{Status, Step, now};
use super::{Container, Phase, mounts, restart};
use crate::engine::events::attributes;
use crate::engine::{Engine, Error};
use crate::shim::{Client, Exit};

impl Engine {
    /// Waits in the background for the end of a container's process, of
    /// which `oom_kills` others have been killed for memory and told of.
    pub(super) fn follow(
        self: &Arc<Self>,
        container: &Arc<Container>,
        client: Client,
        since: Instant,
        oom_kills: u64,
    ) {
        let (engine, ended) = (self.clone(), container.clone());
        let spawned = std::thread::Builder::new()
            .name("skiff-follow".to_owned())
            .stack_size(256 << 10)
            .spawn(move || {
                let exit = engine
                    .wait_and_tell_oom(&ended, &client, oom_kills)
                    .unwrap_or_else(|error| vanished(&error));
                engine.ended(&ended, exit, since.elapsed());
            });
        if let Err(error) = spawned {
            tracing::error!("cannot watch {}: {error}", container.id);
        }
    }

    /// Takes note of an end: cleans up, moves on in the table, and applies
    /// the restart policy.
    pub(super) fn ended(
        self: &Arc<Self>,
        container: &Arc<Container>,
        exit: Exit,
        ran: Duration,
    ) {
        self.tell_networks(container, "disconnect");
        self.release_resources(container);
        container.end_execs();
        let again = restart::again(container, exit.code, ran);
        let step =
            if again.is_some() { Step::ExitToRestart } else { Step::Exit };
        let noted = container.advance(step, |record| {
            record.own.in_use = false;
            record.restart_count += u64::from(again.is_some());
            record.state.exit_code = exit.code;
            record.state.oom_killed = exit.oom_killed;
            record.state.error.clone_from(&exit.error);
            record.state.finished_at.clone_from(&exit.finished_at);
            if let Some(health) = &mut record.state.health {
                "unhealthy".clone_into(&mut health.status);
            }
        });
        if let Err(error) = noted {
            tracing::error!("the end of {}: {error}", container.id);
        }
        let code = exit.code.to_string();
        let seconds = ran.as_secs().to_string();
        let about =
            attributes([("exitCode", &code), ("execDuration", &seconds)]);
        self.tell(container, "die", about);
        match again {
            Some(pause) => self.start_again(container, pause),
            None => self.auto_remove(container),
        }
    }

    fn auto_remove(self: &Arc<Self>, container: &Arc<Container>) {
        if !self.removes_itself(container) {
            return;
        }
        // Not by force: `docker restart` may have started it again already.
        match self.remove_container(container, false, true) {
            // Somebody else was quicker.
            Ok(()) | Err(Error::NotFound(_)) => {}
            Err(error) => {
                tracing::warn!("cannot remove {}: {error}", container.id);
            }
        }
    }

    /// `--rm`.
    pub(super) fn removes_itself(&self, container: &Container) -> bool {
        container.with(|record| record.host_config.auto_remove)
    }

    fn start_again(
        self: &Arc<Self>,
        container: &Arc<Container>,
        pause: Duration,
    ) {
        let given_up = |it: &Phase| it.status != Status::Restarting;
        if self.block_until(container, Some(pause), given_up) {
            return;
        }
        let verb = container.begin();
        if container.status() != Status::Restarting {
            return;
        }
        let started = self.start_begun(container);
        drop(verb);
        if let Err(error) = started {
            tracing::warn!("cannot restart {}: {error}", container.id);
        }
    }

    /// Takes away what a running container has in the kernel. Everything is
    /// tried, since one failure must not leave the rest behind.
    pub(super) fn release_resources(&self, container: &Container) {
        let claims = container.with(|record| record.own.claims.clone());
        let note = |what: &str, result: Result<(), String>| {
            if let Err(error) = result {
                tracing::warn!("{}: {what}: {error}", container.id);
            }
        };
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let id = container.id.as_str();
        note("network", self.networks.leave(id).map_err(|e| text(&e)));
        let settled = self.volumes.settle(id, &claims);
        self.tell_unmounted(id, &claims);
        note("volumes", settled.map_err(|e| text(&e)));
        let unmounted = layers::Snapshots::unmount(&*self.snapshots, id);
        note("root", unmounted.map_err(|e| text(&e)));
        mounts::unmount_shm(&container.dir);
        let cleared = container.change(|record| {
            record.own.attached.clear();
            record.own.ports.clear();
            record.own.netns = None;
        });
        note("record", cleared.map_err(|e| text(&e)));
    }
}

/// A shim that is gone without a word was killed, and its container with it.
fn vanished(error: &crate::shim::Error) -> Exit {
    Exit {
        code: 137,
        signal: Some(9),
        oom_killed: false,
        finished_at: now(),
        error: format!("the container's shim is gone: {error}"),
    }
}
