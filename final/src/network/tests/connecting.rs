//! Addresses, links, routes and files of connected containers.

use super::*;

#[test]
fn containers_of_the_default_bridge_reach_each_other_and_leave_nothing() {
    in_new_network("default bridge", |host| {
        let attached = host.attach("a", "default");
        assert!(matches!(attached.namespace, Namespace::Path(_)));
        let end = &attached.endpoints["bridge"];
        assert_eq!(end.ip_address, "172.17.0.2");
        assert_eq!(end.gateway, "172.17.0.1");
        assert_eq!(end.mac_address, "02:42:ac:11:00:02");
        let b = host.attach("b", "bridge");
        assert_eq!(b.endpoints["bridge"].ip_address, "172.17.0.3");
        host.serve("a", 80);
        let got = host.inside("b", || ask("172.17.0.2:80"));
        assert_eq!(got.as_deref(), Some("a 172.17.0.3"));
        assert_eq!(ask("172.17.0.2:80").as_deref(), Some("a 172.17.0.1"));
        host.networks().leave(&id("a")).unwrap();
        host.networks().leave(&id("b")).unwrap();
        host.networks().settle();
        let bridge = &host.networks().bridge;
        let names = links();
        assert!(names.contains(bridge), "{names:?}");
        assert!(!names.iter().any(|it| it.starts_with("veth")), "{names:?}");
        host.networks().close().unwrap();
        assert!(!links().contains(bridge));
    });
}

#[test]
fn a_container_reaches_other_machines_under_the_hosts_address() {
    in_new_network("outbound NAT", |host| {
        let outside = Outside::new(7);
        let listener =
            outside.inside(|| TcpListener::bind("198.51.100.7:80").unwrap());
        host.attach("a", "bridge");
        let client =
            host.inside("a", || TcpStream::connect("198.51.100.7:80").unwrap());
        let (_, from) = listener.accept().unwrap();
        assert_eq!(from.ip().to_string(), "198.51.100.9");
        drop(client);
        host.networks().leave(&id("a")).unwrap();
    });
}

#[test]
fn host_none_and_container_modes_need_no_cable() {
    in_new_network("modes", |host| {
        let attached = host.attach("h", "host");
        assert_eq!(attached.namespace, Namespace::Host);
        assert!(attached.endpoints.contains_key("host"));
        let attached = host.attach("n", "none");
        assert!(attached.endpoints.contains_key("none"));
        assert_eq!(host.inside("n", links), ["lo"]);
        let attached = host.attach("c", "container:abc");
        assert_eq!(attached.namespace, Namespace::Container("abc".into()));
        host.networks().leave(&id("n")).unwrap();
    });
}

#[test]
fn a_network_has_the_subnet_gateway_and_range_it_was_given() {
    in_new_network("IPAM", |host| {
        let wanted: NetworkCreate = serde_json::from_str(
            r#"{"Name": "n", "IPAM": {"Config": [{
                "Subnet": "10.9.0.0/24", "IPRange": "10.9.0.128/25",
                "Gateway": "10.9.0.254",
                "AuxiliaryAddresses": {"x": "10.9.0.128"}}]},
                "Options": {"com.docker.network.driver.mtu": "1400"}}"#,
        )
        .unwrap();
        host.networks().create(wanted).unwrap();
        let end = host.attach("a", "n").endpoints["n"].clone();
        assert_eq!(end.ip_address, "10.9.0.129");
        assert_eq!(end.gateway, "10.9.0.254");
        let mtu = host.inside("a", || {
            std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
            netns::read_sysctl("ipv6/conf/eth0/mtu")
        });
        assert_eq!(mtu.as_deref(), Some("1400"));
        let mut request = host.request("b", "n");
        let settings = EndpointSettings {
            ipam_config: Some(EndpointIpam {
                ipv4_address: "10.9.0.7".into(),
                ..EndpointIpam::default()
            }),
            mac_address: "02:00:00:00:00:07".into(),
            ..EndpointSettings::default()
        };
        request.networks.insert("n".into(), settings.clone());
        let got = host.networks().attach(request).unwrap();
        assert_eq!(got.endpoints["n"].ip_address, "10.9.0.7");
        assert_eq!(got.endpoints["n"].mac_address, "02:00:00:00:00:07");
        let mut request = host.request("c", "n");
        request.networks.insert("n".into(), settings);
        let error = host.networks().attach(request).unwrap_err();
        assert_eq!(error.to_string(), "Address already in use (10.9.0.7)");
        host.networks().leave(&id("a")).unwrap();
        host.networks().leave(&id("b")).unwrap();
    });
}

