//! Programs of x32, who come through the door of 64-bit programs with a bit
//! set in their numbers. Most kernels are built without x32, and what a
//! filter lets through fails there with ENOSYS; what it refuses does not.
#![cfg(target_arch = "x86_64")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use common::{Root, is_root, run, sh};
use namespaces::seccomp::Profile;

const X32: u32 = 0x4000_0000;
const KEYCTL: u32 = X32 | 250;
const CLOSE: u32 = X32 | 3;
/// What a tracer makes of a call that is to be skipped.
const SKIP: u32 = u32::MAX;

/// An ELF64 program without a libc: makes one call with 9999 as its first
/// argument, and exits with the errno.
fn program(call: u32) -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let code = [
        // mov edi, 9999; mov eax, call; syscall
        &[0xbf][..],
        &9999_u32.to_le_bytes(),
        &[0xb8],
        &call.to_le_bytes(),
        &[0x0f, 0x05],
        // neg eax; mov edi, eax; mov eax, 60 (exit); syscall
        &[0xf7, 0xd8, 0x89, 0xc7, 0xb8, 60, 0, 0, 0, 0x0f, 0x05],
    ]
    .concat();
    let size = HEADERS + code.len() as u64;
    let [halves, words, longs] = [2, 4, 8].map(|width| {
        move |all: &[u64]| -> Vec<u8> {
            let bytes = all.iter().map(|it| it.to_le_bytes());
            bytes.flat_map(|it| it[..width].to_vec()).collect()
        }
    });
    [
        // elf(5): 64 bits, little endian, an executable for EM_X86_64.
        b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec(),
        halves(&[2, 62]),
        words(&[1]),
        longs(&[BASE + HEADERS, 64, 0]),
        words(&[0]),
        halves(&[64, 56, 1, 0, 0, 0]),
        // One segment, readable and executable.
        words(&[1, 5]),
        longs(&[0, BASE, BASE, size, size, 0x1000]),
        code,
    ]
    .concat()
}

/// The exit code of a program that makes the call, under a profile.
fn errno(profile: &Profile, call: u32) -> i32 {
    let root = Root::new();
    let path = root.path().join("tmp/program");
    fs::write(&path, program(call)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let mut process = sh("/tmp/program; echo $?");
    process.seccomp = Some(profile.clone());
    let output = run(&root.sandbox(), &process);
    output.out.trim().parse().unwrap_or_else(|_| panic!("{output:?}"))
}

/// The kernel's own answer to `close(9999)`, without x32 and with it.
fn is_the_kernels(errno: i32) -> bool {
    [libc::ENOSYS, libc::EBADF].contains(&errno)
}

#[test]
fn an_x32_program_is_refused_what_the_others_are() {
    if !is_root("x32") {
        return;
    }
    let profile = Profile::docker_default();
    assert_eq!(errno(&profile, KEYCTL), libc::EPERM);
    let close = errno(&profile, CLOSE);
    assert!(is_the_kernels(close), "{close}");
}

fn refusing_keyctl(more: &str) -> Profile {
    let text = format!(
        r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {{"names": ["keyctl"], "action": "SCMP_ACT_ERRNO",
              "errnoRet": 28}}]{more}}}"#
    );
    Profile::from_json(&text).unwrap()
}

#[test]
fn a_profile_lets_x32_programs_in_if_it_names_them() {
    if !is_root("x32, own profile") {
        return;
    }
    let profile = refusing_keyctl(
        r#", "archMap": [{"architecture": "SCMP_ARCH_X86_64",
            "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]}]"#,
    );
    assert_eq!(errno(&profile, KEYCTL), 28);
    let close = errno(&profile, CLOSE);
    assert!(is_the_kernels(close), "{close}");
}

#[test]
fn a_list_of_what_is_refused_is_not_walked_around_by_x32_calls() {
    if !is_root("x32, no architectures") {
        return;
    }
    let profile = refusing_keyctl("");
    for call in [KEYCTL, CLOSE] {
        assert_eq!(errno(&profile, call), 128 + libc::SIGSYS, "{call:#x}");
    }
    // libseccomp spares it, too: a tracer's word, and no call.
    assert_eq!(errno(&profile, SKIP), libc::ENOSYS);
}
