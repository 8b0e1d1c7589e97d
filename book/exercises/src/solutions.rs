//! The solutions and their checks as parts of this crate, so that compiler
//! and linter see them as they see everything else.
#![expect(
    dead_code,
    unreachable_pub,
    clippy::zombie_processes,
    reason = "each check is a short program of its own"
)]

#[path = "../01-1-exit-status/mod.rs"]
mod x01_1;
#[path = "../01-2-frames/mod.rs"]
mod x01_2;
#[path = "../01-3-reap/mod.rs"]
mod x01_3;
#[path = "../01-4-detach/mod.rs"]
mod x01_4;
#[path = "../02-1-clone-flags/mod.rs"]
mod x02_1;
#[path = "../02-2-own-proc/mod.rs"]
mod x02_2;
#[path = "../02-3-new-root/mod.rs"]
mod x02_3;
#[path = "../02-4-id-map/mod.rs"]
mod x02_4;
#[path = "../02-5-init/mod.rs"]
mod x02_5;
#[path = "../03-1-pids/mod.rs"]
mod x03_1;
#[path = "../03-2-memory/mod.rs"]
mod x03_2;
#[path = "../03-3-cpu/mod.rs"]
mod x03_3;
#[path = "../03-4-freeze/mod.rs"]
mod x03_4;
#[path = "../04-1-two-digests/mod.rs"]
mod x04_1;
#[path = "../04-2-verified-download/mod.rs"]
mod x04_2;
#[path = "../04-3-whiteouts/mod.rs"]
mod x04_3;
#[path = "../04-4-no-escape/mod.rs"]
mod x04_4;
#[path = "../04-5-cache-key/mod.rs"]
mod x04_5;
#[path = "../05-1-lowerdir/mod.rs"]
mod x05_1;
#[path = "../05-2-upper-and-work/mod.rs"]
mod x05_2;
#[path = "../05-3-marks/mod.rs"]
mod x05_3;
#[path = "../05-4-changes/mod.rs"]
mod x05_4;
#[path = "../06-1-read-only/mod.rs"]
mod x06_1;
#[path = "../06-2-first-use/mod.rs"]
mod x06_2;
#[path = "../06-3-tmpfs/mod.rs"]
mod x06_3;
#[path = "../06-4-names/mod.rs"]
mod x06_4;
#[path = "../07-1-ports/mod.rs"]
mod x07_1;
#[path = "../07-2-back-off/mod.rs"]
mod x07_2;
#[path = "../07-3-shim/mod.rs"]
mod x07_3;
#[path = "../07-4-hijack/mod.rs"]
mod x07_4;
#[path = "../07-5-veth/mod.rs"]
mod x07_5;
