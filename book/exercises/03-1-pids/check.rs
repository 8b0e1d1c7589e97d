//! Enters the group in a forked process and starts more processes than it
//! may have. `pids.max` has the same name in both dialects.

use std::process::{Child, Command};

use exercises::{Group, Verdict, failed, forked, group, observed};

use super::learner;

const MOST: u32 = 5;

pub fn check() -> Verdict {
    let group = group("pids.max", "pids.max");
    forked(|| inside(&group))
}

fn inside(group: &Group) -> Verdict {
    learner::enter(&group.dir, MOST)
        .map_err(|error| failed("error", "enter", &error))?;
    let max = group.read("pids.max");
    if max != MOST.to_string() {
        return Err(observed(
            "limit",
            format!("pids.max of the group is `{max}`, not {MOST}"),
        ));
    }
    let me = std::process::id().to_string();
    let members = group.read("cgroup.procs");
    if !members.lines().any(|line| line == me) {
        return Err(observed(
            "outside",
            format!(
                "cgroup.procs of the group lists {members:?}; the caller is \
                 {me}"
            ),
        ));
    }
    let (children, error) = bomb();
    let count = children.len();
    for mut child in children {
        let _ = child.kill();
        let _ = child.wait();
    }
    let error = error.ok_or_else(|| {
        observed("limit", format!("{count} processes could be started"))
    })?;
    Ok(vec![
        format!("after {count} children the next fork said: {error}"),
        format!("pids.max {max}, of which the caller is one"),
    ])
}

fn bomb() -> (Vec<Child>, Option<std::io::Error>) {
    let mut children = Vec::new();
    for _ in 0..20 {
        match Command::new("sleep").arg("10").spawn() {
            Ok(child) => children.push(child),
            Err(error) => return (children, Some(error)),
        }
    }
    (children, None)
}
