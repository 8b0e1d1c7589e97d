//! Networks as a user of the API meets them, with real containers. Each test
//! gives its daemon a network namespace of its own for a host.

mod common;
#[allow(dead_code, reason = "more than these tests need")]
#[path = "engine/daemon.rs"]
mod daemon;
#[path = "networks/killed.rs"]
mod killed;
#[path = "networks/programs.rs"]
mod programs;
#[path = "networks/scale.rs"]
mod scale;
#[path = "networks/traffic.rs"]
mod traffic;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, NetworkConnectRequest, NetworkCreateRequest,
    NetworkDisconnectRequest, PortBinding,
};
use daemon::{Daemon, sh};

/// A shell line in a network, perhaps with port 80 published.
fn on(network: &str, line: &str, port: Option<u16>) -> ContainerCreateBody {
    let mut body = sh(line);
    if let Some(host) = &mut body.host_config {
        host.network_mode = Some(network.to_owned());
        host.port_bindings = port.map(|port| {
            let binding = PortBinding {
                host_ip: None,
                host_port: Some(port.to_string()),
            };
            HashMap::from([("80/tcp".to_owned(), Some(vec![binding]))])
        });
    }
    body
}

/// Serves the container's host name on port 80.
const WEB: &str = "mkdir /www; hostname > /www/index.html; \
                   exec busybox httpd -f -p 80 -h /www";

