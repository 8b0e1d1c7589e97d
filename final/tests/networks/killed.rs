//! The daemon is killed in the middle of what it does to running containers.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use super::*;

const CONTAINERS: [&str; 3] = ["web1", "web2", "web3"];

impl Daemon {
    /// Connects and disconnects without end; what fails is tried again.
    async fn come_and_go(&self, container: &str) {
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
            let _ = self.docker.disconnect_network("two", wanted).await;
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
        let pause = Duration::from_millis(50 + 13 * round);
        let all = CONTAINERS.map(|it| daemon.come_and_go(it));
        let _ = tokio::time::timeout(pause, join_all(all)).await;
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
        let pause = Duration::from_millis(20 + 7 * round);
        let make = async {
            for nth in 0.. {
                let wanted = NetworkCreateRequest {
                    name: format!("n{round}-{nth}"),
                    ..NetworkCreateRequest::default()
                };
                let _ = daemon.docker.create_network(wanted).await;
                let name = format!("n{round}-{}", nth / 2);
                let _ = daemon.docker.remove_network(&name).await;
            }
        };
        let _ = tokio::time::timeout(pause, make).await;
        daemon.kill_and_restart(Duration::ZERO);
        daemon.docker.version().await.unwrap();
    }
    let nobody: Option<bollard::query_parameters::PruneNetworksOptions> = None;
    daemon.docker.prune_networks(nobody).await.unwrap();
    let bridges: Vec<String> =
        links().into_iter().filter(|it| it.starts_with("br-")).collect();
    assert_eq!(bridges, Vec::<String>::new());
}
