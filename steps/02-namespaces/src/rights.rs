//! What the command may do: limits, capabilities, user, filter.
//!
//! The order matters and is easy to get wrong. The bounding set can only be
//! lowered by who holds CAP_SETPCAP; the filter can only be installed by
//! who holds CAP_SYS_ADMIN (or has no_new_privs); changing the user clears
//! what is held. So everything is taken away by somebody who still has it.

use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit as RawLimit, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, Gid, Uid,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set,
    set_capabilities, set_keep_capabilities, set_no_new_privs,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use crate::Error;
use crate::capabilities::{CapSet, NAMES};
use crate::process::{Process, Rlimit};
use crate::seccomp::Filter;
use crate::user::Credentials;
use crate::wire::{Call, During, Fault};

/// The rights of a process, laid out for system calls.
///
/// The sets of capabilities(7), for who meets them here first. *Permitted*:
/// what a process may turn on. *Effective*: what is on. *Inheritable* and
/// *ambient*: what an ordinary user's program starts with. *Bounding*: the
/// most that any program it executes can ever get, set-user-ID or not.
#[derive(Debug)]
pub(crate) struct Rights {
    limits: Vec<(Resource, RawLimit)>,
    pub(crate) limit_names: Vec<Rlimit>,
    pub(crate) who: Credentials,
    groups: Vec<Gid>,
    /// The kernel forbids setgroups(2) in a user namespace that an ordinary
    /// user made without help (user_namespaces(7)).
    pub(crate) may_set_groups: bool,
    kept: CapSet,
    ambient: CapSet,
    /// Highest capability that this kernel knows.
    last: usize,
    no_new_privs: bool,
    filter: Option<Filter>,
}

impl Rights {
    /// `own_user_ns`: root there holds everything, whatever we hold here.
    pub(crate) fn prepare(
        process: &Process,
        who: Credentials,
        own_user_ns: bool,
    ) -> Result<Rights, Error> {
        if !own_user_ns {
            must_hold(process.capabilities)?;
        }
        let filter = match &process.seccomp {
            Some(profile) => Some(profile.compile(process.capabilities)?),
            None => None,
        };
        let raw = |limit: &Rlimit| {
            let value = |it: u64| (it != u64::MAX).then_some(it);
            let raw = RawLimit {
                current: value(limit.soft),
                maximum: value(limit.hard),
            };
            resource(&limit.name).map(|resource| (resource, raw))
        };
        let limits = process.rlimits.iter().map(raw);
        Ok(Rights {
            limits: limits.collect::<Result<_, _>>()?,
            limit_names: process.rlimits.clone(),
            groups: who.groups.iter().map(|&it| Gid::from_raw(it)).collect(),
            who,
            may_set_groups: true,
            kept: process.capabilities,
            ambient: process.ambient.intersection(process.capabilities),
            last: last_capability(),
            no_new_privs: process.no_new_privs,
            filter,
        })
    }

    /// Rlimits: setrlimit(2) for each. Lowering is free; raising a hard
    /// limit needs CAP_SYS_RESOURCE over the *host*, which an engine in a
    /// container does not have.
    pub(crate) fn limit(&self) -> Result<(), Fault> {
        for (item, (resource, limit)) in self.limits.iter().enumerate() {
            setrlimit(*resource, *limit).during(Call::SetRlimit, item)?;
        }
        Ok(())
    }

    /// Bounding set: each capability that is not granted is taken out for
    /// good. Without this, a set-user-ID root program in the image would
    /// bring back all of them.
    pub(crate) fn drop_bounding(&self) -> Result<(), Fault> {
        for bit in 0..=self.last {
            let one = CapabilitySet::from_bits_retain(1 << bit);
            if self.kept.bits() & one.bits() == 0 {
                remove_capability_from_bounding_set(one)
                    .during(Call::DropBounding, bit)?;
            }
        }
        Ok(())
    }

    /// Seccomp, while CAP_SYS_ADMIN is still held.
    pub(crate) fn filter_early(&self) -> Result<(), Fault> {
        if self.no_new_privs {
            set_no_new_privs(true).during(Call::NoNewPrivs, 0)?;
            return Ok(());
        }
        self.install()
    }

    /// Seccomp with no_new_privs: needs no right, so it can be last, and
    /// the filter may forbid even what the set-up needs.
    pub(crate) fn filter_late(&self) -> Result<(), Fault> {
        if self.no_new_privs { self.install() } else { Ok(()) }
    }