/// Keeps asking until there is an answer: a server takes a moment to start.
fn fetch(address: &str) -> Option<String> {
    for _ in 0..50 {
        let answer = TcpStream::connect(address).ok().and_then(|mut it| {
            it.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
            it.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
            let mut text = String::new();
            it.read_to_string(&mut text).ok()?;
            Some(text.split_once("\r\n\r\n")?.1.trim().to_owned())
        });
        if answer.as_ref().is_some_and(|it| !it.is_empty()) {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    None
}

impl Daemon {
    async fn network(&self, name: &str) {
        let wanted = NetworkCreateRequest {
            name: name.to_owned(),
            ..NetworkCreateRequest::default()
        };
        self.docker.create_network(wanted).await.unwrap();
    }

    async fn connect(&self, network: &str, container: &str) {
        let wanted = NetworkConnectRequest {
            container: container.to_owned(),
            endpoint_config: None,
        };
        self.docker.connect_network(network, wanted).await.unwrap();
    }

    async fn disconnect(&self, network: &str, container: &str) {
        let wanted = NetworkDisconnectRequest {
            container: container.to_owned(),
            force: None,
        };
        self.docker.disconnect_network(network, wanted).await.unwrap();
    }

    /// A container's IPv4 address in one of its networks.
    async fn address(&self, container: &str, network: &str) -> String {
        let about = self.docker.inspect_container(container, None).await;
        let settings = about.unwrap().network_settings.unwrap();
        settings.networks.unwrap()[network].ip_address.clone().unwrap()
    }

    /// What a short-lived container says, and how it ends.
    async fn says(&self, network: &str, line: &str) -> (i64, String) {
        self.run("asker", on(network, line, None)).await;
        let code = self.wait("asker").await;
        let said = self.logs("asker").await;
        self.remove("asker").await;
        (code, said.trim().to_owned())
    }
}

fn ask(host: &str) -> String {
    // A server takes a moment to start.
    format!(
        "for i in 1 2 3 4 5 6 7 8 9; do \
         busybox timeout 1 busybox wget -qO- http://{host}/ && exit 0; \
         busybox usleep 50000; done; exit 1"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_with_slashes_in_its_name_is_addressed_by_it() {
    let test = "slashes in a network's name";
    let Some(daemon) = Daemon::start_in_own_network(test).await else {
        return;
    };
    daemon.network("a/b/connect").await;
    daemon.run("aa", on("bridge", "sleep 1000", None)).await;
    daemon.connect("a/b/connect", "aa").await;
    // As the docker command writes it; a client may also escape them.
    for name in ["a/b/connect", "a%2Fb%2Fconnect"] {
        let about = daemon.docker.inspect_network(name, None).await.unwrap();
        assert_eq!(about.name.as_deref(), Some("a/b/connect"));
        assert_eq!(about.containers.unwrap().len(), 1);
    }
    daemon.disconnect("a/b/connect", "aa").await;
    daemon.docker.remove_network("a/b/connect").await.unwrap();
    daemon.remove("aa").await;
}

#[tokio::test]
async fn containers_meet_by_name_in_their_network_and_nowhere_else() {
    let Some(daemon) =
        Daemon::start_in_own_network("names and isolation").await
    else {
        return;
    };
    daemon.network("one").await;
    daemon.network("two").await;
    let id = daemon.run("web", on("one", WEB, None)).await;
    let short = id[..12].to_owned();
    assert_eq!(daemon.says("one", &ask("web")).await, (0, short.clone()));
    let address = daemon.address("web", "one").await;
    // Not the last command: the shell would become it, and PID 1 does not
    // hear the signal of `timeout`.
    let direct = format!(
        "busybox timeout 1 busybox wget -qO- http://{address}/ || exit 1"
    );
    assert_ne!(daemon.says("two", &direct).await.0, 0, "isolation");
    assert_ne!(daemon.says("two", "busybox nslookup web").await.0, 0);

    daemon.connect("two", "web").await;
    assert_eq!(daemon.says("two", &ask("web")).await, (0, short));
    daemon.disconnect("two", "web").await;
    assert_ne!(daemon.says("two", "busybox nslookup web").await.0, 0);
    daemon.remove("web").await;
}

#[tokio::test]
async fn a_published_port_and_names_outlive_a_killed_daemon() {
    let Some(mut daemon) =
        Daemon::start_in_own_network("ports without a daemon").await
    else {
        return;
    };
    daemon.network("one").await;
    let id = daemon.run("web", on("one", WEB, Some(8080))).await;
    assert_eq!(fetch("127.0.0.1:8080").as_deref(), Some(&id[..12]));
    daemon.kill_and_restart(Duration::ZERO);
    assert_eq!(fetch("127.0.0.1:8080").as_deref(), Some(&id[..12]));
    assert_eq!(fetch("[::1]:8080").as_deref(), Some(&id[..12]));
    let (code, said) = daemon.says("one", &ask("web")).await;
    assert_eq!((code, said.as_str()), (0, &id[..12]));

    let body = on("bridge", "true", Some(8080));
    daemon.create("late", body).await;
    let error = daemon.docker.start_container("late", None).await;
    let error = error.unwrap_err().to_string();
    let want = "Bind for 0.0.0.0:8080 failed: port is already allocated";
    assert!(error.contains(want), "{error}");
    daemon.remove("late").await;
    daemon.remove("web").await;
    assert!(TcpStream::connect("127.0.0.1:8080").is_err());
}

#[tokio::test]
async fn another_containers_network_is_shared_with_its_files() {
    let Some(daemon) = Daemon::start_in_own_network("container mode").await
    else {
        return;
    };
    daemon.run("web", on("bridge", WEB, None)).await;
    let own = daemon.says("bridge", "cat /etc/hosts").await.1;
    let shared = daemon.says("container:web", "cat /etc/hosts").await;
    assert_eq!(shared.0, 0);
    assert_ne!(shared.1, own);
    let (code, _) = daemon.says("container:web", &ask("localhost")).await;
    assert_eq!(code, 0);
    daemon.remove("web").await;
}

#[tokio::test]
async fn a_daemon_that_ends_with_nothing_running_leaves_the_host_as_it_was() {
    let Some(daemon) = Daemon::start_in_own_network("a clean end").await else {
        return;
    };
    daemon.network("one").await;
    daemon.says("one", "true").await;
    drop(daemon);
    assert_eq!(links(), ["lo"]);
}

/// The links of this thread's network namespace.
fn links() -> Vec<String> {
    let table = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let lines = table.lines().skip(2);
    lines
        .filter_map(|it| Some(it.split_once(':')?.0.trim().to_owned()))
        .collect()
}
