//! The device filter of v2: a program that the kernel runs at every open(2)
//! and mknod(2) of a device node in the group. It gets what is asked for and
//! returns 1 (go on) or 0 (`EPERM`).
//!
//! The program is short enough to be written by hand: for each rule, last
//! one first, a handful of comparisons and an exit. See bpf(2) and
//! `BPF_PROG_TYPE_CGROUP_DEVICE` in `linux/bpf.h`.

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use crate::{DeviceRule, DeviceType, Error};

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_ATTACH: libc::c_long = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
/// A group inside may add filters of its own; all must agree.
const BPF_F_ALLOW_MULTI: u32 = 2;

/// Bits of `access_type`, upper half: what is asked for.
const MKNOD: i32 = 1;
const READ: i32 = 2;
const WRITE: i32 = 4;
/// `access_type`, lower half: the kind of node.
const BLOCK: i32 = 1;
const CHAR: i32 = 2;

/// One instruction, `struct bpf_insn`: destination register in the low four
/// bits of `registers`, source in the high four.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Insn {
    code: u8,
    registers: u8,
    offset: i16,
    value: i32,
}

/// The program's argument (`struct bpf_cgroup_dev_ctx *`) arrives here.
const CTX: u8 = 1;
/// The result leaves here.
const RESULT: u8 = 0;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

/// Opcodes are three fields in a byte: class (load, 32-bit arithmetic or
/// jump), operation, and whether the operand is a register or the value in
/// the instruction. `linux/bpf_common.h` has the tables.
const fn insn(code: u8, to: u8, from: u8, offset: i16, value: i32) -> Insn {
    Insn { code, registers: from << 4 | to, offset, value }
}

/// `to = *(u32 *)(CTX + offset)`
const fn load(to: u8, offset: i16) -> Insn {
    insn(0x61, to, CTX, offset, 0)
}
/// `to &= value`
const fn and(to: u8, value: i32) -> Insn {
    insn(0x54, to, 0, 0, value)
}
/// `to >>= value`
const fn shift(to: u8, value: i32) -> Insn {
    insn(0x74, to, 0, 0, value)
}
/// `to = from`
const fn copy(to: u8, from: u8) -> Insn {
    insn(0xbc, to, from, 0, 0)
}
/// `to = value`
const fn set(to: u8, value: i32) -> Insn {
    insn(0xb4, to, 0, 0, value)
}
/// `if to != value, skip the next instructions`; the distance comes later.
const fn unless(to: u8, value: i32) -> Insn {
    insn(0x56, to, 0, 0, value)
}
/// `if to == value, skip`
const fn when(to: u8, value: i32) -> Insn {
    insn(0x16, to, 0, 0, value)
}
/// `if to != from, skip`
const fn unless_same(to: u8, from: u8) -> Insn {
    insn(0x5e, to, from, 0, 0)
}
const EXIT: Insn = insn(0x95, 0, 0, 0, 0);

/// The program for these rules; what no rule matches is allowed, as in a v1
/// group that nobody wrote to.
fn program(rules: &[DeviceRule]) -> Vec<Insn> {
    let mut code = vec![
        load(KIND, 0),
        copy(ACCESS, KIND),
        and(KIND, 0xffff),
        shift(ACCESS, 16),
        load(MAJOR, 4),
        load(MINOR, 8),
    ];
    for rule in rules.iter().rev() {
        code.extend(block(rule));
        let all = rule.kind == DeviceType::All
            && rule.major.is_none()
            && rule.minor.is_none()
            && mask(rule) == READ | WRITE | MKNOD;
        if all {
            // Matches everything: what comes after cannot be reached, and
            // the kernel refuses programs with dead code.
            return code;
        }
    }
    code.extend([set(RESULT, 1), EXIT]);
    code
}

/// The rule's letters as the bits of `access_type`.
fn mask(rule: &DeviceRule) -> i32 {
    [(rule.read, READ), (rule.write, WRITE), (rule.mknod, MKNOD)]
        .into_iter()
        .filter_map(|(on, bit)| on.then_some(bit))
        .sum()
}

/// Comparisons that skip to the end of the block, then the verdict.
fn block(rule: &DeviceRule) -> Vec<Insn> {
    let mut code = Vec::new();
    match rule.kind {
        DeviceType::All => {}
        DeviceType::Block => code.push(unless(KIND, BLOCK)),
        DeviceType::Char => code.push(unless(KIND, CHAR)),
    }
    if mask(rule) != READ | WRITE | MKNOD {
        code.extend([copy(SCRATCH, ACCESS), and(SCRATCH, mask(rule))]);
        code.push(if rule.allow {
            // It must allow all that is asked for…
            unless_same(SCRATCH, ACCESS)
        } else {
            // …while denying one part of it is enough to deny.
            when(SCRATCH, 0)
        });
    }
    let numbers = [(MAJOR, rule.major), (MINOR, rule.minor)];
    for (register, number) in numbers {
        if let Some(number) = number {
            // Compared as 32 bits, so the sign does not matter.
            code.push(unless(register, number.cast_signed()));
        }
    }
    code.extend([set(RESULT, i32::from(rule.allow)), EXIT]);
    let end = code.len();
    for (at, insn) in code.iter_mut().enumerate() {
        if matches!(insn.code, 0x56 | 0x16 | 0x5e) {
            insn.offset = i16::try_from(end - at - 1).unwrap_or(0);
        }
    }
    code
}

