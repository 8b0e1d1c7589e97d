//! Sets the limit on a real group and lets a process in it take more; reads
//! the files of the other dialect.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use exercises::{
    Dialect, Group, Observation, Verdict, add_self, failed, group, observed,
    wait_until,
};

use super::learner;

const MEMORY: u64 = 16 << 20;
const SWAP: u64 = 24 << 20;

pub fn check() -> Verdict {
    let real = group("memory.max", "memory.limit_in_bytes");
    let other = real.imitation_of_other(&[]);
    for group in [&real, &other] {
        let result = learner::limit(group.dialect, &group.dir, MEMORY, SWAP);
        if swap_is_counted(group) {
            result.map_err(|error| refused(group, &error))?;
        }
        files(group)?;
    }
    let pid = glutton(&real);
    let status = wait_until(pid, Instant::now() + Duration::from_secs(5));
    let signal = status.and_then(|it| it.signal());
    if signal != Some(libc::SIGKILL) {
        return Err(observed(
            "memory",
            format!("a process in the group took 64 MiB; its end: {status:?}"),
        ));
    }
    Ok(vec![
        "a process in the group wanted 64 MiB and got SIGKILL".to_owned(),
        format!(
            "that was the kernel's {:?}; for the other dialect the files \
             are right",
            real.dialect
        ),
    ])
}

fn refused(group: &Group, error: &std::io::Error) -> Observation {
    let cause = match error.raw_os_error() {
        Some(libc::EINVAL | libc::EBUSY) => "order",
        _ => "error",
    };
    failed(cause, &format!("limit for {:?}", group.dialect), error)
}

fn files(group: &Group) -> Result<(), Observation> {
    let (memory, swap, wanted) = match group.dialect {
        Dialect::V2 => ("memory.max", "memory.swap.max", SWAP - MEMORY),
        Dialect::V1 => {
            ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", SWAP)
        }
    };
    let is = |file: &str, wanted: u64| {
        let has = group.read(file);
        match has == wanted.to_string() {
            true => Ok(()),
            false => Err(format!(
                "{:?}: {file} is `{has}`, not {wanted}",
                group.dialect
            )),
        }
    };
    is(memory, MEMORY).map_err(|text| observed("memory", text))?;
    if swap_is_counted(group) {
        is(swap, wanted).map_err(|text| observed("swap", text))?;
    }
    Ok(())
}

/// A kernel without swap accounting has no files for it; the imitation gets
/// whatever the learner writes.
fn swap_is_counted(group: &Group) -> bool {
    let real = group.dir.join("cgroup.procs").exists();
    let files = ["memory.swap.max", "memory.memsw.limit_in_bytes"];
    !real || files.iter().any(|file| group.dir.join(file).exists())
}

/// A process in the group that touches more memory than it may.
fn glutton(group: &Group) -> i32 {
    // SAFETY: a check has one thread.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        add_self(&group.dir);
        let mut memory = vec![0_u8; 64 << 20];
        for page in memory.chunks_mut(4096) {
            page[0] = 1;
        }
        std::hint::black_box(&memory);
        // SAFETY: _exit has no preconditions.
        unsafe { libc::_exit(0) }
    }
    pid
}
