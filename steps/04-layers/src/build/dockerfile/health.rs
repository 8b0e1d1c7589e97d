//! `HEALTHCHECK` and Go's durations, which Docker uses everywhere.

use super::error::SyntaxError;
use super::instruction::{CommandLine, Health};
use super::parse::Line;
use super::words;

/// Docker's names; each but the last is a duration.
const FLAGS: [&str; 5] =
    ["interval", "timeout", "start-period", "start-interval", "retries"];

/// `HEALTHCHECK NONE` and `HEALTHCHECK CMD …` share the instruction's word and
/// nothing else: the one forgets what the base image checks, the other
/// replaces it.
pub(super) fn parse(line: &Line<'_>) -> Result<Health, SyntaxError> {
    line.known_flags(&FLAGS)?;
    let text = line.text();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let rest = text[end..].trim();
    match text[..end].to_ascii_uppercase().as_str() {
        "" => Err(line.error("HEALTHCHECK requires at least one argument")),
        "NONE" if rest.is_empty() => Ok(Health::None),
        "NONE" => Err(line.error("HEALTHCHECK NONE takes no arguments")),
        "CMD" if rest.is_empty() => {
            Err(line.error("Missing command after HEALTHCHECK CMD"))
        }
        "CMD" => check(line, rest),
        other => Err(line
            .error(format!("Unknown type {other:?} in HEALTHCHECK (try CMD)"))),
    }
}

/// The two forms of the command differ later: a shell line becomes `CMD-
/// SHELL`, because only the daemon that runs the check knows the image's
/// shell.
fn check(line: &Line<'_>, command: &str) -> Result<Health, SyntaxError> {
    let list = words::json_list(command).map_err(|m| line.error(m))?;
    let command = match list {
        Some(list) => CommandLine::Exec(list),
        None => CommandLine::Shell(command.to_owned()),
    };
    let retries = match line.flag("retries")? {
        None => 0,
        Some(text) => match text.parse::<i64>() {
            Ok(count) if count >= 0 => count,
            _ => {
                let message = format!(
                    "--retries must be a whole number, zero or more, not \
                     {text:?}"
                );
                return Err(line.flag_error("retries", message));
            }
        },
    };
    Ok(Health::Check {
        command,
        interval: duration(line, "interval")?,
        timeout: duration(line, "timeout")?,
        start_period: duration(line, "start-period")?,
        start_interval: duration(line, "start-interval")?,
        retries,
    })
}

/// Docker refuses anything below a millisecond: a check that often would be a
/// load of its own. Zero stands for "not given".
fn duration(line: &Line<'_>, name: &str) -> Result<i64, SyntaxError> {
    let Some(text) = line.flag(name)? else { return Ok(0) };
    let Some(nanos) = go_duration(&text) else {
        let message = format!("invalid duration {text:?}");
        return Err(line.flag_error(name, message));
    };
    if nanos != 0 && nanos < 1_000_000 {
        let message = format!("Interval \"--{name}\" cannot be less than 1ms");
        return Err(line.flag_error(name, message));
    }
    Ok(nanos)
}

/// `1h30m`, `500ms`, `1.5s`: nanoseconds, or `None` if it is none.
pub(super) fn go_duration(text: &str) -> Option<i64> {
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut total = 0.0_f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit());
        let (unit, after) = rest.split_at(end.unwrap_or(rest.len()));
        let nanos = match unit {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += number * nanos;
        rest = after;
    }
    let whole = !text.is_empty() && total < i64::MAX as f64;
    whole.then_some(total as i64)
}
