//! The finished engine: skiff, which speaks the Docker Engine API
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next() {
        Some(verb) if verb == "shim" => skiff::shim::main(args),
        Some(verb) if verb == "daemon" => skiff::engine::daemon::main(args),
        _ => ExitCode::FAILURE,
    }
}
