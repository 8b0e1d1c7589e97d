//! Networks in a kernel of their own: every test runs in a fresh network
//! namespace, so that the host's links, rules and sysctls stay untouched.

mod connecting;
mod default_bridge;
mod firewall;
mod icc;
mod killed;
mod ports;
mod resolver;
mod stress;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use super::netns::sysctl;
use super::*;

/// Runs a test where it is root of an empty network namespace, whose
/// loopback is up and where the host has an address of its own.
pub(super) fn in_new_network(
    test: &str,
    work: impl FnOnce(&mut Host) + Send + 'static,
) {
    if !rustix::process::geteuid().is_root() {
        println!("SKIP: {test}: needs root for network namespaces");
        return;
    }
    let thread = std::thread::spawn(move || {
        // SAFETY: this thread is the test's own.
        unsafe {
            rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET)
        }
        .unwrap();
        let mut route = Route::open().unwrap();
        route.up(1, "lo").unwrap();
        // What stands for the host's Ethernet.
        let index = route.bridge("uplink", [2, 0, 0, 0, 0, 9], None).unwrap();
        let own = ["198.51.100.9/24", "2001:db8::9/64"];
        let own = own.map(|it| it.parse().unwrap());
        route.configure((index, "uplink"), &own, &[]).unwrap();
        sysctl("ipv4/ip_forward", "0").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut host = Host { networks: None, dir };
        host.restart();
        work(&mut host);
        let pins = host.networks().options.own_names().pins;
        host.networks = None;
        let left = pinned(&pins);
        assert_eq!(left, Vec::<PathBuf>::new(), "pins are left");
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn pinned(dir: &std::path::Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir).unwrap().map(|it| it.unwrap().path()).collect()
}

/// The engine's part of a test.
pub(super) struct Host {
    networks: Option<Networks>,
    dir: tempfile::TempDir,
}

impl Host {
    pub(super) fn networks(&self) -> &Networks {
        self.networks.as_ref().unwrap()
    }

    /// As after a SIGKILL of the daemon: nothing is closed in an orderly
    /// way but what the kernel closes with a process.
    pub(super) fn restart_with(&mut self, running: &[&str]) {
        self.restart_as(running, |_| {});
    }

    /// The same, by a daemon with other settings.
    pub(super) fn restart_as(
        &mut self,
        running: &[&str],
        settings: impl FnOnce(&mut Options),
    ) {
        self.networks = None;
        // The runtime's threads close their sockets in their own time.
        std::thread::sleep(Duration::from_millis(100));
        let dir = self.dir.path();
        let mut options = Options::new(dir.join("data"), dir.join("run"));
        settings(&mut options);
        let networks = Networks::open(options).unwrap();
        let running: Vec<String> =
            running.iter().map(|it| (*it).to_owned()).collect();
        let errors = networks.restore(&running);
        assert!(errors.is_empty(), "{errors:?}");
        self.networks = Some(networks);
    }

    fn restart(&mut self) {
        self.restart_with(&[]);
    }

    /// Where a container's files go.
    pub(super) fn dir(&self, container: &str) -> PathBuf {
        let dir = self.dir.path().join(container);
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    pub(super) fn request(&self, name: &str, mode: &str) -> AttachRequest {
        AttachRequest {
            id: id(name),
            name: name.into(),
            hostname: name.into(),
            mode: mode.into(),
            dir: self.dir(name),
            ..AttachRequest::default()
        }
    }

    pub(super) fn attach(&self, name: &str, mode: &str) -> Attached {
        self.networks().attach(self.request(name, mode)).unwrap()
    }

    /// The text of one of the container's files.
    pub(super) fn file(&self, container: &str, name: &str) -> String {
        std::fs::read_to_string(self.dir(container).join(name)).unwrap()
    }

    pub(super) fn network(&self, name: &str) -> Network {
        let name = name.into();
        let wanted = NetworkCreate { name, ..NetworkCreate::default() };
        self.networks().create(wanted).unwrap()
    }

    /// Runs `work` as a process of the container would.
    pub(super) fn inside<T: Send>(
        &self,
        name: &str,
        work: impl FnOnce() -> T + Send,
    ) -> T {
        let work = || Ok(work());
        self.networks().nursery.inside(&id(name), work).unwrap()
    }

    /// A server in the container that answers each connection with its
    /// name and the address it sees as the client's.
    pub(super) fn serve(&self, name: &str, port: u16) {
        let listener = self.inside(name, || {
            let any = format!("[::]:{port}");
            TcpListener::bind(any)
                .or_else(|_| TcpListener::bind(("0.0.0.0", port)))
                .unwrap()
        });
        let name = name.to_owned();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(mut client) = client else { return };
                let from = client.peer_addr().unwrap().ip().to_canonical();
                let mut word = [0; 4];
                if client.read_exact(&mut word).is_err() || word == *b"stop" {
                    continue;
                }
                let _ = write!(client, "{name} {from}");
            }
        });
    }
}

/// An ID as engines make them.
pub(super) fn id(name: &str) -> String {
    format!("{name:0<64}")
}

/// Asks a server of [`Host::serve`]; `None` if it cannot be reached.
pub(super) fn ask(address: &str) -> Option<String> {
    let address: SocketAddr = address.parse().unwrap();
    // Longer than a lost ARP request costs.
    let patience = Duration::from_millis(1500);
    let mut stream = TcpStream::connect_timeout(&address, patience).ok()?;
    stream.set_read_timeout(Some(patience)).unwrap();
    stream.write_all(b"name").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    (!answer.is_empty()).then_some(answer)
}

/// Names of the links in the calling thread's namespace.
pub(super) fn links() -> Vec<String> {
    let table = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let lines = table.lines().skip(2).filter_map(|it| it.split_once(':'));
    let mut names: Vec<String> =
        lines.map(|(name, _)| name.trim().to_owned()).collect();
    names.sort();
    names
}

/// Keeps a namespace that stands for another machine on the uplink.
pub(super) struct Outside {
    file: OwnedFd,
}

impl Outside {
    /// A machine with the address 198.51.100.`last`, which takes this host
    /// for its router.
    pub(super) fn new(last: u8) -> Outside {
        let nursery = tempfile::tempdir().unwrap();
        let nursery =
            super::netns::Nursery::open(&nursery.path().join("n")).unwrap();
        let (_, mut fresh) = nursery.take("outside").unwrap();
        nursery.release("outside").unwrap();
        let mut host = Route::open().unwrap();
        let bridge = host.index("uplink").unwrap();
        host.veth(&route::Veth {
            name: &format!("outside{last}"),
            peer: "eth0",
            peer_mac: [2, 0, 0, 0, 0, last],
            peer_namespace: std::os::fd::AsFd::as_fd(&fresh.file),
            bridge,
            mtu: None,
        })
        .unwrap();
        let index = fresh.route.index("eth0").unwrap();
        let address = format!("198.51.100.{last}/24").parse().unwrap();
        let gateway = "198.51.100.9".parse().unwrap();
        fresh.route.configure((index, "eth0"), &[address], &[gateway]).unwrap();
        Outside { file: fresh.file }
    }

    pub(super) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let file = std::os::fd::AsFd::as_fd(&self.file);
        super::netns::inside(file, || Ok(work())).unwrap()
    }
}
