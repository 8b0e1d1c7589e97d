//! Debian's registry on a port of this machine.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cli_api::testing;

/// Ends with the value.
pub(crate) struct Registry {
    child: Child,
    _dir: tempfile::TempDir,
    pub(crate) port: u16,
}

impl Registry {
    /// For everybody; or behind a password, if there is an `account`, a line
    /// that htpasswd(1) writes. `None`, and the reason, where it is not
    /// installed.
    pub(crate) fn start(test: &str, account: Option<&str>) -> Option<Registry> {
        let program = "/usr/bin/docker-registry";
        if !Path::new(program).exists() {
            testing::skip(test, "docker-registry is not installed");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().display();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let mut config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem:\n    \
             rootdirectory: {at}/data\nhttp:\n  addr: 127.0.0.1:{port}\n"
        );
        if let Some(account) = account {
            fs::write(dir.path().join("htpasswd"), account).unwrap();
            config += &format!(
                "auth:\n  htpasswd:\n    realm: r\n    path: {at}/htpasswd\n"
            );
        }
        let file = dir.path().join("config.yml");
        fs::write(&file, config).unwrap();
        let mut command = Command::new(program);
        command.arg("serve").arg(file);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let registry = Registry { child, _dir: dir, port };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(20), "no registry");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(registry)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
