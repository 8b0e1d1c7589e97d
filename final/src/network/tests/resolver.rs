//! Names, as containers of user networks see them.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, QCLASS, QTYPE, Question, TYPE};

use super::*;

/// What the resolver of the calling namespace says.
fn resolve(name: &str, kind: TYPE) -> Result<Vec<String>, String> {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut query = Packet::new_query(7);
    let class = QCLASS::CLASS(CLASS::IN);
    let name = Name::new_unchecked(name);
    let question = Question::new(name, QTYPE::TYPE(kind), class, false);
    query.questions.push(question);
    let query = query.build_bytes_vec().unwrap();
    socket.send_to(&query, "127.0.0.11:53").unwrap();
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).map_err(|it| it.to_string())?;
    let reply = Packet::parse(&buffer[..length]).unwrap();
    if reply.rcode() != simple_dns::RCODE::NoError {
        return Err(format!("{:?}", reply.rcode()));
    }
    let texts = reply.answers.iter().map(|it| match &it.rdata {
        RData::A(it) => Ipv4Addr::from(it.address).to_string(),
        RData::PTR(it) => it.0.to_string(),
        other => format!("{other:?}"),
    });
    Ok(texts.collect())
}

#[test]
fn containers_of_a_user_network_find_each_other_by_name() {
    in_new_network("names", |host| {
        host.network("mynet");
        host.network("hidden");
        let mut request = host.request("web", "mynet");
        let aliases = Some(vec!["www".to_owned()]);
        let settings =
            EndpointSettings { aliases, ..EndpointSettings::default() };
        request.networks.insert("mynet".into(), settings.clone());
        host.networks().attach(request).unwrap();
        host.attach("db", "mynet");
        host.attach("secret", "hidden");
        let from = |who: &str, name: &str, kind| {
            host.inside(who, || resolve(name, kind))
        };
        let address = Ok(vec!["172.18.0.2".to_owned()]);
        for name in ["web", "WWW", "web.mynet", &id("web")[..12]] {
            assert_eq!(from("db", name, TYPE::A), address, "{name}");
        }
        assert_eq!(from("db", "web", TYPE::AAAA), Ok(vec![]));
        let back = from("db", "2.0.18.172.in-addr.arpa", TYPE::PTR);
        assert_eq!(back, Ok(vec!["web.mynet".into()]));
        assert!(from("secret", "web", TYPE::A).is_err(), "other network");
        let text = host.file("db", "resolv.conf");
        assert!(text.contains("nameserver 127.0.0.11\n"), "{text}");
        // Round robin over containers with one alias.
        let mut request = host.request("web2", "mynet");
        request.networks.insert("mynet".into(), settings);
        host.networks().attach(request).unwrap();
        let one = from("db", "www", TYPE::A).unwrap();
        let other = from("db", "www", TYPE::A).unwrap();
        assert_eq!(one.len(), 2);
        assert_ne!(one[0], other[0]);
        host.networks().rename(&id("web"), "front").unwrap();
        assert_eq!(from("db", "front", TYPE::A), address);
        for name in ["web", "web2", "db", "secret"] {
            host.networks().leave(&id(name)).unwrap();
        }
    });
}

#[test]
fn other_names_are_asked_of_the_hosts_resolver() {
    in_new_network("forwarding", |host| {
        host.network("n");
        // A name server on the host's loopback, which no container reaches.
        let server = UdpSocket::bind("127.0.0.1:53").unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((length, from)) = server.recv_from(&mut buffer) {
                let query = Packet::parse(&buffer[..length]).unwrap();
                let mut reply = Packet::new_reply(query.id());
                reply.questions = query.questions.clone();
                let name = query.questions[0].qname.clone();
                let address = Ipv4Addr::new(192, 0, 2, 1);
                let data = RData::A(address.into());
                let record =
                    simple_dns::ResourceRecord::new(name, CLASS::IN, 1, data);
                reply.answers.push(record);
                let reply = reply.build_bytes_vec().unwrap();
                let _ = server.send_to(&reply, from);
            }
        });
        let mut request = host.request("a", "n");
        request.dns = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
        host.networks().attach(request).unwrap();
        let got = host.inside("a", || resolve("debian.org", TYPE::A));
        assert_eq!(got, Ok(vec!["192.0.2.1".into()]));
        host.networks().leave(&id("a")).unwrap();
    });
}