#[test]
fn ipv6_networks_give_both_addresses_at_once() {
    in_new_network("IPv6", |host| {
        let wanted = NetworkCreate {
            name: "six".into(),
            enable_ipv6: Some(true),
            ..NetworkCreate::default()
        };
        host.networks().create(wanted).unwrap();
        let a = host.attach("a", "six").endpoints["six"].clone();
        host.attach("b", "six");
        host.serve("a", 80);
        assert!(a.global_ipv6_address.starts_with("fd"), "{a:?}");
        let to = format!("[{}]:80", a.global_ipv6_address);
        let got = host.inside("b", || ask(&to)).unwrap();
        assert!(got.starts_with("a fd"), "{got}");
        assert!(ask(&to).is_some());
        host.networks().leave(&id("a")).unwrap();
        host.networks().leave(&id("b")).unwrap();
    });
}

#[test]
fn connect_and_disconnect_move_the_default_route_and_the_files() {
    in_new_network("connect", |host| {
        host.network("one");
        host.network("two");
        host.attach("a", "bridge");
        host.attach("peer", "two");
        host.serve("peer", 80);
        let route = |name: &str| {
            let text = host.inside(name, || {
                std::fs::read_to_string("/proc/thread-self/net/route").unwrap()
            });
            let default = |it: &&str| it.split('\t').nth(1) == Some("00000000");
            let lines = text.lines().filter(default);
            lines
                .filter_map(|it| it.split('\t').next())
                .collect::<Vec<_>>()
                .join(",")
        };
        let networks = host.networks();
        assert!(!host.file("a", "resolv.conf").contains("127.0.0.11"));
        assert_eq!(route("a"), "eth0");
        let settings =
            EndpointSettings { gw_priority: 5, ..EndpointSettings::default() };
        let got = networks.connect(&id("a"), "two", settings).unwrap();
        assert_eq!(got.ip_address, "172.19.0.3");
        assert_eq!(route("a"), "eth1");
        assert!(host.file("a", "resolv.conf").contains("127.0.0.11"));
        assert!(host.file("a", "hosts").contains("172.19.0.3\ta"));
        let got = host.inside("a", || ask("172.19.0.2:80"));
        assert_eq!(got.as_deref(), Some("peer 172.19.0.3"));
        let again =
            networks.connect(&id("a"), "two", EndpointSettings::default());
        assert_eq!(
            again.unwrap_err().to_string(),
            "endpoint with name a already exists in network two"
        );
        networks.disconnect(&id("a"), "two").unwrap();
        assert_eq!(route("a"), "eth0");
        assert_eq!(host.inside("a", links), ["eth0", "lo"]);
        let error = networks.disconnect(&id("a"), "two").unwrap_err();
        assert!(error.to_string().contains("is not connected to"), "{error}");
        networks.leave(&id("a")).unwrap();
        networks.leave(&id("peer")).unwrap();
    });
}

