//! Instructions that change only what the image *says*, not its files.
//!
//! They make no layer: each is one edit of the config and one line of
//! history. `commit --change` and `import --change` use the same edits.

use super::dockerfile::{Command, CommandLine, Dockerfile, Health};
use super::expand::{expand, expand_words};
use super::scope::Scope;
use crate::config::{ContainerConfig, Empty, Healthcheck};

/// What the shell forms run in, unless SHELL says otherwise.
const DEFAULT_SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// Applies one `--change` of `commit` or `import`, in a Dockerfile's syntax,
/// to a config.
///
/// ```
/// let mut config = layers::config::ContainerConfig::default();
/// layers::build::change(&mut config, "CMD [\"sh\"]").unwrap();
/// layers::build::change(&mut config, "EXPOSE 80").unwrap();
/// assert_eq!(config.cmd, Some(vec!["sh".to_owned()]));
/// assert!(layers::build::change(&mut config, "RUN x").is_err());
/// ```
pub fn change(config: &mut ContainerConfig, text: &str) -> Result<(), String> {
    let instruction =
        Dockerfile::parse_one(text).map_err(|error| error.to_string())?;
    let mut scope = Scope::new('\\');
    scope.see_env(config.env.as_deref().unwrap_or_default());
    match apply(config, &instruction.command, &scope)? {
        Some(_) => Ok(()),
        None => Err(format!(
            "{} is not a valid change command",
            instruction.command.keyword()
        )),
    }
}

/// Edits the config; returns the line for the history, or `None` when the
/// instruction is not one of these.
pub(super) fn apply(
    config: &mut ContainerConfig,
    command: &Command,
    scope: &Scope,
) -> Result<Option<String>, String> {
    let say = |text: &str| {
        expand(text, scope.escape, &|name| scope.get(name))
            .map_err(|error| error.to_string())
    };
    Ok(Some(match command {
        Command::Cmd(line) => {
            let words = command_line(config, line);
            format!("CMD {}", go_list(config.cmd.insert(words)))
        }
        Command::Entrypoint(line) => {
            let words = command_line(config, line);
            format!("ENTRYPOINT {}", go_list(config.entrypoint.insert(words)))
        }
        Command::Label(pairs) => label(config, &each(pairs, say)?),
        Command::Env(pairs) => env(config, &each(pairs, say)?),
        Command::Expose(ports) => expose(config, ports, scope)?,
        Command::Volume(paths) => volume(config, paths, say)?,
        Command::User(user) => {
            config.user = say(user)?;
            format!("USER {}", config.user)
        }
        Command::StopSignal(signal) => stop_signal(config, &say(signal)?)?,
        Command::Healthcheck(check) => healthcheck(config, check),
        Command::Shell(shell) => {
            format!("SHELL {}", go_list(config.shell.insert(shell.clone())))
        }
        Command::Onbuild(trigger) => {
            config.on_build.get_or_insert_default().push(trigger.clone());
            format!("ONBUILD {trigger}")
        }
        Command::Workdir(path) => {
            config.working_dir = workdir(&config.working_dir, &say(path)?);
            format!("WORKDIR {}", config.working_dir)
        }
        _ => return Ok(None),
    }))
}

/// The shell that this config's shell forms run in.
pub(super) fn shell(config: &ContainerConfig) -> Vec<String> {
    match config.shell.as_deref() {
        Some(shell) if !shell.is_empty() => shell.to_vec(),
        _ => DEFAULT_SHELL.map(String::from).to_vec(),
    }
}

/// The arguments of either form.
pub(super) fn command_line(
    config: &ContainerConfig,
    line: &CommandLine,
) -> Vec<String> {
    match line {
        CommandLine::Exec(words) => words.clone(),
        CommandLine::Shell(text) => {
            let mut words = shell(config);
            words.push(text.clone());
            words
        }
    }
}

/// Expands both sides of every pair: `LABEL "$KEY"=$VALUE` is allowed.
fn each(
    pairs: &[(String, String)],
    say: impl Fn(&str) -> Result<String, String>,
) -> Result<Vec<(String, String)>, String> {
    pairs.iter().map(|(k, v)| Ok((say(k)?, say(v)?))).collect()
}

/// Labels are a map: a later one of the same name wins, one of the base image
/// included.
fn label(config: &mut ContainerConfig, pairs: &[(String, String)]) -> String {
    config.labels.get_or_insert_default().extend(pairs.iter().cloned());
    format!("LABEL {}", joined(pairs))
}

/// All pairs of one line were expanded before any of them was set: in `ENV A=1
/// B=$A`, `B` gets the value that `A` had before.
fn env(config: &mut ContainerConfig, pairs: &[(String, String)]) -> String {
    let env = config.env.get_or_insert_default();
    for (name, value) in pairs {
        set_env(env, name, value);
    }
    format!("ENV {}", joined(pairs))
}

/// Replaces a variable in place, or adds it at the end.
pub(super) fn set_env(env: &mut Vec<String>, name: &str, value: &str) {
    let line = format!("{name}={value}");
    let same = |old: &&mut String| {
        old.split_once('=').map_or(old.as_str(), |(n, _)| n) == name
    };
    match env.iter_mut().find(same) {
        Some(old) => *old = line,
        None => env.push(line),
    }
}

/// Here alone a variable may hold several words: `EXPOSE $PORTS`.
fn expose(
    config: &mut ContainerConfig,
    ports: &[String],
    scope: &Scope,
) -> Result<String, String> {
    let text = ports.join(" ");
    let words = expand_words(&text, scope.escape, &|name| scope.get(name))
        .map_err(|error| error.to_string())?;
    let exposed = config.exposed_ports.get_or_insert_default();
    for word in &words {
        for port in port_range(word)? {
            exposed.insert(port, Empty {});
        }
    }
    Ok(format!("EXPOSE {}", words.join(" ")))
}

