//! Access to device nodes. On v1 it is a controller with files. v2 has no
//! files for it: a small program (BPF) is asked instead, see `devices_bpf`.
//!
//! Kernel: `cgroup-v1/devices.rst`, `cgroup-v2.rst` "Device controller".

use super::{Dir, devices_bpf};
use crate::{Error, Limits, file};

pub(crate) fn asked(limits: &Limits) -> Option<&'static str> {
    limits.devices.as_ref().map(|_| "the device list (--device)")
}

pub(crate) fn apply(dir: Dir<'_>, limits: &Limits) -> Result<(), Error> {
    let Some(rules) = &limits.devices else { return Ok(()) };
    match dir {
        Dir::V1(dir) => {
            for rule in rules {
                let name =
                    if rule.allow { "devices.allow" } else { "devices.deny" };
                file::write(&dir.join(name), rule)?;
            }
            Ok(())
        }
        Dir::V2(dir) => devices_bpf::attach(dir, rules),
    }
}