#[test]
fn networks_that_are_wrong_or_used_are_refused_in_dockers_words() {
    in_new_network("refusals", |host| {
        let networks = host.networks();
        let create = |json: &str| {
            let wanted = serde_json::from_str(json).unwrap();
            let error = networks.create(wanted).unwrap_err();
            (error.status(), error.to_string())
        };
        let mut said = vec![
            create(r#"{"Name": "bridge"}"#),
            create(r#"{"Name": " "}"#),
            create(r#"{"Name": "x", "Driver": "overlay"}"#),
            create(r#"{"Name": "x", "Driver": "host"}"#),
            create(
                r#"{"Name": "x", "IPAM": {"Config": [{"Subnet": "1.2.3"}]}}"#,
            ),
            create(
                r#"{"Name": "x", "IPAM": {"Config":
                    [{"Subnet": "172.17.9.0/24"}]}}"#,
            ),
        ];
        host.network("used");
        host.attach("a", "used");
        said.push(create(r#"{"Name": "used"}"#));
        let other = |error: Error| (error.status(), error.to_string());
        said.push(other(networks.remove("none").unwrap_err()));
        said.push(other(networks.remove("nobody").unwrap_err()));
        let (status, text) = other(networks.remove("used").unwrap_err());
        let text = text.split("id:").next().unwrap().to_owned();
        said.push((status, text.trim_end().into()));
        let said: Vec<String> = said
            .iter()
            .map(|(it, text)| format!("{it} {}", text.trim_end()))
            .collect();
        insta::assert_snapshot!(said.join("\n"), @r#"
        403 operation is not permitted on predefined bridge network
        400 invalid name:
        400 could not find plugin overlay in v1 plugin registry: this engine has the driver bridge only
        403 only one instance of "host" network is allowed
        400 invalid subnet 1.2.3
        403 invalid pool request: Pool overlaps with other one on this address space (172.17.9.0/24 and 172.17.0.0/16)
        409 network with name used already exists
        403 none is a pre-defined network and cannot be removed
        404 network nobody not found
        403 error while removing network: network used has active endpoints (name:"a"
        "#);
        networks.leave(&id("a")).unwrap();
        let pruned = networks.prune(|_| true).unwrap();
        let names: Vec<_> = pruned.iter().map(|it| &*it.name).collect();
        assert_eq!(names, ["used"]);
    });
}

#[test]
fn neighbours_learn_at_once_that_an_address_has_another_mac() {
    in_new_network("announcements", |host| {
        let wanted: NetworkCreate = serde_json::from_str(
            r#"{"Name": "n", "EnableIPv6": true, "IPAM": {"Config":
                [{"Subnet": "10.5.0.0/24"}, {"Subnet": "fd05::/64"}]}}"#,
        )
        .unwrap();
        host.networks().create(wanted).unwrap();
        host.attach("neighbour", "n");
        for (name, mac) in
            [("one", "02:00:00:00:00:01"), ("two", "02:00:00:00:00:02")]
        {
            let settings = serde_json::json!({
                "IPAMConfig":
                    {"IPv4Address": "10.5.0.9", "IPv6Address": "fd05::9"},
                "MacAddress": mac,
            });
            let settings = serde_json::from_value(settings).unwrap();
            let mut request = host.request(name, "n");
            request.networks.insert("n".into(), settings);
            let got = host.networks().attach(request).unwrap();
            assert_eq!(got.endpoints["n"].mac_address, mac);
            host.serve(name, 80);
            for to in ["10.5.0.9:80", "[fd05::9]:80"] {
                let near = host.inside("neighbour", || ask(to));
                assert!(near.is_some_and(|it| it.starts_with(name)), "{to}");
                let own = ask(to);
                assert!(own.is_some_and(|it| it.starts_with(name)), "{to}");
            }
            host.networks().leave(&id(name)).unwrap();
        }
        host.networks().leave(&id("neighbour")).unwrap();
    });
}

#[test]
fn an_address_is_free_again_for_who_asks_for_it_at_once() {
    in_new_network("recreation", |host| {
        // Room for a gateway and one container.
        let wanted: NetworkCreate = serde_json::from_str(
            r#"{"Name": "n", "IPAM": {"Config": [{"Subnet": "10.5.0.0/30"}]}}"#,
        )
        .unwrap();
        host.networks().create(wanted).unwrap();
        let ip = serde_json::json!(
            {"IPAMConfig": {"IPv4Address": "10.5.0.2"}});
        let ip: EndpointSettings = serde_json::from_value(ip).unwrap();
        for turn in 0..20 {
            let mut request = host.request(&format!("t{turn}"), "n");
            if turn % 2 == 0 {
                request.networks.insert("n".into(), ip.clone());
            }
            host.networks().attach(request).unwrap();
            host.networks().leave(&id(&format!("t{turn}"))).unwrap();
        }
        host.attach("holder", "n");
        let error = host.networks().attach(host.request("late", "n"));
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("no available IPv4 addresses"), "{error}");
        host.networks().leave(&id("holder")).unwrap();
    });
}

#[test]
fn the_default_bridge_moves_away_from_what_the_host_came_to_know() {
    in_new_network("moving bridge", |host| {
        host.networks().close().unwrap();
        let mut route = Route::open().unwrap();
        let index = route.bridge("vpn", [2, 0, 0, 0, 0, 8], None).unwrap();
        let vpn = "172.17.80.1/20".parse().unwrap();
        route.configure((index, "vpn"), &[vpn], &[]).unwrap();
        host.restart_with(&[]);
        let end = host.attach("a", "bridge").endpoints["bridge"].clone();
        assert_eq!(end.ip_address, "172.18.0.2");
        host.networks().leave(&id("a")).unwrap();
    });
}

#[test]
fn subnets_of_one_network_do_not_overlap_either() {
    in_new_network("IPAM", |host| {
        let wanted: NetworkCreate = serde_json::from_str(
            r#"{"Name": "n", "IPAM": {"Config": [
                {"Subnet": "10.9.0.0/24"}, {"Subnet": "10.9.0.0/25"}]}}"#,
        )
        .unwrap();
        let error = host.networks().create(wanted).unwrap_err().to_string();
        assert!(error.contains("(10.9.0.0/25 and 10.9.0.0/24)"), "{error}");
    });
}

