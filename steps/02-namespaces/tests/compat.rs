//! Programs of 32 bits, which an x86-64 kernel runs through another door.
#![cfg(target_arch = "x86_64")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use common::{Root, is_root, run, sh};
use namespaces::seccomp::Profile;

/// An ELF32 program without a libc: says `ok`, makes a call of keyctl(2)
/// that there is none of, and exits with its errno.
fn program() -> Vec<u8> {
    const BASE: u32 = 0x0804_8000;
    const HEADERS: u32 = 52 + 32;
    let mov = |register: u8, value: u32| {
        let mut code = vec![0xb8 + register];
        code.extend(value.to_le_bytes());
        code
    };
    let (eax, ecx, edx, ebx) = (0, 1, 2, 3);
    let int80 = vec![0xcd, 0x80];
    let code = |message| {
        [
            // write(1, message, 3)
            mov(eax, 4),
            mov(ebx, 1),
            mov(ecx, message),
            mov(edx, 3),
            int80.clone(),
            // keyctl(9999)
            mov(eax, 288),
            mov(ebx, 9999),
            int80.clone(),
            // exit(-eax): neg eax; mov ebx, eax
            vec![0xf7, 0xd8, 0x89, 0xc3],
            mov(eax, 1),
            int80.clone(),
        ]
        .concat()
    };
    let length = u32::try_from(code(0).len()).unwrap();
    let code = code(BASE + HEADERS + length);
    let size = HEADERS + length + 3;
    let words = |all: &[u32]| -> Vec<u8> {
        all.iter().flat_map(|it| it.to_le_bytes()).collect()
    };
    let halves = |all: &[u16]| -> Vec<u8> {
        all.iter().flat_map(|it| it.to_le_bytes()).collect()
    };
    [
        // elf(5): 32 bits, little endian, an executable for EM_386.
        b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec(),
        halves(&[2, 3]),
        words(&[1, BASE + HEADERS, 52, 0, 0]),
        halves(&[52, 32, 1, 0, 0, 0]),
        // One segment, readable and executable.
        words(&[1, 0, BASE, BASE, size, size, 5, 0x1000]),
        code,
        b"ok\n".to_vec(),
    ]
    .concat()
}

/// A root with the program in it, if this kernel runs it.
fn root(test: &str) -> Option<Root> {
    if !is_root(test) {
        return None;
    }
    let root = Root::new();
    let path = root.path().join("tmp/program");
    fs::write(&path, program()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    if let Err(error) = Command::new(&path).output() {
        let reason = format!("this kernel runs no 32-bit program: {error}");
        cli_api::testing::skip(test, &reason);
        return None;
    }
    Some(root)
}

const SAY_ERRNO: &str = "/tmp/program; echo $?";

#[test]
fn a_32_bit_program_runs_and_is_refused_what_the_others_are() {
    let Some(root) = root("32 bits") else { return };
    let mut process = sh(SAY_ERRNO);
    let output = run(&root.sandbox(), &process);
    let eperm = libc::EPERM;
    assert_eq!(output.out, format!("ok\n{eperm}\n"), "{output:?}");
    process.seccomp = None;
    let output = run(&root.sandbox(), &process);
    let unsupported = libc::EOPNOTSUPP;
    assert_eq!(output.out, format!("ok\n{unsupported}\n"), "{output:?}");
}

#[test]
fn a_profile_lets_32_bit_programs_in_if_it_names_them() {
    let Some(root) = root("32 bits, own profile") else { return };
    let profile = |more: &str| {
        let text = format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                {{"names": ["keyctl"], "action": "SCMP_ACT_ERRNO",
                  "errnoRet": 28}}]{more}}}"#
        );
        Some(Profile::from_json(&text).unwrap())
    };
    for more in [
        r#", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]"#,
        r#", "archMap": [{"architecture": "SCMP_ARCH_X86_64",
              "subArchitectures": ["SCMP_ARCH_X86"]},
             {"architecture": "SCMP_ARCH_RISCV64",
              "subArchitectures": null}]"#,
    ] {
        let mut process = sh(SAY_ERRNO);
        process.seccomp = profile(more);
        let output = run(&root.sandbox(), &process);
        assert_eq!(output.out, "ok\n28\n", "{more}: {output:?}");
    }
}

#[test]
fn a_list_of_what_is_refused_is_not_walked_around_by_32_bit_calls() {
    let Some(root) = root("32 bits, no architectures") else { return };
    let text = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["keyctl"], "action": "SCMP_ACT_ERRNO"}]}"#;
    let mut process = sh(SAY_ERRNO);
    process.seccomp = Some(Profile::from_json(text).unwrap());
    let output = run(&root.sandbox(), &process);
    let killed = 128 + libc::SIGSYS;
    assert_eq!(output.out, format!("{killed}\n"), "{output:?}");
}
