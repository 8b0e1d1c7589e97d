//! Published ports, from every side.

use std::net::UdpSocket;

use super::*;

fn publish(
    host: &Host,
    name: &str,
    mode: &str,
    port: &str,
    ip: &str,
    at: &str,
) -> Result<Attached, Error> {
    let mut request = host.request(name, mode);
    let binding = PortBinding { host_ip: ip.into(), host_port: at.into() };
    request.ports = PortMap::from([(port.into(), Some(vec![binding]))]);
    host.networks().attach(request)
}

#[test]
fn a_published_port_is_reached_from_everywhere_with_the_source_kept() {
    in_new_network("published port", |host| {
        let outside = Outside::new(7);
        let got = publish(host, "web", "bridge", "80/tcp", "", "8080").unwrap();
        let bindings = got.ports["80/tcp"].as_ref().unwrap();
        let shown: Vec<_> =
            bindings.iter().map(|it| it.host_ip.as_str()).collect();
        assert_eq!(shown, ["0.0.0.0", "::"]);
        host.network("other");
        host.attach("near", "bridge");
        host.attach("far", "other");
        host.serve("web", 80);
        let by = |it: &str| ask(it).unwrap_or_default();
        assert_eq!(by("127.0.0.1:8080"), "web 172.17.0.1");
        assert_eq!(by("198.51.100.9:8080"), "web 198.51.100.9");
        assert_eq!(by("[::1]:8080"), "web 172.17.0.1");
        assert_eq!(by("[2001:db8::9]:8080"), "web 172.17.0.1");
        let got = outside.inside(|| ask("198.51.100.9:8080"));
        assert_eq!(got.as_deref(), Some("web 198.51.100.7"));
        for name in ["near", "far", "web"] {
            let got = host.inside(name, || ask("198.51.100.9:8080"));
            assert!(got.is_some(), "hairpin from {name}");
            let got = host.inside(name, || ask("172.17.0.1:8080"));
            assert!(got.is_some(), "by the gateway from {name}");
        }
        for name in ["near", "far", "web"] {
            host.networks().leave(&id(name)).unwrap();
        }
        assert_eq!(ask("127.0.0.1:8080"), None);
    });
}

#[test]
fn a_port_on_the_loopback_is_for_this_host_only() {
    in_new_network("loopback port", |host| {
        let outside = Outside::new(7);
        let ip = "127.0.0.1";
        publish(host, "web", "bridge", "80/tcp", ip, "8080").unwrap();
        host.serve("web", 80);
        assert!(ask("127.0.0.1:8080").is_some());
        assert_eq!(ask("198.51.100.9:8080"), None);
        let got = outside.inside(|| {
            // A neighbour that sends packets for 127.0.0.1 to us.
            netns::sysctl("ipv4/conf/all/route_localnet", "1").unwrap();
            ask("198.51.100.9:8080")
        });
        assert_eq!(got, None);
        host.networks().leave(&id("web")).unwrap();
    });
}

#[test]
fn udp_ports_are_rewritten_both_ways() {
    in_new_network("UDP", |host| {
        publish(host, "dns", "bridge", "53/udp", "", "5300").unwrap();
        let server =
            host.inside("dns", || UdpSocket::bind("0.0.0.0:53").unwrap());
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((length, from)) = server.recv_from(&mut buffer) {
                let _ = server.send_to(&buffer[..length], from);
            }
        });
        for to in ["127.0.0.1:5300", "198.51.100.9:5300", "[::1]:5300"] {
            let any = if to.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
            let client = UdpSocket::bind(any).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
            client.connect(to).unwrap();
            client.send(b"hello").unwrap();
            let mut buffer = [0; 64];
            let length = client.recv(&mut buffer).expect(to);
            assert_eq!(&buffer[..length], b"hello");
        }
        host.networks().leave(&id("dns")).unwrap();
    });
}

/// Answers every datagram with the container's name.
fn serve_udp(host: &Host, name: &'static str, port: u16) {
    let server =
        host.inside(name, || UdpSocket::bind(("0.0.0.0", port)).unwrap());
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, from)) = server.recv_from(&mut buffer) {
            let _ = server.send_to(name.as_bytes(), from);
        }
    });
}

