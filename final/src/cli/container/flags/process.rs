//! What runs, as whom, with which environment.

use std::path::PathBuf;

use clap::Args;

use super::{Body, Streams, labels, lines_of};

/// Flags about the process.
#[derive(Debug, Clone, Args)]
pub(crate) struct ProcessFlags {
    /// Keep standard input open, and pass ours on
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Attach to stdin, stdout or stderr; may repeat
    #[arg(short, long, value_name = "STREAM", value_parser = stream)]
    pub(crate) attach: Vec<String>,
    /// Set a variable; a name alone takes the value from here
    #[arg(short, long, value_name = "NAME[=VALUE]",
        value_parser = variable)]
    env: Vec<String>,
    /// Set the variables in this file
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// User and group, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// A further group; may repeat
    #[arg(long, value_name = "GROUP")]
    group_add: Vec<String>,
    /// The directory to start in
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// The program in front of the command, instead of the image's
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// Run an init that reaps zombies and passes signals on
    #[arg(long)]
    init: bool,
    /// A label; may repeat
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// The labels in this file
    #[arg(long, value_name = "FILE")]
    label_file: Vec<PathBuf>,
    /// What to do when it exits: no, on-failure[:N], always, unless-stopped
    #[arg(long, default_value = "no", value_name = "POLICY")]
    pub(crate) restart: String,
    /// The signal that `stop` sends
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// How long `stop` waits before it kills
    #[arg(long, value_name = "SECONDS")]
    stop_timeout: Option<i64>,
    /// The keys that detach, as ctrl-p,ctrl-q
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) detach_keys: String,
    /// Pass signals on to the process
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set,
        num_args = 0..=1, default_missing_value = "true",
        require_equals = true, value_name = "BOOL")]
    pub(crate) sig_proxy: bool,
    /// Where the output goes: json-file, local or none
    #[arg(long, value_name = "DRIVER")]
    log_driver: Option<String>,
    /// An option of the log driver, as max-size=10m; may repeat
    #[arg(long, value_name = "KEY=VALUE")]
    log_opt: Vec<String>,
    /// A note for scripts; may repeat
    #[arg(long, value_name = "KEY=VALUE")]
    annotation: Vec<String>,
}

impl ProcessFlags {
    pub(super) fn add(
        &self,
        body: &mut Body,
        attach: Streams,
    ) -> anyhow::Result<()> {
        body.config("AttachStdin", attach.stdin);
        body.config("AttachStdout", attach.stdout);
        body.config("AttachStderr", attach.stderr);
        body.config("OpenStdin", self.interactive);
        // The first client's end of input is the process's.
        body.config("StdinOnce", self.interactive && attach.stdin);
        body.config("Tty", self.tty);
        body.config("Env", self.environment()?);
        body.config("User", self.user.clone().unwrap_or_default());
        body.config("WorkingDir", self.workdir.clone().unwrap_or_default());
        if let Some(program) = &self.entrypoint {
            // Empty means: not even the image's.
            body.config("Entrypoint", vec![program.clone()]);
        }
        body.config("Labels", labels(&self.labels()?));
        self.add_life(body)
    }

    /// How it starts again, how it ends, and where its output goes.
    fn add_life(&self, body: &mut Body) -> anyhow::Result<()> {
        if let Some(signal) = &self.stop_signal {
            body.config("StopSignal", signal.clone());
        }
        if let Some(seconds) = self.stop_timeout {
            body.config("StopTimeout", seconds);
        }
        if self.init {
            body.host("Init", true);
        }
        body.host("GroupAdd", self.group_add.clone());
        body.host("RestartPolicy", restart_policy(&self.restart)?);
        body.host("Annotations", labels(&self.annotation));
        body.host(
            "LogConfig",
            serde_json::json!({
                "Type": self.log_driver.clone().unwrap_or_default(),
                "Config": labels(&self.log_opt),
            }),
        );
        let (rows, columns) = crate::cli::terminal::size().unwrap_or_default();
        body.host("ConsoleSize", vec![rows, columns]);
        Ok(())
    }

    fn labels(&self) -> anyhow::Result<Vec<String>> {
        let mut all = Vec::new();
        for file in &self.label_file {
            all.extend(lines_of(file)?);
        }
        all.extend(self.label.iter().cloned());
        Ok(all)
    }

    fn environment(&self) -> anyhow::Result<Vec<String>> {
        let mut all = Vec::new();
        for file in &self.env_file {
            all.extend(lines_of(file)?);
        }
        all.extend(self.env.iter().cloned());
        Ok(environment(all))
    }
}

fn stream(text: &str) -> Result<String, String> {
    let name = text.to_lowercase();
    match ["stdin", "stdout", "stderr"].contains(&name.as_str()) {
        true => Ok(name),
        false => Err("valid streams are STDIN, STDOUT and STDERR".to_owned()),
    }
}

/// What `--env` takes: with a name, whatever its value.
pub(crate) fn variable(text: &str) -> Result<String, String> {
    match text.is_empty() || text.starts_with('=') {
        true => Err(format!("invalid environment variable: {text}")),
        false => Ok(text.to_owned()),
    }
}

/// Fills in names without a value from our own environment; those that are
/// not set here are left out.
pub(crate) fn environment(all: Vec<String>) -> Vec<String> {
    all.into_iter()
        .filter_map(|it| match it.contains('=') {
            true => Some(it),
            false => std::env::var(&it).ok().map(|set| format!("{it}={set}")),
        })
        .collect()
}

/// `on-failure:3` as the API has it.
///
/// # Errors
/// Docker's words.
pub(crate) fn restart_policy(text: &str) -> anyhow::Result<serde_json::Value> {
    let (name, count) = text.split_once(':').unwrap_or((text, ""));
    let count: u32 = match count {
        "" => 0,
        count => count.parse().map_err(|_| {
            anyhow::anyhow!(
                "invalid restart policy format: maximum retry count must be \
                 an integer"
            )
        })?,
    };
    Ok(serde_json::json!({ "Name": name, "MaximumRetryCount": count }))
}
