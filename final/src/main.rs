//! One binary, four programs: the command, the daemon, a container's shim,
//! and the keeper of an ordinary user's namespaces.
//!
//! Which of them is decided before anything else happens. The shim must
//! never see a second thread, because it forks, and a forked child has only
//! the thread that forked: a lock that another one held stays locked.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next() {
        Some(verb) if verb == "shim" => skiff::shim::main(args),
        Some(verb) if verb == "keeper" => skiff::rootless::keeper::main(args),
        Some(verb) if verb == "daemon" => skiff::engine::daemon::main(args),
        _ => skiff::cli::main(),
    }
}
