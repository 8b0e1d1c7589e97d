//! A filter in front of the kernel: which system calls are answered.
//!
//! The kernel runs a small program (classic BPF, seccomp(2)) before every
//! system call of the container. Docker's default profile refuses some
//! sixty calls that only a host needs; each is a door that stays shut even
//! for root inside.

mod abi;
mod bpf;
mod default;
#[cfg(target_arch = "x86_64")]
mod i386;
mod profile;
mod syscalls;
#[cfg(target_arch = "x86_64")]
mod x32;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::capabilities::CapSet;
use crate::{Error, mountfd::last_errno};
use abi::Abi;
pub(crate) use bpf::{Table, Verdict};
pub use profile::{Action, Comparison, Condition, Document, Rule, Scope};

/// Which profile a process gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Docker's default, which depends on the capabilities kept.
    DockerDefault,
    /// The user's own: `--security-opt seccomp=FILE`.
    Custom(Box<Document>),
}

/// A profile as the kernel takes it.
#[derive(Debug)]
pub(crate) struct Filter(Vec<bpf::Instruction>);

/// The kernel's limit on a program (`BPF_MAXINSNS`).
const LONGEST: usize = 4096;

impl Profile {
    /// Docker's default.
    pub fn docker_default() -> Profile {
        Profile::DockerDefault
    }

    /// Reads a profile in Docker's JSON format.
    ///
    /// # Errors
    /// serde's message with line and column if `text` is not one.
    pub fn from_json(text: &str) -> Result<Profile, serde_json::Error> {
        serde_json::from_str(text).map(|it| Profile::Custom(Box::new(it)))
    }

    /// The program for a process that holds `caps`.
    pub(crate) fn compile(&self, caps: CapSet) -> Result<Filter, Error> {
        let code = match self {
            Profile::DockerDefault => {
                let abis = [Some(Abi::native_and_x32()), Abi::compat()];
                let tables = abis.iter().flatten();
                let tables = tables.map(|abi| default::table(abi, caps));
                let (unknown, foreign) = (default::ENOSYS, default::ENOSYS);
                let others = bpf::Others { unknown, foreign };
                bpf::program(&tables.collect::<Vec<_>>(), others)
            }
            Profile::Custom(document) => {
                let tables = document.tables(caps)?;
                // What libseccomp does with an instruction set that a profile
                // does not name. Its default action would let in all of
                // `int 0x80` past a list of what is refused.
                let foreign = libc::SECCOMP_RET_KILL_PROCESS;
                let others =
                    bpf::Others { unknown: document.unknown(), foreign };
                bpf::program(&tables, others)
            }
        };
        if code.len() > LONGEST {
            return Err(Error::Invalid(format!(
                "the seccomp profile needs {} instructions and the kernel \
                 takes {LONGEST}: it has too many rules with arguments",
                code.len()
            )));
        }
        Ok(Filter(code))
    }
}

impl Filter {
    /// Child: from here on the kernel asks the filter, for this process and
    /// all that it starts.
    pub(crate) fn install(&self) -> Result<(), Errno> {
        let program = libc::sock_fprog {
            len: u16::try_from(self.0.len()).unwrap_or(u16::MAX),
            filter: self.0.as_ptr().cast_mut(),
        };
        // SAFETY: `program` describes a live list of instructions, which
        // the kernel copies and checks.
        let result = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                0,
                &raw const program,
            )
        };
        if result == 0 { Ok(()) } else { Err(last_errno()) }
    }
}
