//! Sizes and lengths of time as Docker's flags take them.

/// `64m`, `1.5g`, `512`: bytes.
///
/// # Errors
/// Docker's words.
pub(crate) fn bytes(text: &str) -> Result<i64, String> {
    cgroups::parse_bytes(text).ok_or_else(|| format!("invalid size: '{text}'"))
}

/// As [`bytes`], or −1 for no limit.
pub(crate) fn bytes_or_unlimited(text: &str) -> Result<i64, String> {
    if text == "-1" { Ok(-1) } else { bytes(text) }
}

/// `1m30s`, `500ms`: nanoseconds.
///
/// # Errors
/// Go's words, which Docker shows.
pub(crate) fn nanoseconds(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    if text == "0" {
        return Ok(0);
    }
    let mut rest = text;
    let mut total = 0.0_f64;
    while !rest.is_empty() {
        let digits = rest
            .find(|it: char| !(it.is_ascii_digit() || it == '.'))
            .ok_or_else(|| {
                format!("time: missing unit in duration {text:?}")
            })?;
        let number: f64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let end = rest.find(|it: char| it.is_ascii_digit());
        let (unit, left) = rest.split_at(end.unwrap_or(rest.len()));
        total += number
            * match unit {
                "ns" => 1.0,
                "us" | "µs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                _ => return Err(invalid()),
            };
        rest = left;
    }
    // Longer than 292 years does not fit, and means nothing.
    if text.is_empty() || total > i64::MAX as f64 {
        return Err(invalid());
    }
    Ok(total as i64)
}

/// `1.5` CPUs in billionths; digit by digit, so that 0.1 is exact.
///
/// # Errors
/// Docker's words.
pub(crate) fn nano_cpus(text: &str) -> Result<i64, String> {
    let invalid = || format!("failed to parse {text} as a rational number");
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |it: &str| it.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + part.len() == 0 || !digits(whole) || !digits(part) {
        return Err(invalid());
    }
    if part.len() > 9 {
        return Err("value is too precise".to_owned());
    }
    let text = format!("{whole}{part:0<9}");
    text.parse().map_err(|_| invalid())
}

/// What `--since` and `--until` take: a time, or a length of time that is
/// subtracted from now. Sent as Unix time, as the docker command does.
///
/// # Errors
/// Docker's words.
pub(crate) fn moment(text: &str) -> Result<String, String> {
    if text != "0"
        && let Ok(ago) = nanoseconds(text)
    {
        let now = jiff::Timestamp::now().as_nanosecond();
        let then = now - i128::from(ago);
        return Ok(unix(then));
    }
    if text.parse::<f64>().is_ok() {
        return Ok(text.to_owned());
    }
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(unix(time.as_nanosecond()));
    }
    // Without a zone the time is that of the place where it is typed.
    let local = text
        .parse::<jiff::civil::DateTime>()
        .ok()
        .and_then(|it| jiff::tz::TimeZone::system().to_timestamp(it).ok());
    match local {
        Some(time) => Ok(unix(time.as_nanosecond())),
        None => {
            Err(format!("failed to parse value as time or duration: {text:?}"))
        }
    }
}

fn unix(nanoseconds: i128) -> String {
    let second = nanoseconds.div_euclid(1_000_000_000);
    let rest = nanoseconds.rem_euclid(1_000_000_000);
    format!("{second}.{rest:09}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn docker_s_examples_are_understood() {
        assert_eq!(nanoseconds("1m30s"), Ok(90_000_000_000));
        assert_eq!(nanoseconds("500ms"), Ok(500_000_000));
        assert_eq!(nanoseconds("1.5h"), Ok(5_400_000_000_000));
        assert!(nanoseconds("10").unwrap_err().contains("missing unit"));
        assert!(nanoseconds("").is_err());
        assert_eq!(nano_cpus("0.1"), Ok(100_000_000));
        assert_eq!(nano_cpus("2"), Ok(2_000_000_000));
        assert!(nano_cpus("1.0000000001").is_err());
        assert!(nano_cpus("x").is_err());
        assert_eq!(bytes("64m"), Ok(64 << 20));
        assert_eq!(bytes_or_unlimited("-1"), Ok(-1));
        assert_eq!(moment("1970-01-02T00:00:00Z").unwrap(), "86400.000000000");
    }

    proptest! {
        #[test]
        fn whole_durations_are_exact(minutes in 0_i64..10_000, s in 0_i64..60) {
            let text = format!("{minutes}m{s}s");
            let want = (minutes * 60 + s) * 1_000_000_000;
            prop_assert_eq!(nanoseconds(&text), Ok(want));
        }

        #[test]
        fn no_text_makes_us_panic(text in ".{0,20}") {
            let _ = nanoseconds(&text);
            let _ = nano_cpus(&text);
            let _ = moment(&text);
        }
    }
}