/// Loads the program and ties it to the group. It stays as long as the group
/// does; both descriptors may be closed.
pub(crate) fn attach(dir: &Path, rules: &[DeviceRule]) -> Result<(), Error> {
    let failed = |action| {
        move |source| Error::DeviceFilter {
            action,
            dir: dir.to_owned(),
            source,
        }
    };
    let group = File::open(dir).map_err(|error| Error::read(dir, &error))?;
    let program = load_program(&program(rules)).map_err(failed("load"))?;
    let attr = AttachAttr {
        target: group.as_raw_fd().cast_unsigned(),
        program: program.as_raw_fd().cast_unsigned(),
        kind: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    bpf(BPF_PROG_ATTACH, &attr).map_err(failed("attach"))?;
    Ok(())
}

/// The start of `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
struct LoadAttr {
    kind: u32,
    count: u32,
    program: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
}

/// The start of `union bpf_attr` for `BPF_PROG_ATTACH`.
#[repr(C)]
struct AttachAttr {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// The kernel's verifier follows every path through the program before it
/// takes it: it must end, and read nothing but its argument.
fn load_program(code: &[Insn]) -> Result<OwnedFd, Errno> {
    // Only programs that call GPL-only helpers have to be GPL; ours calls
    // none, and the field must be there anyway.
    let license = c"GPL";
    let attr = LoadAttr {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        count: u32::try_from(code.len()).map_err(|_| Errno::E2BIG)?,
        program: code.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
    };
    let fd = bpf(BPF_PROG_LOAD, &attr)?;
    // SAFETY: on success BPF_PROG_LOAD returns a new descriptor (bpf(2))
    // which nobody else has seen.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// bpf(2). `T` must be the start of the part of `union bpf_attr` that
/// belongs to the command; the kernel takes the rest as zero.
fn bpf<T>(command: libc::c_long, attr: &T) -> Result<i32, Errno> {
    // SAFETY: `attr` is valid for reads of its whole size, which is what the
    // kernel is told. The pointers in a `LoadAttr` are to a slice and a C
    // string that live until the call returns, and the kernel copies both.
    // Neither command writes through any of them (the log is switched off).
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attr),
            size_of::<T>(),
        )
    };
    let fd = Errno::result(result)?;
    i32::try_from(fd).map_err(|_| Errno::EBADF)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::default_devices;

    /// What the kernel would do with our few instructions.
    fn run(code: &[Insn], kind: i32, access: i32, device: (i32, i32)) -> i32 {
        let context = [kind | access << 16, device.0, device.1];
        let mut registers = [0i32; 8];
        let mut at = 0;
        loop {
            let i = code[at];
            let to = usize::from(i.registers & 15);
            let from = registers[usize::from(i.registers >> 4)];
            let mut skip = false;
            match i.code {
                0x61 => {
                    registers[to] =
                        context[usize::try_from(i.offset).unwrap() / 4];
                }
                0x54 => registers[to] &= i.value,
                0x74 => registers[to] >>= i.value,
                0xbc => registers[to] = from,
                0xb4 => registers[to] = i.value,
                0x56 => skip = registers[to] != i.value,
                0x16 => skip = registers[to] == i.value,
                0x5e => skip = registers[to] != from,
                0x95 => return registers[0],
                other => panic!("instruction {other:#x}"),
            }
            at += 1;
            if skip {
                at += usize::try_from(i.offset).unwrap();
            }
        }
    }

    #[test]
    fn the_filter_lets_null_through_and_keeps_disks_closed() {
        let code = program(&default_devices());
        assert_eq!(run(&code, CHAR, READ | WRITE, (1, 3)), 1);
        assert_eq!(run(&code, CHAR, READ, (136, 7)), 1);
        assert_eq!(run(&code, BLOCK, READ, (8, 0)), 0);
        assert_eq!(run(&code, BLOCK, MKNOD, (8, 0)), 1);
        assert_eq!(run(&code, BLOCK, MKNOD | READ, (8, 0)), 0);
    }

    #[test]
    fn the_last_rule_that_matches_counts() {
        let rules =
            [DeviceRule::deny_all(), DeviceRule::parse("b 8:0 r").unwrap()];
        let code = program(&rules);
        assert_eq!(run(&code, BLOCK, READ, (8, 0)), 1);
        assert_eq!(run(&code, BLOCK, WRITE, (8, 0)), 0);
        let mut rules = rules.to_vec();
        rules.reverse();
        assert_eq!(run(&program(&rules), BLOCK, READ, (8, 0)), 0);
    }

    #[test]
    fn without_rules_everything_is_open() {
        assert_eq!(run(&program(&[]), BLOCK, READ, (8, 0)), 1);
    }
}
