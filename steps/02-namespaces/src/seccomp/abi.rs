//! The ways into the kernel: each has system call numbers of its own.
//!
//! An x86-64 kernel also answers programs of 32 bits (`int 0x80`), and a
//! filter that knew only the one table would shut out every `i386` image, or
//! be walked around by the other door. A third kind of program, x32, comes
//! through the first door with a bit set in its numbers. Most kernels are
//! built without it and answer ENOSYS to what the filter lets through.

use super::syscalls;
#[cfg(target_arch = "x86_64")]
use super::{i386, x32};

/// One table of system calls.
#[derive(Debug)]
pub(super) struct Abi {
    /// `AUDIT_ARCH_*` (linux/audit.h): the ELF number with a bit for 64-bit
    /// and one for little endian.
    pub(super) arch: u32,
    calls: Vec<(&'static str, u32)>,
    /// From this number on they are those of a kind of program that is not
    /// let in.
    pub(super) shut_from: Option<u32>,
}

#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xc000_00b7;
/// Of 32-bit programs on x86-64.
#[cfg(target_arch = "x86_64")]
const I386: u32 = 0x4000_0003;

impl Abi {
    /// That of this machine.
    pub(super) fn native() -> Abi {
        Abi {
            arch: NATIVE,
            calls: syscalls::all().collect(),
            #[cfg(target_arch = "x86_64")]
            shut_from: Some(x32::BIT),
            #[cfg(not(target_arch = "x86_64"))]
            shut_from: None,
        }
    }

    /// The same door with x32 programs let in, if this machine has them.
    pub(super) fn native_and_x32() -> Abi {
        let mut abi = Abi::native();
        #[cfg(target_arch = "x86_64")]
        abi.calls.extend(x32::calls());
        abi.shut_from = None;
        abi
    }

    /// That of this machine's 32-bit programs.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn compat() -> Option<Abi> {
        let calls = i386::CALLS.to_vec();
        Some(Abi { arch: I386, calls, shut_from: None })
    }

    /// ARM's 32-bit programs are not let in.
    #[cfg(not(target_arch = "x86_64"))]
    pub(super) fn compat() -> Option<Abi> {
        None
    }

    /// The numbers of the call `name`: none if it has no such call, two if
    /// two kinds of programs come through this door.
    pub(super) fn numbers(&self, name: &str) -> impl Iterator<Item = u32> {
        let found = self.calls().filter(move |(known, _)| *known == name);
        found.map(|(_, number)| number)
    }

    /// All names and numbers.
    pub(super) fn calls(&self) -> impl Iterator<Item = (&'static str, u32)> {
        self.calls.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_of_a_32_bit_program_appears_twice() {
        let Some(abi) = Abi::compat() else { return };
        let mut numbers: Vec<_> = abi.calls().map(|(_, it)| it).collect();
        let count = numbers.len();
        assert!(count > 350, "{count}");
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), count);
        assert_eq!(abi.numbers("read").collect::<Vec<_>>(), [3]);
        assert_eq!(abi.numbers("mseal").collect::<Vec<_>>(), [462]);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn an_x32_program_has_numbers_of_its_own_for_some_calls() {
        let abi = Abi::native_and_x32();
        let numbers = |name| abi.numbers(name).collect::<Vec<_>>();
        assert_eq!(numbers("getpid"), [39, x32::BIT | 39]);
        assert_eq!(numbers("ioctl"), [16, x32::BIT | 514]);
        assert_eq!(numbers("set_thread_area"), [205]);
        let mut all: Vec<_> = abi.calls().map(|(_, it)| it).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count, "a number appears twice");
    }
}
