//! A daemon that is killed in the middle of a change, and what the next one
//! makes of it. The middle is built by hand here; `tests/networks.rs` kills
//! real ones.

use super::super::state::{Change, Endpoint};
use super::*;

/// As a daemon leaves it that is killed right after it has written down
/// what it is about to do.
fn killed_before(
    host: &mut Host,
    container: &str,
    change: impl FnOnce(&mut super::super::state::Sandbox),
) {
    {
        let networks = host.networks();
        let mut state = networks.state();
        let sandbox = state.sandboxes.get_mut(&id(container)).unwrap();
        change(sandbox);
        let sandbox = sandbox.clone();
        drop(state);
        networks.files.save(&sandbox).unwrap();
    }
    host.restart_with(&[&id(container)]);
}

fn addresses(host: &Host, container: &str) -> Vec<String> {
    host.inside(container, || {
        let mut route = Route::open().unwrap();
        links()
            .iter()
            .filter(|it| *it != "lo")
            .map(|it| {
                let index = route.index(it).unwrap();
                let all = route.addresses(index).unwrap();
                format!("{it} {all:?}")
            })
            .collect()
    })
}

/// What connecting `container` to `network` would make, without it.
fn planned(host: &Host, container: &str, network: &str) -> Endpoint {
    let networks = host.networks();
    let settings = EndpointSettings::default();
    networks.connect(&id(container), network, settings).unwrap();
    let ends = networks.sandbox(&id(container)).unwrap().endpoints;
    let endpoint = ends.last().unwrap().clone();
    networks.disconnect(&id(container), network).unwrap();
    endpoint
}

#[test]
fn a_connection_that_was_only_written_down_is_made() {
    in_new_network("killed before a connect", |host| {
        host.network("n");
        host.attach("a", "bridge");
        let endpoint = planned(host, "a", "n");
        killed_before(host, "a", |sandbox| {
            sandbox.endpoints.push(endpoint.clone());
            sandbox.change = Some(Change::Connecting(endpoint));
        });
        let [first, second] = &addresses(host, "a")[..] else { panic!() };
        assert_eq!(first, "eth0 [172.17.0.2/16]");
        assert_eq!(second, "eth1 [172.18.0.2/16]");
        assert!(host.file("a", "resolv.conf").contains("127.0.0.11"));
        let sandbox = host.networks().sandbox(&id("a")).unwrap();
        assert!(sandbox.change.is_none());
        host.networks().leave(&id("a")).unwrap();
    });
}

#[test]
fn a_connection_that_was_half_made_is_made_anew() {
    in_new_network("killed in a connect", |host| {
        host.network("n");
        host.attach("a", "bridge");
        let endpoint = planned(host, "a", "n");
        let networks = host.networks();
        let settings = EndpointSettings::default();
        networks.connect(&id("a"), "n", settings).unwrap();
        let made = networks.sandbox(&id("a")).unwrap().endpoints.pop().unwrap();
        assert_eq!(made.v4, endpoint.v4);
        killed_before(host, "a", |sandbox| {
            sandbox.change = Some(Change::Connecting(made));
        });
        assert_eq!(addresses(host, "a").len(), 2);
        host.attach("b", "n");
        let other = host.networks().sandbox(&id("b")).unwrap();
        assert_ne!(other.endpoints[0].v4, endpoint.v4, "given twice");
        for name in ["a", "b"] {
            host.networks().leave(&id(name)).unwrap();
        }
    });
}

#[test]
fn a_connection_that_cannot_be_made_is_given_up_and_costs_nothing_else() {
    in_new_network("killed before an impossible connect", |host| {
        host.network("m");
        host.network("n");
        host.attach("a", "m");
        host.attach("peer", "m");
        let endpoint = planned(host, "a", "n");
        host.inside("a", || {
            let mut route = Route::open().unwrap();
            route.bridge("eth1", [2, 0, 0, 0, 0, 5], None).unwrap();
        });
        {
            let networks = host.networks();
            let mut state = networks.state();
            let sandbox = state.sandboxes.get_mut(&id("a")).unwrap();
            sandbox.endpoints.push(endpoint.clone());
            sandbox.change = Some(Change::Connecting(endpoint));
            let sandbox = sandbox.clone();
            drop(state);
            networks.files.save(&sandbox).unwrap();
        }
        host.networks = None;
        std::thread::sleep(Duration::from_millis(100));
        let dir = host.dir.path();
        let options = Options::new(dir.join("data"), dir.join("run"));
        let networks = Networks::open(options).unwrap();
        let errors = networks.restore(&[id("a"), id("peer")]);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].to_string().contains("eth1"), "{errors:?}");
        host.networks = Some(networks);
        assert_eq!(host.networks().endpoints(&id("a")).len(), 1);
        assert!(lock(&host.networks().live)[&id("a")].resolver.is_some());
        assert!(host.networks().sandbox(&id("a")).unwrap().change.is_none());
        for name in ["a", "peer"] {
            host.networks().leave(&id(name)).unwrap();
        }
    });
}

#[test]
fn a_disconnection_that_was_only_written_down_is_made() {
    in_new_network("killed before a disconnect", |host| {
        host.network("n");
        host.attach("a", "n");
        let settings = EndpointSettings::default();
        host.networks().connect(&id("a"), "bridge", settings).unwrap();
        killed_before(host, "a", |sandbox| {
            let gone = sandbox.endpoints.pop().unwrap();
            sandbox.change = Some(Change::Disconnecting(gone));
        });
        assert_eq!(addresses(host, "a"), ["eth0 [172.18.0.2/16]"]);
        // It had the default route, which the other network has now.
        let route = host.inside("a", || {
            std::fs::read_to_string("/proc/thread-self/net/route").unwrap()
        });
        assert!(route.contains("eth0\t00000000\t"), "{route}");
        host.networks().leave(&id("a")).unwrap();
    });
}

#[test]
fn a_network_whose_bridge_was_not_made_yet_is_one() {
    in_new_network("killed in a create", |host| {
        let network = host.network("n");
        lock(&host.networks().route).delete(&network.bridge_name()).unwrap();
        host.restart();
        host.attach("a", "n");
        assert_eq!(host.inside("a", links), ["eth0", "lo"]);
        host.networks().leave(&id("a")).unwrap();
        host.networks().settle();
        host.networks().remove("n").unwrap();
        assert!(!links().contains(&network.bridge_name()));
    });
}