#[test]
fn port_53_stays_free_for_a_name_server_in_the_container() {
    in_new_network("port 53", |host| {
        host.network("n");
        host.attach("a", "n");
        host.inside("a", || {
            let _own = UdpSocket::bind("0.0.0.0:53").unwrap();
            let _own = TcpListener::bind("0.0.0.0:53").unwrap();
            let got = resolve("a", TYPE::A);
            assert_eq!(got, Ok(vec!["172.18.0.2".into()]));
            // Over TCP.
            let mut stream = TcpStream::connect("127.0.0.11:53").unwrap();
            let mut query = Packet::new_query(7);
            let class = QCLASS::CLASS(CLASS::IN);
            let name = Name::new_unchecked("a");
            let kind = QTYPE::TYPE(TYPE::A);
            query.questions.push(Question::new(name, kind, class, false));
            let query = query.build_bytes_vec().unwrap();
            let length = query.len() as u16;
            stream.write_all(&length.to_be_bytes()).unwrap();
            stream.write_all(&query).unwrap();
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut reply = vec![0; u16::from_be_bytes(length).into()];
            stream.read_exact(&mut reply).unwrap();
            assert_eq!(Packet::parse(&reply).unwrap().answers.len(), 1);
        });
        host.networks().leave(&id("a")).unwrap();
    });
}

#[test]
fn names_survive_the_death_of_the_daemon() {
    in_new_network("names after a restart", |host| {
        host.network("n");
        host.attach("a", "n");
        host.attach("b", "n");
        let ids = [id("a"), id("b")];
        host.restart_with(&[&ids[0], &ids[1]]);
        let got = host.inside("a", || resolve("b", TYPE::A));
        assert_eq!(got, Ok(vec!["172.18.0.3".into()]));
        host.networks().leave(&id("a")).unwrap();
        host.networks().leave(&id("b")).unwrap();
    });
}

#[test]
fn hosts_has_the_own_name_extra_hosts_and_links() {
    in_new_network("hosts", |host| {
        host.attach("db", "bridge");
        let mut request = host.request("web", "bridge");
        request.domainname = "example.org".into();
        request.links = vec![(id("db"), "database".into())];
        request.extra_hosts =
            vec!["up:host-gateway".into(), "six:2001:db8::1".into()];
        host.networks().attach(request).unwrap();
        insta::assert_snapshot!(host.file("web", "hosts"), @r"
        127.0.0.1	localhost
        ::1	localhost ip6-localhost ip6-loopback
        fe00::	ip6-localnet
        ff00::	ip6-mcastprefix
        ff02::1	ip6-allnodes
        ff02::2	ip6-allrouters
        172.17.0.1	up
        2001:db8::1	six
        172.17.0.2	database db
        172.17.0.3	web.example.org web
        ");
        let hosts = |host: &Host| host.file("web", "hosts");
        host.networks().rename(&id("db"), "store").unwrap();
        assert!(hosts(host).contains("172.17.0.2\tdatabase db store\n"));
        host.networks().disconnect(&id("db"), "bridge").unwrap();
        assert!(!hosts(host).contains("database"));
        let again = EndpointSettings::default();
        host.networks().connect(&id("db"), "bridge", again).unwrap();
        assert!(hosts(host).contains("database"));
        host.networks().leave(&id("db")).unwrap();
        assert!(!hosts(host).contains("database"));
        host.networks().leave(&id("web")).unwrap();
    });
}
