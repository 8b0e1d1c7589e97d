//! Cargo, started by a program that Cargo has started.

use std::env;
use std::process::Command;

/// The Cargo that built this program, or else the one on the path.
pub fn command() -> Command {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    forget_package(&mut command);
    command
}

/// Takes out of a command's environment what `cargo run` and `cargo test`
/// tell of the package they run. The build scripts of some crates (ring's)
/// want to be run again when that has changed, so a Cargo that saw it would
/// build them, and all that depends on them, again; and so would the next
/// one, which does not see it.
pub fn forget_package(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let of_package = ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_BIN_"];
        let text = name.to_string_lossy();
        if of_package.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cargo_that_is_started_here_does_not_hear_of_this_package() {
        assert!(env::var_os("CARGO_MANIFEST_DIR").is_some(), "not by cargo");
        let mut env = Command::new("env");
        forget_package(&mut env);
        let seen = env.output().unwrap().stdout;
        let seen = String::from_utf8_lossy(&seen).into_owned();
        assert!(seen.contains("PATH="), "{seen}");
        for name in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME"] {
            assert!(!seen.contains(&format!("{name}=")), "{seen}");
        }
    }
}
