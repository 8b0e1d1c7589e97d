//! Times and sizes as Docker's tables say them.
//!
//! People compare our output with the docker command's, and scripts cut it
//! apart. So the words are the same, down to the rounding.

use std::time::Duration;

/// `5 seconds`, `About a minute`, `3 hours`, `2 weeks`: one unit, rounded
/// down, as Docker does.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    let minutes = seconds / 60;
    let hours = (time.as_secs_f64() / 3600.0).round() as u64;
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", hours / 24 / 365),
    }
}

/// [`duration`] since `past`; clocks that were set back count as now.
pub fn since(past: jiff::Timestamp) -> String {
    let passed = jiff::Timestamp::now().duration_since(past);
    duration(Duration::try_from(passed).unwrap_or_default())
}

/// `1.23kB`, `187MB`: powers of 1000, so many significant digits.
pub fn size(bytes: f64, digits: usize) -> String {
    scaled(bytes, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB"], digits)
}

/// `1.5MiB`, `512KiB`: powers of 1024, four significant digits, for memory.
pub fn memory(bytes: f64) -> String {
    scaled(bytes, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB"], 4)
}

/// Divides until the number is below `base`, and names the unit.
fn scaled(value: f64, base: f64, units: &[&str], digits: usize) -> String {
    // A sum of nothing is −0, and + 0 makes it 0.
    let mut value = value + 0.0;
    let mut unit = 0;
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    format!("{}{}", significant(value, digits), units[unit])
}

/// As C's `%.{digits}g`: no more digits than that, and no zeros at the end.
fn significant(value: f64, digits: usize) -> String {
    let before = match value.abs() {
        it if it < 1.0 => 1,
        it => it.log10().floor() as usize + 1,
    };
    let text = format!("{value:.*}", digits.saturating_sub(before));
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_said_as_docker_says_them() {
        let say = |seconds| duration(Duration::from_secs(seconds));
        let all = [0, 1, 59, 60, 119, 120, 3599, 3600, 7200, 172_800];
        let more = [1_209_600, 5_184_000, 63_072_000, 94_608_000];
        let said: Vec<_> = all.into_iter().chain(more).map(say).collect();
        insta::assert_snapshot!(said.join("\n"));
    }

    #[test]
    fn sizes_have_so_many_digits_as_docker_gives_them() {
        assert_eq!(size(-0.0, 3), "0B");
        assert_eq!(size(1234.0, 3), "1.23kB");
        assert_eq!(size(187_000_000.0, 3), "187MB");
        assert_eq!(size(1_990_000_000.0, 4), "1.99GB");
        assert_eq!(memory(1_572_864.0), "1.5MiB");
        assert_eq!(memory(0.0), "0B");
    }
}
