//! Telling a process from a later one that was given the same PID.

/// When `pid` was started, in clock ticks after boot: field 22 of
/// proc_pid_stat(5). `None` if there is no such process or it is a zombie,
/// which is a process no more.
pub fn start_ticks(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse(&stat)
}

/// The command's name comes second, in parentheses, and may itself hold
/// spaces and parentheses; so the fields are counted from the last one.
fn parse(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_command_cannot_fool_the_parser() {
        let stat = "42 (a) R 1 (b)) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 \
                    20 0 1 0 98765 0 0";
        assert_eq!(parse(stat), Some(98765));
    }

    #[test]
    fn we_are_alive_and_pid_0_is_not() {
        let own = std::process::id().cast_signed();
        assert!(start_ticks(own).is_some());
        assert_eq!(start_ticks(0), None);
    }
}
