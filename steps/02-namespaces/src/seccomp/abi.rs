//! The ways into the kernel: each has system call numbers of its own.
//!
//! An x86-64 kernel also answers programs of 32 bits (`int 0x80`), and a
//! filter that knew only the one table would shut out every `i386` image, or
//! be walked around by the other door. The third table, x32, has the numbers
//! of the first with a bit set; distributions switch it off, and it stays
//! shut here.

#[cfg(target_arch = "x86_64")]
use super::i386;
use super::syscalls;

/// One table of system calls.
#[derive(Debug)]
pub(super) struct Abi {
    /// `AUDIT_ARCH_*` (linux/audit.h): the ELF number with a bit for 64-bit
    /// and one for little endian.
    pub(super) arch: u32,
    calls: Vec<(&'static str, u32)>,
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
        Abi { arch: NATIVE, calls: syscalls::all().collect() }
    }

    /// That of this machine's 32-bit programs.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn compat() -> Option<Abi> {
        Some(Abi { arch: I386, calls: i386::CALLS.to_vec() })
    }

    /// ARM's 32-bit programs are not let in.
    #[cfg(not(target_arch = "x86_64"))]
    pub(super) fn compat() -> Option<Abi> {
        None
    }

    /// The number of the call `name`, if it has it.
    pub(super) fn number(&self, name: &str) -> Option<u32> {
        let found = self.calls().find(|(known, _)| *known == name);
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
        assert_eq!(abi.number("read"), Some(3));
        assert_eq!(abi.number("mseal"), Some(462));
    }
}