#[test]
fn a_udp_client_that_never_stops_finds_the_next_container() {
    in_new_network("UDP after a restart", |host| {
        let client = UdpSocket::bind("0.0.0.0:0").unwrap();
        let patience = Some(Duration::from_millis(300));
        client.set_read_timeout(patience).unwrap();
        let ask = || {
            let mut buffer = [0; 64];
            let to = "198.51.100.9:5300";
            for _ in 0..3 {
                let _ = client.send_to(b"hello", to);
                if let Ok((length, _)) = client.recv_from(&mut buffer) {
                    let name = &buffer[..length];
                    return String::from_utf8(name.to_vec()).ok();
                }
            }
            None
        };
        // A first ARP request may be lost while a cable comes up, and the
        // kernel asks again after a second only (arp(7)).
        let answer = || (0..5).find_map(|_| ask());
        host.network("n");
        assert_eq!(ask(), None);
        publish(host, "one", "n", "53/udp", "", "5300").unwrap();
        serve_udp(host, "one", 53);
        assert_eq!(answer().as_deref(), Some("one"));
        host.attach("between", "n");
        host.networks().leave(&id("one")).unwrap();
        assert_eq!(ask(), None);
        publish(host, "two", "bridge", "53/udp", "", "5300").unwrap();
        serve_udp(host, "two", 53);
        assert_eq!(answer().as_deref(), Some("two"));
        host.networks().leave(&id("two")).unwrap();
        host.networks().leave(&id("between")).unwrap();
    });
}

#[test]
fn a_udp_port_is_free_again_although_a_client_came_by_the_forwarder() {
    in_new_network("UDP through the forwarder", |host| {
        let client = UdpSocket::bind("[::1]:0").unwrap();
        let patience = Some(Duration::from_millis(300));
        client.set_read_timeout(patience).unwrap();
        for _ in 0..3 {
            publish(host, "a", "bridge", "53/udp", "", "5300").unwrap();
            serve_udp(host, "a", 53);
            let answered = (0..10).any(|_| {
                client.send_to(b"hello", "[::1]:5300").unwrap();
                client.recv(&mut [0; 8]).is_ok()
            });
            assert!(answered);
            host.networks().leave(&id("a")).unwrap();
        }
    });
}

#[test]
fn a_port_in_use_is_refused_in_dockers_words_and_leaves_nothing() {
    in_new_network("port in use", |host| {
        let before = links();
        let strangers = TcpListener::bind("0.0.0.0:9000").unwrap();
        let error = publish(host, "a", "bridge", "80/tcp", "", "9000");
        assert_eq!(
            error.unwrap_err().to_string(),
            "driver failed programming external connectivity on endpoint \
             a: Bind for 0.0.0.0:9000 failed: address already in use"
        );
        drop(strangers);
        publish(host, "a", "bridge", "80/tcp", "", "9000").unwrap();
        let ip = "127.0.0.1";
        let error = publish(host, "b", "bridge", "80/tcp", ip, "9000");
        assert_eq!(
            error.unwrap_err().to_string(),
            "driver failed programming external connectivity on endpoint \
             b: Bind for 127.0.0.1:9000 failed: port is already allocated"
        );
        assert!(TcpListener::bind("127.0.0.1:9000").is_err());
        host.networks().leave(&id("a")).unwrap();
        TcpListener::bind("0.0.0.0:9000").unwrap();
        host.networks().settle();
        assert_eq!(links(), before);
    });
}

#[test]
fn a_range_gives_the_first_free_port_and_none_gives_any() {
    in_new_network("port ranges", |host| {
        let port = |it: &Attached| {
            let all = it.ports["80/tcp"].as_ref().unwrap();
            all[0].host_port.clone()
        };
        let at = "9000-9002";
        let a = publish(host, "a", "bridge", "80/tcp", "", at).unwrap();
        let b = publish(host, "b", "bridge", "80/tcp", "", at).unwrap();
        assert_eq!((port(&a), port(&b)), ("9000".into(), "9001".into()));
        let c = publish(host, "c", "bridge", "80/tcp", "", "").unwrap();
        assert!(port(&c).parse::<u16>().unwrap() > 1024);
        for name in ["a", "b", "c"] {
            host.networks().leave(&id(name)).unwrap();
        }
    });
}

#[test]
fn without_nf_tables_the_forwarder_carries_published_ports() {
    in_new_network("forwarder", |host| {
        // As if the kernel had refused the table.
        host.networks().firewall.disable("no nf_tables in this test");
        publish(host, "web", "bridge", "80/tcp", "", "8080").unwrap();
        host.serve("web", 80);
        assert!(ask("127.0.0.1:8080").is_some());
        assert!(ask("198.51.100.9:8080").is_some());
        let warnings = host.networks().warnings();
        assert!(warnings[0].contains("forwarder"), "{warnings:?}");
        host.networks().leave(&id("web")).unwrap();
    });
}
