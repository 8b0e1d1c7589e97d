//! `--sysctl`: kernel settings that belong to a namespace.
//!
//! Most of `/proc/sys` is one set of knobs for the whole machine, and a
//! container that turns one turns it for everybody. Some belong to a network
//! or IPC namespace, each of which has a value of its own: these a container
//! may set, if that namespace is its own. There is no way to ask the kernel
//! which is which, so there is a list, here as in Docker.

use std::ffi::CString;

use crate::mounts::c_string;
use crate::sandbox::Sandbox;
use crate::{Error, Namespace};

/// One setting, laid out for a write.
#[derive(Debug)]
pub(crate) struct Sysctl {
    /// Relative to the root: `proc/sys/net/ipv4/ip_forward`.
    pub(crate) path: CString,
    pub(crate) value: String,
    pub(crate) name: String,
}

/// Prepares the settings of `sandbox`.
pub(crate) fn prepare(sandbox: &Sandbox) -> Result<Vec<Sysctl>, Error> {
    let one = |(name, value): (&String, &String)| {
        check(name, sandbox)?;
        let path = format!("proc/sys/{}", name.replace('.', "/"));
        Ok(Sysctl {
            path: c_string(path.as_bytes())?,
            value: value.clone(),
            name: name.clone(),
        })
    };
    sandbox.sysctls.iter().map(one).collect()
}

/// A setting that is not namespaced would change the host.
fn check(name: &str, sandbox: &Sandbox) -> Result<(), Error> {
    const IPC: [&str; 9] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
        "kernel.msg_next_id",
    ];
    let spaces = &sandbox.namespaces;
    let (known, space) = if name.starts_with("net.") {
        (true, &spaces.net)
    } else if name.starts_with("fs.mqueue.") || IPC.contains(&name) {
        (true, &spaces.ipc)
    } else {
        (false, &Namespace::Host)
    };
    if name.contains('/') || name.split('.').any(str::is_empty) {
        return Err(Error::Invalid(format!(
            "sysctl {name:?} is not a name like net.ipv4.ip_forward"
        )));
    }
    match space {
        Namespace::Host if known => Err(Error::Invalid(format!(
            "sysctl {name:?} is not allowed as the container shares that \
             namespace with the host"
        ))),
        Namespace::Host => Err(Error::Invalid(format!(
            "sysctl {name:?} is not in a separate kernel namespace"
        ))),
        _ => Ok(()),
    }
}