    fn install(&self) -> Result<(), Fault> {
        match &self.filter {
            Some(filter) => filter.install().during(Call::Seccomp, 0),
            None => Ok(()),
        }
    }

    /// User. The groups come first, while there is still the right to set
    /// them: a program that forgets them keeps root's groups under another
    /// user's name. Then the group and last the user, all three IDs of each
    /// (real, effective, saved), or the process could change back.
    ///
    /// The calls are the raw ones. glibc's setuid(3) makes all threads
    /// change together and waits for them, and here there are none.
    ///
    /// The permitted capabilities are kept over the change; the next
    /// step decides which remain.
    pub(crate) fn become_user(&self) -> Result<(), Fault> {
        let uid = Uid::from_raw(self.who.uid);
        let gid = Gid::from_raw(self.who.gid);
        set_keep_capabilities(true).during(Call::KeepCaps, 0)?;
        if self.may_set_groups {
            set_thread_groups(&self.groups).during(Call::SetGroups, 0)?;
        }
        set_thread_res_gid(gid, gid, gid).during(Call::SetGid, 0)?;
        set_thread_res_uid(uid, uid, uid).during(Call::SetUid, 0)?;
        set_keep_capabilities(false).during(Call::KeepCaps, 0)
    }

    /// Capabilities: what was kept over the change of user is cut down to
    /// what is granted. For an ordinary user the kernel clears the rest at
    /// the execve, unless the ambient set says that it shall stay.
    pub(crate) fn keep_capabilities(&self) -> Result<(), Fault> {
        let kept = CapabilitySet::from_bits_retain(self.kept.bits());
        let ambient = CapabilitySet::from_bits_retain(self.ambient.bits());
        let sets = CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: ambient,
        };
        set_capabilities(None, sets).during(Call::SetCaps, 0)?;
        for bit in 0..=self.last {
            let one = CapabilitySet::from_bits_retain(1 << bit);
            if ambient.contains(one) {
                configure_capability_in_ambient_set(one, true)
                    .during(Call::Ambient, bit)?;
            }
        }
        Ok(())
    }
}

/// Nobody can give what he does not have. Docker fails here, too, only
/// later and with fewer words.
fn must_hold(asked: CapSet) -> Result<(), Error> {
    let mut missing = asked;
    missing.remove(CapSet::held());
    if missing == CapSet::EMPTY {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "cannot grant {}: the engine does not hold it itself, so it runs \
         confined; ask for less (--cap-drop) or give it to the engine",
        missing.names().join(", ")
    )))
}

/// Newer kernels know more capabilities than this crate, and older fewer.
fn last_capability() -> usize {
    let path = Path::new("/proc/sys/kernel/cap_last_cap");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.trim().parse().unwrap_or(NAMES.len() - 1).min(63)
}

/// The limit that `--ulimit NAME` means; setrlimit(2) says what each is.
fn resource(name: &str) -> Result<Resource, Error> {
    Ok(match name.to_ascii_lowercase().trim_start_matches("rlimit_") {
        "as" => Resource::As,
        "core" => Resource::Core,
        "cpu" => Resource::Cpu,
        "data" => Resource::Data,
        "fsize" => Resource::Fsize,
        "locks" => Resource::Locks,
        "memlock" => Resource::Memlock,
        "msgqueue" => Resource::Msgqueue,
        "nice" => Resource::Nice,
        "nofile" => Resource::Nofile,
        "nproc" => Resource::Nproc,
        "rss" => Resource::Rss,
        "rtprio" => Resource::Rtprio,
        "rttime" => Resource::Rttime,
        "sigpending" => Resource::Sigpending,
        "stack" => Resource::Stack,
        _ => {
            return Err(Error::Invalid(format!("invalid ulimit type: {name}")));
        }
    })
}

/// For errors: why a limit was refused.
pub(crate) fn limit_hint(limit: &Rlimit, errno: Errno) -> String {
    if errno != Errno::PERM {
        return String::new();
    }
    let now = resource(&limit.name).map(rustix::process::getrlimit);
    let hard = now.ok().and_then(|now| now.maximum);
    let hard = hard.map_or_else(|| "unlimited".to_owned(), |it| it.to_string());
    format!(
        "; the hard limit here is {hard}, and only CAP_SYS_RESOURCE may \
         raise it: ask for --ulimit {}={hard} or less",
        limit.name
    )
}
