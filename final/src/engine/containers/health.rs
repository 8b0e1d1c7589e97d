//! Health checks: a command that is run now and then inside a container,
//! whose exit code says whether the container does its work.

use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cli_api::frames::Decoder;

use super::config::Config;
use super::exec::ExecConfig;
use super::state::{Health, Probe, Status, now};
use super::{Container, Phase};
use crate::engine::Engine;
use crate::engine::error::Error;
use crate::engine::events::Attributes;
use crate::shim::protocol::Attach;

/// How much of a probe's output is kept; dockerd's number.
const OUTPUT: u64 = 4096;
/// How many probes are kept.
const KEPT: usize = 5;

/// The times of a health check, with Docker's defaults.
#[derive(Debug, Clone)]
struct Plan {
    command: Vec<String>,
    interval: Duration,
    start_interval: Duration,
    timeout: Duration,
    start_period: Duration,
    retries: i64,
}

/// The health of a container that has just started; `None` without a check.
pub(super) fn initial(config: &Config) -> Option<Health> {
    plan(config).map(|_| Health {
        status: "starting".to_owned(),
        failing_streak: 0,
        log: Vec::new(),
    })
}

fn plan(config: &Config) -> Option<Plan> {
    let check = config.healthcheck.as_ref()?;
    let test = check.test.as_deref()?;
    let command = match test.split_first() {
        Some((kind, rest)) if kind == "CMD" => rest.to_vec(),
        Some((kind, rest)) if kind == "CMD-SHELL" => {
            let sh = ["/bin/sh".to_owned(), "-c".to_owned()];
            let shell = config.shell.clone();
            let shell = shell.filter(|it| !it.is_empty());
            let mut words = shell.unwrap_or(sh.to_vec());
            words.extend(rest.first().cloned());
            words
        }
        _ => return None,
    };
    let or = |nanoseconds: i64, default: u64| match nanoseconds {
        0 => Duration::from_secs(default),
        given => Duration::from_nanos(given.unsigned_abs()),
    };
    Some(Plan {
        command,
        interval: or(check.interval, 30),
        start_interval: or(check.start_interval, 5),
        timeout: or(check.timeout, 30),
        start_period: or(check.start_period, 0),
        retries: if check.retries == 0 { 3 } else { check.retries },
    })
}

impl Engine {
    /// Probes a container, if it wants that, for as long as it runs.
    pub(super) fn watch_health(self: &Arc<Self>, container: &Arc<Container>) {
        let Some(plan) = container.with(|record| plan(&record.config)) else {
            return;
        };
        let (engine, watched) = (self.clone(), container.clone());
        let spawned = std::thread::Builder::new()
            .name("skiff-health".to_owned())
            .stack_size(256 << 10)
            .spawn(move || engine.probe_on(&watched, &plan));
        if let Err(error) = spawned {
            tracing::error!("no health checks of {}: {error}", container.id);
        }
    }

    fn probe_on(self: &Arc<Self>, container: &Arc<Container>, plan: &Plan) {
        let began = Instant::now();
        let exits = container.watch().borrow().exits;
        loop {
            let starting = began.elapsed() < plan.start_period;
            let quick = starting && is_starting(container);
            let pause = if quick { plan.start_interval } else { plan.interval };
            let over = |it: &Phase| it.removed || it.exits != exits;
            if self.block_until(container, Some(pause), over) {
                return;
            }
            if container.status() == Status::Running {
                let probe = self.probe(container, plan);
                let early = began.elapsed() < plan.start_period;
                self.judge(container, plan, probe, early, exits);
            }
        }
    }

    /// Runs the command once.
    fn probe(
        self: &Arc<Self>,
        container: &Arc<Container>,
        plan: &Plan,
    ) -> Probe {
        let start = now();
        let (exit_code, output) = match self.run_probe(container, plan) {
            Ok(result) => result,
            Err(error) => (-1, error.to_string()),
        };
        Probe { start, end: now(), exit_code, output }
    }