/// `80`, `53/udp`, `8000-8010/tcp`: one key per port. Docker accepts what
/// `-p` accepts and forgets the host's side: `127.0.0.1:8080:80`.
fn port_range(text: &str) -> Result<Vec<String>, String> {
    let text = text.rsplit(':').next().unwrap_or(text);
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("Invalid proto: {protocol}"));
    }
    let (low, high) = range.split_once('-').unwrap_or((range, range));
    let bad = |_| format!("Invalid containerPort: {range}");
    let low: u16 = low.parse().map_err(bad)?;
    let high: u16 = high.parse().map_err(bad)?;
    if low > high {
        return Err(format!("Invalid containerPort: {range}"));
    }
    Ok((low..=high).map(|port| format!("{port}/{protocol}")).collect())
}

/// Only noted. The daemon makes an anonymous volume for each path when a
/// container is created.
fn volume(
    config: &mut ContainerConfig,
    paths: &[String],
    say: impl Fn(&str) -> Result<String, String>,
) -> Result<String, String> {
    let paths: Vec<String> =
        paths.iter().map(|path| say(path)).collect::<Result<_, _>>()?;
    if paths.iter().any(|path| path.trim().is_empty()) {
        return Err("VOLUME specified can not be an empty string".into());
    }
    let volumes = config.volumes.get_or_insert_default();
    volumes.extend(paths.iter().map(|path| (path.clone(), Empty {})));
    Ok(format!("VOLUME [{}]", paths.join(" ")))
}

/// A wrong name would be noticed only when a container does not stop.
fn stop_signal(
    config: &mut ContainerConfig,
    signal: &str,
) -> Result<String, String> {
    let name = signal.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let number = signal.parse::<u8>().is_ok_and(|n| (1..=64).contains(&n));
    if !number && !is_signal(name) {
        return Err(format!("Invalid signal: {signal}"));
    }
    config.stop_signal = Some(signal.to_owned());
    Ok(format!("STOPSIGNAL {signal}"))
}

/// Real-time signals are counted from both ends (signal(7)): RTMIN+3.
fn is_signal(name: &str) -> bool {
    name.starts_with("RTMIN")
        || name.starts_with("RTMAX")
        || format!("SIG{name}").parse::<nix::sys::signal::Signal>().is_ok()
}

/// NONE is kept as a check, so that it overrides the base image's.
fn healthcheck(config: &mut ContainerConfig, check: &Health) -> String {
    let found = match check {
        Health::None => Healthcheck {
            test: Some(vec!["NONE".into()]),
            ..Healthcheck::default()
        },
        Health::Check {
            command,
            interval,
            timeout,
            start_period,
            start_interval,
            retries,
        } => Healthcheck {
            test: Some(health_test(command)),
            interval: *interval,
            timeout: *timeout,
            start_period: *start_period,
            start_interval: *start_interval,
            retries: *retries,
        },
    };
    let test = found.test.clone().unwrap_or_default();
    config.healthcheck = Some(found);
    format!("HEALTHCHECK {}", go_list(&test))
}

/// The daemon knows the two forms apart by the first word.
fn health_test(command: &CommandLine) -> Vec<String> {
    match command {
        CommandLine::Shell(text) => vec!["CMD-SHELL".into(), text.clone()],
        CommandLine::Exec(words) => {
            let first = std::iter::once("CMD".to_owned());
            first.chain(words.iter().cloned()).collect()
        }
    }
}

/// A relative WORKDIR goes on from the one before.
pub(super) fn workdir(before: &str, path: &str) -> String {
    let joined = match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("{before}/{path}"),
    };
    format!("/{}", super::ignore::clean(&joined))
}

/// A list of strings as Go's `%q` prints it, which is what histories hold.
pub(super) fn go_list(words: &[String]) -> String {
    let quoted: Vec<String> =
        words.iter().map(|word| format!("{word:?}")).collect();
    format!("[{}]", quoted.join(" "))
}

/// As Docker writes them into the history.
fn joined(pairs: &[(String, String)]) -> String {
    let pairs = pairs.iter().map(|(name, value)| format!("{name}={value}"));
    pairs.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(lines: &[&str]) -> ContainerConfig {
        let mut config = ContainerConfig::default();
        for line in lines {
            change(&mut config, line).unwrap();
        }
        config
    }

    #[test]
    fn each_edit_ends_up_in_the_config() {
        let config = after(&[
            "ENV A=1 B=\"two words\"",
            "ENV A=${A}0 P=$B",
            "EXPOSE 80 ${A}-11/udp",
            "WORKDIR /srv",
            "WORKDIR ../app",
            "SHELL [\"/bin/bash\", \"-c\"]",
            "CMD echo $A",
            "ENTRYPOINT [\"/x\", \"$A\"]",
            "LABEL \"a b\"=$A",
            "VOLUME /data /more",
            "STOPSIGNAL SIGQUIT",
            "HEALTHCHECK --interval=1m CMD curl localhost",
            "ONBUILD RUN x",
            "USER $A",
        ]);
        insta::assert_json_snapshot!(config);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused = |text: &str| {
            change(&mut ContainerConfig::default(), text).unwrap_err()
        };
        assert_eq!(refused("EXPOSE http"), "Invalid containerPort: http");
        assert_eq!(refused("EXPOSE 1/xtp"), "Invalid proto: xtp");
        assert_eq!(refused("STOPSIGNAL SIGFOO"), "Invalid signal: SIGFOO");
        assert_eq!(refused("COPY a b"), "COPY is not a valid change command");
    }
}