#[test]
fn what_docker_refuses_of_a_network_is_refused() {
    in_new_network("refusals", |host| {
        let refused = |body: &str| {
            let wanted: NetworkCreate = serde_json::from_str(body).unwrap();
            host.networks().create(wanted).unwrap_err().to_string()
        };
        let mtu = r#"{"Name": "n", "Options":
            {"com.docker.network.driver.mtu": "abc"}}"#;
        assert!(refused(mtu).contains("parsing \"abc\": invalid syntax"));
        let icc = r#"{"Name": "n", "Options":
            {"com.docker.network.bridge.enable_icc": "maybe"}}"#;
        assert!(refused(icc).contains("strconv.ParseBool: parsing \"maybe\""));
        let big = r#"{"Name": "n", "Options":
            {"com.docker.network.driver.mtu": "70000"}}"#;
        assert!(refused(big).contains("70000 is not from 68 to 65535"));
        let prefix = r#"{"Name": "n", "Options":
            {"com.docker.network.container_iface_prefix": "a/b"}}"#;
        assert!(refused(prefix).contains("no interface's name"));
        let two = r#"{"Name": "n", "IPAM": {"Config": [
            {"Subnet": "10.9.0.0/24"}, {"Subnet": "10.9.1.0/24"}]}}"#;
        assert!(refused(two).contains("doesn't support multiple subnets"));
        assert!(
            refused(r#"{"Name": "n", "ConfigOnly": true}"#)
                .contains("configuration-only")
        );
        assert!(
            refused(r#"{"Name": "n", "Scope": "swarm"}"#)
                .contains("swarm is not active")
        );
        assert_eq!(host.networks().list().len(), 3);
    });
}

#[test]
fn a_network_of_both_families_leads_out_before_one_of_ipv4_alone() {
    in_new_network("dual stack", |host| {
        let wanted = NetworkCreate {
            name: "z".into(),
            enable_ipv6: Some(true),
            ..NetworkCreate::default()
        };
        host.networks().create(wanted).unwrap();
        host.network("a");
        host.attach("c", "z");
        let settings =
            EndpointSettings { gw_priority: 9, ..EndpointSettings::default() };
        host.networks().connect(&id("c"), "a", settings).unwrap();
        let routes = host.inside("c", || {
            let read = |it: &str| std::fs::read_to_string(it).unwrap();
            let v4 = read("/proc/thread-self/net/route");
            let v6 = read("/proc/thread-self/net/ipv6_route");
            let default4 = v4.lines().find(|it| it.contains("\t00000000\t"));
            let zero = "0".repeat(32) + " 00 ";
            let default6 = v6
                .lines()
                .find(|it| it.starts_with(&zero) && it.ends_with("eth0"));
            (default4.map(str::to_owned), default6.is_some())
        });
        assert!(routes.0.unwrap().starts_with("eth0\t"));
        assert!(routes.1, "the IPv6 default route");
        host.networks().leave(&id("c")).unwrap();
    });
}

