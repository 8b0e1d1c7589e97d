//! Restart policies: whether, and after what pause.

use std::time::Duration;

use super::Container;
use super::record::Record;

/// The first pause.
const FIRST: Duration = Duration::from_millis(100);
/// It doubles up to this.
const LONGEST: Duration = Duration::from_secs(60);
/// Who ran for so long is not in a crash loop: the pause is short again.
const HEALTHY: Duration = Duration::from_secs(10);

/// After an end: the pause before the next start, or `None` for no more.
pub(super) fn again(
    container: &Container,
    exit_code: i32,
    ran: Duration,
) -> Option<Duration> {
    let wanted = container.with(|record| {
        !record.own.stopped_by_hand && policy(record, exit_code)
    });
    wanted.then(|| container.next_pause(ran))
}

/// What the policy says about an end with this code.
pub(super) fn policy(record: &Record, exit_code: i32) -> bool {
    let policy = &record.host_config.restart_policy;
    let most = policy.maximum_retry_count;
    match policy.name.as_str() {
        "always" | "unless-stopped" => true,
        "on-failure" => {
            exit_code != 0 && (most == 0 || record.restart_count < most)
        }
        _ => false,
    }
}

/// Whether a new daemon starts it: the machine may have been rebooted.
pub(super) fn at_boot(record: &Record) -> bool {
    let never_ran = record.state.started_at == super::state::NEVER;
    let by_hand = record.own.stopped_by_hand;
    match record.host_config.restart_policy.name.as_str() {
        "always" => !never_ran,
        "unless-stopped" => !never_ran && !by_hand,
        "on-failure" => {
            !never_ran && !by_hand && policy(record, record.state.exit_code)
        }
        _ => false,
    }
}

/// The pause after `last`, for a process that ran for so long.
pub(super) fn pause(last: Option<Duration>, ran: Duration) -> Duration {
    match last {
        Some(last) if ran < HEALTHY => (last * 2).min(LONGEST),
        _ => FIRST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_a_minute_and_starts_anew_after_a_good_run() {
        let mut last = None;
        let mut pauses = Vec::new();
        for _ in 0..12 {
            let next = pause(last, Duration::from_secs(1));
            pauses.push(next.as_millis());
            last = Some(next);
        }
        assert_eq!(pauses[..4], [100, 200, 400, 800]);
        assert_eq!(pauses[11], 60_000);
        assert_eq!(pause(last, Duration::from_secs(11)), FIRST);
    }
}
