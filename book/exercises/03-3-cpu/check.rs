//! Limits a group, reads back what the kernel understood, and lets a process
//! in it run as much as it can.

use std::time::{Duration, Instant};

use exercises::{
    Dialect, Group, Observation, Verdict, add_self, failed, group, observed,
    wait_until,
};

use super::learner;

pub fn check() -> Verdict {
    let real = group("cpu.max", "cpu.cfs_quota_us");
    let other = real.imitation_of_other(&[]);
    for group in [&other, &real] {
        for (cpus, quota) in [(1.5, 150_000), (0.5, 50_000), (0.05, 5_000)] {
            learner::limit(group.dialect, &group.dir, cpus)
                .map_err(|error| refused(group, cpus, &error))?;
            let (got, period) = numbers(group);
            judge(group, cpus, quota, &got, &period)?;
        }
    }
    spin(&real);
    let stat = real.read("cpu.stat");
    let throttled =
        stat.lines().find_map(|it| it.strip_prefix("nr_throttled "));
    match throttled {
        Some("0") | None => Err(observed(
            "quota",
            "a process with 5 % of a processor was never stopped",
        )),
        Some(times) => Ok(vec![
            "0.5 processors: 50000 of 100000 µs".to_owned(),
            format!(
                "0.05 processors: a process that never sleeps was stopped \
                 {times} times"
            ),
        ]),
    }
}

fn refused(group: &Group, cpus: f64, error: &std::io::Error) -> Observation {
    let what = format!("limit for {:?} and {cpus}", group.dialect);
    let cause = match error.raw_os_error() {
        Some(libc::EINVAL) => "unit",
        _ => "error",
    };
    failed(cause, &what, error)
}

/// Quota and period.
fn numbers(group: &Group) -> (String, String) {
    match group.dialect {
        Dialect::V1 => {
            (group.read("cpu.cfs_quota_us"), group.read("cpu.cfs_period_us"))
        }
        Dialect::V2 => {
            let text = group.read("cpu.max");
            let (quota, period) = text.split_once(' ').unwrap_or((&text, ""));
            (quota.to_owned(), period.to_owned())
        }
    }
}

fn judge(
    group: &Group,
    cpus: f64,
    quota: u32,
    got: &str,
    period: &str,
) -> Result<(), Observation> {
    let text = format!(
        "{:?}, {cpus} processors: the quota is `{got}` in a period of \
         `{period}`; it should be {quota} in 100000",
        group.dialect
    );
    let cause = if got == quota.to_string() && period == "100000" {
        return Ok(());
    } else if got == "100000" && period == quota.to_string() {
        "swapped"
    } else if got.parse::<u32>().is_ok_and(|it| it % 100_000 == 0) {
        "whole"
    } else if got.parse::<u32>().is_ok_and(|it| it < 1000) {
        "unit"
    } else {
        "quota"
    };
    Err(observed(cause, text))
}

fn spin(group: &Group) {
    // SAFETY: a check has one thread.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        add_self(&group.dir);
        loop {
            std::hint::spin_loop();
        }
    }
    // On a busy machine it takes longer until half of a period is used up.
    let deadline = Instant::now() + Duration::from_secs(4);
    while Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(250));
        if !group.read("cpu.stat").contains("nr_throttled 0") {
            break;
        }
    }
    wait_until(pid, Instant::now());
}
