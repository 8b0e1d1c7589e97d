//! The daemon is killed in the middle of what it does to running containers.

use std::cell::Cell;
use std::collections::BTreeSet;

use futures_util::future::join_all;

use super::*;

const CONTAINERS: [&str; 3] = ["web1", "web2", "web3"];

impl Daemon {
    /// Connects and disconnects without end; what fails is tried again.
    /// Counts what was done.
    async fn come_and_go(&self, container: &str, done: &Cell<usize>) {
        loop {
            let wanted = NetworkConnectRequest {
                container: container.to_owned(),
                endpoint_config: None,
            };
            let _ = self.docker.connect_network("two", wanted).await;
            let wanted = NetworkDisconnectRequest {
                container: container.to_owned(),
                force: None,
            };
            let left = self.docker.disconnect_network("two", wanted).await;
            done.set(done.get() + usize::from(left.is_ok()));
        }
    }

    /// The addresses that the container itself has.
    async fn has(&self, container: &str) -> BTreeSet<String> {
        let network = format!("container:{container}");
        let said = self.says(&network, "busybox ip -o -4 addr").await.1;
        let words = said.lines().filter_map(|it| it.split_whitespace().nth(3));
        let hosts = words.filter_map(|it| Some(it.split_once('/')?.0));
        hosts.filter(|it| *it != "127.0.0.1").map(str::to_owned).collect()
    }

    /// The addresses that the engine says it has.
    async fn is_said_to_have(&self, container: &str) -> BTreeSet<String> {
        let about = self.docker.inspect_container(container, None).await;
        let settings = about.unwrap().network_settings.unwrap();
        let ends = settings.networks.unwrap().into_values();
        ends.map(|it| it.ip_address.unwrap()).collect()
    }
}

#[tokio::test]
async fn a_daemon_killed_while_it_connects_knows_every_address_afterwards() {
    let Some(mut daemon) =
        Daemon::start_in_own_network("killed while it connects").await
    else {
        return;
    };
    daemon.network("one").await;
    daemon.network("two").await;
    for name in CONTAINERS {
        daemon.run(name, on("one", "exec sleep 999", None)).await;
    }
    for round in 0..6 {
        let done = Cell::new(0);
        let pause = async || {
            while done.get() == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::time::sleep(Duration::from_millis(13 * round)).await;
        };
        let all = CONTAINERS.map(|it| daemon.come_and_go(it, &done));
        // In the middle of the work, wherever that is.
        tokio::select! { _ = join_all(all) => {}, () = pause() => {} }
        daemon.kill_and_restart(Duration::ZERO);
        let mut taken = BTreeSet::new();
        for name in CONTAINERS {
            let has = daemon.has(name).await;
            let said = daemon.is_said_to_have(name).await;
            assert_eq!(has, said, "{name}, round {round}");
            for address in has {
                assert!(taken.insert(address.clone()), "{address} twice");
            }
        }
    }
    for name in CONTAINERS {
        daemon.remove(name).await;
    }
    for network in ["one", "two"] {
        daemon.docker.remove_network(network).await.unwrap();
    }
}

#[tokio::test]
async fn a_daemon_killed_while_it_makes_networks_leaves_no_bridge_unknown() {
    let Some(mut daemon) =
        Daemon::start_in_own_network("killed while it makes networks").await
    else {
        return;
    };
    for round in 0..6 {
        let made = Cell::new(0);
        let pause = async || {
            while made.get() < 2 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::time::sleep(Duration::from_millis(7 * round)).await;
        };
        let make = async {
            for nth in 0.. {
                let wanted = NetworkCreateRequest {
                    name: format!("n{round}-{nth}"),
                    ..NetworkCreateRequest::default()
                };
                let created = daemon.docker.create_network(wanted).await;
                made.set(made.get() + usize::from(created.is_ok()));
                let name = format!("n{round}-{}", nth / 2);
                let _ = daemon.docker.remove_network(&name).await;
            }
        };
        tokio::select! { () = make => {}, () = pause() => {} }
        daemon.kill_and_restart(Duration::ZERO);
        daemon.docker.version().await.unwrap();
    }
    let nobody: Option<bollard::query_parameters::PruneNetworksOptions> = None;
    daemon.docker.prune_networks(nobody).await.unwrap();
    let bridges: Vec<String> =
        links().into_iter().filter(|it| it.starts_with("br-")).collect();
    assert_eq!(bridges, Vec::<String>::new());
}
