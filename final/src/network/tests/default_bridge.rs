//! What the default network is: `--bridge`, `--ip`, `--icc`, and where it
//! goes when its subnet is somebody else's.

use super::*;

#[test]
fn without_a_default_bridge_containers_have_their_loopback_alone() {
    in_new_network("--bridge none", |host| {
        host.restart_as(&[], |it| it.bridge = DefaultBridge::None);
        let names: Vec<String> =
            host.networks().list().into_iter().map(|it| it.name).collect();
        assert_eq!(names, ["host", "none"]);
        for mode in ["default", "bridge"] {
            host.attach("a", mode);
            assert_eq!(host.inside("a", links), ["lo"]);
        }
        host.network("n");
        host.attach("b", "n");
        assert_eq!(host.inside("b", links), ["eth0", "lo"]);
        host.networks().leave(&id("a")).unwrap();
        host.networks().leave(&id("b")).unwrap();
        host.restart();
        assert!(host.networks().inspect("bridge").is_ok());
    });
}

#[test]
fn a_bridge_of_the_hosts_is_used_with_its_address_and_left_alone() {
    in_new_network("--bridge NAME", |host| {
        host.networks().close().unwrap();
        let mut route = Route::open().unwrap();
        let index = route.bridge("br0", [2, 0, 0, 0, 0, 7], None).unwrap();
        let own = "10.7.0.1/24".parse().unwrap();
        route.configure((index, "br0"), &[own], &[]).unwrap();
        let theirs = DefaultBridge::Theirs("br0".into());
        host.restart_as(&[], |it| it.bridge = theirs);
        let a = host.attach("a", "bridge").endpoints["bridge"].clone();
        assert_eq!((&*a.gateway, &*a.ip_address), ("10.7.0.1", "10.7.0.2"));
        host.serve("a", 80);
        assert!(ask("10.7.0.2:80").is_some());
        host.networks().leave(&id("a")).unwrap();
        host.networks().close().unwrap();
        assert!(links().contains(&"br0".to_owned()));
    });
}

#[test]
fn a_bridge_that_is_not_there_is_an_error_in_dockers_words() {
    in_new_network("--bridge missing", |host| {
        host.networks().close().unwrap();
        let dir = host.dir("other");
        let mut options = Options::new(dir.join("data"), dir.join("run"));
        options.bridge = DefaultBridge::Theirs("br9".into());
        let error = Networks::open(options).unwrap_err();
        assert_eq!(
            error.to_string(),
            "bridge device with non default name br9 must be created manually"
        );
    });
}

#[test]
fn ports_without_an_address_go_where_the_daemon_says() {
    in_new_network("--ip", |host| {
        let only = "198.51.100.9".parse().unwrap();
        host.restart_as(&[], |it| it.host_binding = Some(only));
        let mut request = host.request("a", "bridge");
        let binding =
            PortBinding { host_ip: String::new(), host_port: "8080".into() };
        request.ports = PortMap::from([("80/tcp".into(), Some(vec![binding]))]);
        host.networks().attach(request).unwrap();
        host.serve("a", 80);
        assert!(ask("198.51.100.9:8080").is_some());
        assert_eq!(ask("127.0.0.1:8080"), None);
        host.networks().leave(&id("a")).unwrap();
    });
}

#[test]
fn of_two_engines_with_the_same_subnets_the_second_moves_or_says_why() {
    in_new_network("two engines", |host| {
        host.network("mine");
        host.networks().close().unwrap();
        // While this engine is down, another one takes what it finds free.
        let dir = host.dir("other");
        let options = Options::new(dir.join("data"), dir.join("run"));
        let other = Networks::open(options).unwrap();
        assert!(other.restore(&[]).is_empty());
        let wanted =
            NetworkCreate { name: "theirs".into(), ..NetworkCreate::default() };
        other.create(wanted).unwrap();
        let subnet = |of: &Networks, name: &str| {
            of.inspect(name).unwrap().ipam.config[0].subnet.clone()
        };
        assert_eq!(subnet(&other, "bridge"), "172.17.0.0/16");
        assert_eq!(subnet(&other, "theirs"), "172.18.0.0/16");

        host.restart();
        // Nobody knows the default bridge's subnet by heart.
        assert_eq!(subnet(host.networks(), "bridge"), "172.19.0.0/16");
        host.attach("a", "bridge");
        // A network that a user has made stays what it was.
        let request = host.request("b", "mine");
        let error = host.networks().attach(request).unwrap_err();
        assert_eq!(
            error.to_string(),
            "network mine cannot have its subnet 172.18.0.0/16: this host \
             has a route to 172.18.0.0/16 already, perhaps another engine's \
             or a VPN's; see `ip route`, and make the network anew with \
             another --subnet"
        );
        host.networks().leave(&id("a")).unwrap();
        other.close().unwrap();
        host.attach("b", "mine");
        host.networks().leave(&id("b")).unwrap();
    });
}