#[test]
fn everybody_in_a_container_may_listen_below_1024_and_ping() {
    in_new_network("sysctls", |host| {
        host.attach("a", "none");
        let read = |name: &'static str| {
            host.inside("a", || super::super::netns::read_sysctl(name))
        };
        let ports = read("ipv4/ip_unprivileged_port_start");
        assert_eq!(ports.as_deref(), Some("0"));
        let groups = read("ipv4/ping_group_range").unwrap();
        assert_eq!(
            groups.split_whitespace().collect::<Vec<_>>(),
            ["0", "2147483647"]
        );
        host.networks().leave(&id("a")).unwrap();
    });
}

#[test]
fn addresses_that_cannot_be_are_refused_before_anything_is_plugged() {
    in_new_network("wrong addresses", |host| {
        host.network("n");
        host.attach("a", "bridge");
        for (wish, want) in [
            (r#"{"IPv4Address": "10.1.2.3"}"#, "no configured subnet contains"),
            (r#"{"IPv6Address": "fd00::7"}"#, "no configured subnet contains"),
            (r#"{"IPv4Address": "some"}"#, "invalid IP address: some"),
            (r#"{"LinkLocalIPs": ["169.254.1.1"]}"#, "--link-local-ip"),
        ] {
            let settings = EndpointSettings {
                ipam_config: Some(serde_json::from_str(wish).unwrap()),
                ..EndpointSettings::default()
            };
            let error = host.networks().check("n", &settings).unwrap_err();
            assert!(error.to_string().contains(want), "{error}");
            let error =
                host.networks().connect(&id("a"), "n", settings).unwrap_err();
            assert!(error.to_string().contains(want), "{error}");
        }
        assert_eq!(host.inside("a", links), ["eth0", "lo"]);
        host.networks().leave(&id("a")).unwrap();
    });
}

#[test]
fn subnets_of_the_host_are_avoided() {
    in_new_network("pools", |host| {
        let mut route = Route::open().unwrap();
        let index = route.bridge("lan", [2, 0, 0, 0, 0, 8], None).unwrap();
        let lan = "172.18.3.1/24".parse().unwrap();
        route.configure((index, "lan"), &[lan], &[]).unwrap();
        let network = host.network("n");
        assert_eq!(network.ipam.config[0].subnet, "172.19.0.0/16");
    });
}

#[test]
fn a_daemon_that_was_killed_finds_its_containers_again() {
    in_new_network("restart", |host| {
        host.network("n");
        let mut request = host.request("a", "n");
        let any = PortBinding::default();
        request.ports = PortMap::from([("80/tcp".into(), Some(vec![any]))]);
        let before = host.networks().attach(request).unwrap();
        host.attach("dead", "n");
        host.serve("a", 80);
        let port = before.ports["80/tcp"].as_ref().unwrap()[0].clone();
        let to = format!("127.0.0.1:{}", port.host_port);
        assert!(ask(&to).is_some());
        host.restart_with(&[&id("a")]);
        let networks = host.networks();
        assert_eq!(networks.endpoints(&id("a")), before.endpoints);
        assert!(ask(&to).is_some());
        assert!(ask(&to.replace("127.0.0.1", "[::1]")).is_some());
        networks.settle();
        let members = networks.inspect("n").unwrap().containers;
        assert_eq!(members.len(), 1, "{members:?}");
        assert_eq!(
            host.attach("b", "n").endpoints["n"].ip_address,
            "172.18.0.3"
        );
        networks.leave(&id("a")).unwrap();
        networks.leave(&id("b")).unwrap();
        assert_eq!(ask(&to), None);
    });
}
