//! Signals by the words people use: `TERM`, `SIGTERM`, `15`, `RTMIN+3`.

use nix::sys::signal::Signal;

use crate::engine::error::{Error, Result};

/// The number of a signal.
///
/// # Errors
/// [`Error::Invalid`] in Docker's words.
pub(super) fn parse(text: &str) -> Result<i32> {
    let bad = || Error::Invalid(format!("Invalid signal: {text}"));
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=64).contains(&number) {
            Ok(number)
        } else {
            Err(bad())
        };
    }
    let upper = text.to_ascii_uppercase();
    let short = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(number) = real_time(short) {
        return Ok(number);
    }
    let name = match short {
        "CLD" => "CHLD",
        "POLL" => "IO",
        other => other,
    };
    format!("SIG{name}")
        .parse::<Signal>()
        .map(|signal| signal as i32)
        .map_err(|_| bad())
}

/// Real-time signals have numbers, not names; `RTMIN+3` is what systemd
/// wants to be stopped with.
fn real_time(name: &str) -> Option<i32> {
    let number = |rest: &str, sign: char| {
        if rest.is_empty() {
            return Some(0);
        }
        rest.strip_prefix(sign)?.parse::<i32>().ok()
    };
    if let Some(rest) = name.strip_prefix("RTMIN") {
        // 34, not the kernel's 32: the C library keeps two for itself.
        let found = 34 + number(rest, '+')?;
        return (found <= 64).then_some(found);
    }
    let found = 64 - number(name.strip_prefix("RTMAX")?, '-')?;
    (found >= 34).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn all_the_ways_to_say_it() {
        for (text, number) in [
            ("TERM", 15),
            ("SIGTERM", 15),
            ("sigterm", 15),
            ("9", 9),
            ("WINCH", 28),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
        ] {
            assert_eq!(parse(text).unwrap(), number, "{text}");
        }
    }

    #[test]
    fn what_is_no_signal_is_refused_in_dockers_words() {
        for text in ["", "0", "65", "SIGNOPE", "RTMIN+31", "-1"] {
            let error = parse(text).unwrap_err().to_string();
            assert_eq!(error, format!("Invalid signal: {text}"));
        }
    }
}