    fn run_probe(
        self: &Arc<Self>,
        container: &Arc<Container>,
        plan: &Plan,
    ) -> Result<(i32, String), Error> {
        let config = ExecConfig {
            cmd: plan.command.clone(),
            attach_stdout: true,
            attach_stderr: true,
            ..ExecConfig::default()
        };
        let exec = self.exec_create(&container.id, config)?;
        let streams = Attach { stdin: false, stdout: true, stderr: true };
        let Some(stream) = self.exec_start(&exec.id, None, Some(streams))?
        else {
            return Ok((-1, String::new()));
        };
        let deadline = Instant::now() + plan.timeout;
        let mut reader = Collect::default();
        let finished = reader.read(stream, deadline);
        if !finished {
            let _ = exec.client().kill(nix::libc::SIGKILL);
            let limit = plan.timeout.as_secs_f64();
            let text = format!("Health check exceeded timeout ({limit}s)");
            return Ok((-1, text));
        }
        let code = exec.exit_code().ok_or_else(|| {
            Error::internal("the probe's shim has ended without a word")
        })?;
        Ok((code, reader.text()))
    }

    /// What a probe means for the container.
    fn judge(
        &self,
        container: &Container,
        plan: &Plan,
        probe: Probe,
        early: bool,
        exits: u64,
    ) {
        let judged = container.change(|record| {
            let health = record.state.health.as_mut()?;
            // It ended while the probe ran.
            if container.watch().borrow().exits != exits {
                return None;
            }
            let before = health.status.clone();
            if probe.exit_code == 0 {
                health.failing_streak = 0;
                "healthy".clone_into(&mut health.status);
            } else if !(early && before == "starting") {
                health.failing_streak += 1;
                if health.failing_streak >= plan.retries {
                    "unhealthy".clone_into(&mut health.status);
                }
            }
            health.log.push(probe);
            let old = health.log.len().saturating_sub(KEPT);
            health.log.drain(..old);
            let now = health.status.clone();
            (now != before).then_some(now)
        });
        if let Ok(Some(status)) = judged {
            let action = format!("health_status: {status}");
            self.tell(container, &action, Attributes::new());
        }
    }
}

fn is_starting(container: &Container) -> bool {
    container.with(|record| {
        let health = record.state.health.as_ref();
        health.is_some_and(|health| health.status == "starting")
    })
}

/// The output of a probe, without its frames.
#[derive(Default)]
struct Collect {
    frames: Decoder,
    output: Vec<u8>,
}

impl Collect {
    /// Reads up to the end; `false` if the deadline came first.
    fn read(
        &mut self,
        mut stream: std::os::unix::net::UnixStream,
        deadline: Instant,
    ) -> bool {
        let mut piece = [0; 4096];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
                return false;
            }
            match stream.read(&mut piece) {
                Ok(0) => return true,
                Ok(length) => self.push(&piece[..length]),
                Err(error)
                    if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }

    fn push(&mut self, piece: &[u8]) {
        self.frames.push(piece);
        while let Ok(Some((_, bytes))) = self.frames.next_piece() {
            let room = usize::try_from(OUTPUT).unwrap_or(usize::MAX)
                - self.output.len();
            self.output.extend(bytes.iter().take(room));
        }
    }

    fn text(self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(test: &str) -> Option<Plan> {
        let text = format!(r#"{{"Healthcheck": {{"Test": {test}}}}}"#);
        plan(&serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn a_shell_line_goes_to_the_shell_and_words_do_not() {
        let shell = with(r#"["CMD-SHELL", "true"]"#).unwrap();
        assert_eq!(shell.command, ["/bin/sh", "-c", "true"]);
        let words = with(r#"["CMD", "/bin/true"]"#).unwrap();
        assert_eq!(words.command, ["/bin/true"]);
        assert_eq!(words.interval, Duration::from_secs(30));
        assert!(with(r#"["NONE"]"#).is_none());
    }
}
