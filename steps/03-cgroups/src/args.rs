//! The flags of `run` that this step adds, as Docker spells them.
//!
//! What a person types becomes a number here, once: the daemon, the API and
//! the kernel's files only ever see bytes and billionths of a CPU.

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::Limits;

/// What `run` and `update` take.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
pub struct LimitArgs {
    /// Memory limit, as in 100m or 2g
    #[arg(short, long, value_name = "BYTES", value_parser = memory)]
    pub memory: Option<u64>,
    /// Memory and swap together; -1 for unlimited swap
    #[arg(
        long,
        value_name = "BYTES",
        value_parser = swap,
        allow_negative_numbers = true
    )]
    pub memory_swap: Option<i64>,
    /// Number of CPUs, as in 0.5
    #[arg(long, value_name = "DECIMAL", value_parser = nano_cpus)]
    pub cpus: Option<u64>,
    /// CPU weight against others, usual value 1024
    #[arg(short, long, value_name = "WEIGHT")]
    pub cpu_shares: Option<u64>,
    /// CPUs that may be used, as in 0-3 or 0,1
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<String>,
    /// How many processes and threads there may be; -1 for unlimited
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub pids_limit: Option<i64>,
}

impl LimitArgs {
    /// The limits that the flags ask for.
    pub fn limits(&self) -> Limits {
        Limits {
            memory: self.memory,
            memory_swap: self.memory_swap,
            nano_cpus: self.cpus,
            cpu_shares: self.cpu_shares,
            cpuset_cpus: self.cpuset_cpus.clone(),
            pids: self.pids_limit,
            ..Limits::default()
        }
    }
}

/// A size as Docker takes it: a number, then `b`, `k`, `m`, `g`, `t` or `p`,
/// of 1024 each, with `b` or `ib` behind it if one likes. `None` for
/// anything else, a negative number included.
pub fn parse_bytes(text: &str) -> Option<i64> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    let power = match unit.trim_start() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return None,
    };
    let number: f64 = number.parse().ok()?;
    let value = number * 1024f64.powi(power);
    #[allow(clippy::cast_possible_truncation, reason = "checked")]
    (value < 9e18).then_some(value as i64)
}

/// clap shows the text of such an error with the flag it belongs to.
fn memory(text: &str) -> Result<u64, String> {
    parse_bytes(text)
        .and_then(|bytes| u64::try_from(bytes).ok())
        .ok_or_else(|| format!("invalid size: '{text}'"))
}

/// −1 is a word of its own: any amount of swap.
fn swap(text: &str) -> Result<i64, String> {
    match text {
        "-1" => Ok(-1),
        text => {
            parse_bytes(text).ok_or_else(|| format!("invalid size: '{text}'"))
        }
    }
}

/// Decimal digits, not floating point: 0.1 of a CPU is 100 000 000 exactly.
fn nano_cpus(text: &str) -> Result<u64, String> {
    let invalid = || format!("failed to parse {text} as a rational number");
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 9 {
        return Err("value is too precise".to_owned());
    }
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && part.is_empty()) || !digits(part) {
        return Err(invalid());
    }
    let whole: u64 = match whole {
        "" => 0,
        whole if digits(whole) => whole.parse().map_err(|_| invalid())?,
        _ => return Err(invalid()),
    };
    let part: u64 = format!("{part:0<9}").parse().map_err(|_| invalid())?;
    whole
        .checked_mul(1_000_000_000)
        .and_then(|nano| nano.checked_add(part))
        .ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_in_units_of_1024() {
        assert_eq!(parse_bytes("64m"), Some(64 << 20));
        assert_eq!(parse_bytes("1.5k"), Some(1536));
        assert_eq!(parse_bytes("1GiB"), Some(1 << 30));
        assert_eq!(parse_bytes("7"), Some(7));
        assert_eq!(parse_bytes("7b"), Some(7));
        for bad in ["", "m", "7x", "-1", "1ib", "1e3", "9999999999g", "1.2.3"] {
            assert_eq!(parse_bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn parts_of_a_cpu_are_exact() {
        assert_eq!(nano_cpus("0.1"), Ok(100_000_000));
        assert_eq!(nano_cpus(".5"), Ok(500_000_000));
        assert_eq!(nano_cpus("2"), Ok(2_000_000_000));
        for bad in ["", ".", "-1", "1.x", "0.0000000001", "1e3"] {
            assert!(nano_cpus(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(text in ".{0,20}") {
            let _ = (parse_bytes(&text), nano_cpus(&text), swap(&text));
        }

        #[test]
        fn every_number_of_nano_cpus_can_be_written(nano in 0u64..1 << 40) {
            let (whole, part) = (nano / 1_000_000_000, nano % 1_000_000_000);
            let text = format!("{whole}.{part:09}");
            prop_assert_eq!(nano_cpus(&text), Ok(nano));
        }
    }
}
