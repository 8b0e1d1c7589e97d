//! What the rules let through, and that they are what they are said to be.

use std::process::Command;

use super::*;

#[test]
fn the_rules_are_printed_as_nft_lists_them() {
    if Command::new("nft").arg("--version").output().is_err() {
        println!("SKIP: rules against nft: nft is not installed");
        return;
    }
    in_new_network("rules against nft", |host| {
        let wanted = NetworkCreate {
            name: "six".into(),
            enable_ipv6: Some(true),
            ..NetworkCreate::default()
        };
        host.networks().create(wanted).unwrap();
        let wanted = NetworkCreate {
            name: "closed".into(),
            internal: true,
            ..NetworkCreate::default()
        };
        host.networks().create(wanted).unwrap();
        let mut request = host.request("a", "six");
        let bind = |ip: &str, port: &str| PortBinding {
            host_ip: ip.into(),
            host_port: port.into(),
        };
        request.ports = PortMap::from([
            ("80/tcp".into(), Some(vec![bind("", "8080")])),
            ("53/udp".into(), Some(vec![bind("127.0.0.1", "5300")])),
            ("81/tcp".into(), Some(vec![bind("::1", "8081")])),
        ]);
        host.networks().attach(request).unwrap();
        same_as_nft(host);
        insta::with_settings!({prepend_module_to_snapshot => false,
            filters => vec![
            (r"skiff[-_][0-9a-f]{6}", "skiff0"),
            (r"br-[0-9a-f]{12}", "br-ID"),
            (r"fd[0-9a-f:]+", "fdXX::"),
        ]}, {
            insta::assert_snapshot!("rules", host.networks().rules());
        });
        host.networks().leave(&id("a")).unwrap();
        let after = host.networks().rules();
        assert!(!after.contains("8080"), "{after}");
        // What is removed goes from the kernel element by element.
        host.networks().remove("closed").unwrap();
        host.network("one");
        same_as_nft(host);
        host.networks().remove("six").unwrap();
        host.networks().remove("one").unwrap();
        same_as_nft(host);
        let after = host.networks().rules();
        assert!(!after.contains("br-"), "{after}");
    });
}

fn same_as_nft(host: &Host) {
    let table = host.networks().options.own_names().table;
    let nft = Command::new("nft")
        .args(["list", "table", "inet", &table])
        .output()
        .unwrap();
    assert!(nft.status.success(), "{nft:?}");
    let nft = String::from_utf8(nft.stdout).unwrap();
    assert_eq!(sorted(&host.networks().rules()), sorted(&nft));
}

/// Line by line, and the elements of a set one by one: nft lists them in the
/// order of its hash table, and some of them two on a line.
fn sorted(text: &str) -> Vec<String> {
    // Newer versions have a name for this priority in this hook, too.
    let text = text.replace("priority dstnat", "priority -100");
    let mut lines = Vec::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("elements = {") {
        let (elements, behind) = after.split_once('}').unwrap();
        lines.extend(before.lines().map(trimmed));
        let mut elements: Vec<_> = elements.split(',').map(trimmed).collect();
        elements.sort();
        lines.extend(elements);
        rest = behind;
    }
    lines.extend(rest.lines().map(trimmed));
    lines
}

fn trimmed(text: &str) -> String {
    text.trim().to_owned()
}

#[test]
fn networks_are_isolated_from_each_other_and_from_the_outside() {
    in_new_network("isolation", |host| {
        let outside = Outside::new(7);
        host.network("one");
        host.network("two");
        let a = host.attach("a", "one").endpoints["one"].clone();
        host.attach("b", "two");
        host.attach("c", "bridge");
        host.serve("a", 80);
        let to = format!("{}:80", a.ip_address);
        assert_eq!(host.inside("b", || ask(&to)), None);
        assert_eq!(host.inside("c", || ask(&to)), None);
        assert_eq!(outside.inside(|| ask(&to)), None, "routed directly");
        assert!(ask(&to).is_some(), "the host reaches its containers");
        for name in ["a", "b", "c"] {
            host.networks().leave(&id(name)).unwrap();
        }
    });
}

#[test]
fn an_internal_network_has_no_way_out() {
    in_new_network("internal", |host| {
        let outside = Outside::new(7);
        let listener =
            outside.inside(|| TcpListener::bind("198.51.100.7:80").unwrap());
        let wanted = NetworkCreate {
            name: "closed".into(),
            internal: true,
            ..NetworkCreate::default()
        };
        host.networks().create(wanted).unwrap();
        let a = host.attach("a", "closed").endpoints["closed"].clone();
        assert_eq!(a.gateway, "");
        host.attach("b", "closed");
        host.serve("a", 80);
        let to = format!("{}:80", a.ip_address);
        assert!(host.inside("b", || ask(&to)).is_some());
        assert_eq!(host.inside("b", || ask("198.51.100.7:80")), None);
        drop(listener);
        host.networks().leave(&id("a")).unwrap();
        host.networks().leave(&id("b")).unwrap();
    });
}

#[test]
fn the_host_does_not_become_a_router_for_its_neighbours() {
    in_new_network("router", |host| {
        // Two machines on two wires of the host.
        let mut route = Route::open().unwrap();
        let index = route.bridge("lan2", [2, 0, 0, 0, 0, 8], None).unwrap();
        let lan = "203.0.113.1/24".parse().unwrap();
        route.configure((index, "lan2"), &[lan], &[]).unwrap();
        let outside = Outside::new(7);
        assert_eq!(netns::read_sysctl("ipv4/ip_forward").as_deref(), Some("1"));
        let rules = host.networks().rules();
        assert!(rules.contains("iifname @outside oifname @outside drop"));
        assert!(rules.contains("\"uplink\""), "{rules}");
        drop(outside);
    });
}

#[test]
fn tables_of_others_are_left_alone_and_their_drops_reported() {
    in_new_network("foreign tables", |host| {
        if Command::new("nft").arg("--version").output().is_err() {
            println!("SKIP: foreign tables: nft is not installed");
            return;
        }
        let nft = |text: &str| {
            let done = Command::new("nft").arg(text).output().unwrap();
            assert!(done.status.success(), "{done:?}");
            String::from_utf8(done.stdout).unwrap()
        };
        nft("add table ip filter");
        nft("add chain ip filter FORWARD { type filter hook forward \
             priority 0; policy drop; }");
        let before = nft("list table ip filter");
        host.network("n");
        host.networks().rebuild_firewall();
        assert_eq!(nft("list table ip filter"), before);
        let warnings = host.networks().warnings();
        assert!(
            warnings.iter().any(|it| it.contains("ip filter FORWARD")),
            "{warnings:?}"
        );
        host.networks().close().unwrap();
        assert_eq!(nft("list table ip filter"), before);
        assert!(!nft("list ruleset").contains("skiff"));
    });
}

#[test]
fn a_table_that_somebody_flushed_is_made_again() {
    in_new_network("flushed table", |host| {
        host.networks().firewall.remove().unwrap();
        let mut request = host.request("a", "bridge");
        let binding =
            PortBinding { host_ip: String::new(), host_port: "8080".into() };
        request.ports = PortMap::from([("80/tcp".into(), Some(vec![binding]))]);
        host.networks().attach(request).unwrap();
        host.serve("a", 80);
        // By the rules: the forwarder would show the gateway's address.
        let got = ask("198.51.100.9:8080");
        assert_eq!(got.as_deref(), Some("a 198.51.100.9"));
        host.networks().firewall.remove().unwrap();
        host.networks().leave(&id("a")).unwrap();
    });
}
