//! What goes on while the network changes below it.

use std::net::Ipv4Addr;
use std::process::Command;

use super::*;

/// Speaks without end on port 80.
const TALKER: &str = "exec busybox nc -ll -p 80 -e busybox yes";

/// A stream that must never pause for long, nor end.
struct Stream(TcpStream);

impl Stream {
    fn open(address: &str) -> Stream {
        for _ in 0..100 {
            if let Ok(it) = TcpStream::connect(address) {
                it.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                let mut stream = Stream(it);
                // Held by the engine, perhaps not served yet.
                if stream.0.read(&mut [0]).is_ok_and(|it| it == 1) {
                    return stream;
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("nobody speaks at {address}");
    }

    fn flows_on(&mut self, when: &str) {
        let mut piece = vec![0; 8 << 20];
        self.0.read_exact(&mut piece).expect(when);
        assert!(piece.iter().all(|it| b"y\n".contains(it)), "{when}");
    }
}

/// An address that the host has beside its loopback.
fn uplink() -> Ipv4Addr {
    for line in [
        // Any kind of link would do; some kernels have no dummies.
        "link add uplink type bridge",
        "address add 198.51.100.9/24 dev uplink",
        "link set uplink up",
    ] {
        let done = Command::new("ip").args(line.split(' ')).status();
        assert!(done.is_ok_and(|it| it.success()), "ip {line}");
    }
    Ipv4Addr::new(198, 51, 100, 9)
}

#[tokio::test]
async fn a_stream_through_a_published_port_outlives_a_killed_daemon() {
    let Some(mut daemon) =
        Daemon::start_in_own_network("a stream and a killed daemon").await
    else {
        return;
    };
    let host = uplink();
    daemon.run("talker", on("bridge", TALKER, Some(8080))).await;
    let mut streams =
        [Stream::open(&format!("{host}:8080")), Stream::open("127.0.0.1:8080")];
    for stream in &mut streams {
        stream.flows_on("before");
    }
    daemon.kill();
    for stream in &mut streams {
        stream.flows_on("without a daemon");
    }
    let mut new = Stream::open("127.0.0.1:8080");
    new.flows_on("begun without a daemon");
    daemon.restart();
    for stream in &mut streams {
        stream.flows_on("with the next daemon");
    }
    new.flows_on("with the next daemon");
    drop((streams, new));
    daemon.remove("talker").await;
}

#[tokio::test]
async fn other_networks_come_and_go_without_a_stream_noticing() {
    let Some(daemon) =
        Daemon::start_in_own_network("connect under traffic").await
    else {
        return;
    };
    uplink();
    daemon.network("one").await;
    daemon.network("two").await;
    daemon.run("talker", on("one", TALKER, Some(8080))).await;
    let mut stream = Stream::open("198.51.100.9:8080");
    for _ in 0..10 {
        daemon.connect("two", "talker").await;
        stream.flows_on("after a connect");
        daemon.disconnect("two", "talker").await;
        stream.flows_on("after a disconnect");
    }
    // The network that it came by goes; the port moves to the other one.
    daemon.connect("two", "talker").await;
    daemon.disconnect("one", "talker").await;
    Stream::open("198.51.100.9:8080").flows_on("by the other network");
    drop(stream);
    daemon.remove("talker").await;
}

#[tokio::test]
async fn an_alias_of_three_containers_is_served_by_each_in_turn() {
    let Some(daemon) = Daemon::start_in_own_network("round robin").await else {
        return;
    };
    daemon.network("one").await;
    let mut ids = Vec::new();
    for name in ["web1", "web2", "web3"] {
        let mut body = on("one", WEB, None);
        let settings = bollard::models::EndpointSettings {
            aliases: Some(vec!["web".to_owned()]),
            ..Default::default()
        };
        let ends = HashMap::from([("one".to_owned(), settings)]);
        body.networking_config = Some(bollard::models::NetworkingConfig {
            endpoints_config: Some(ends),
        });
        ids.push(daemon.run(name, body).await[..12].to_owned());
    }
    for name in ["web1", "web2", "web3"] {
        assert_eq!(daemon.says("one", &ask(name)).await.0, 0);
    }
    let line = "for i in 1 2 3 4 5 6 7 8 9; do \
                busybox wget -qO- http://web/; done";
    let said = daemon.says("one", line).await.1;
    for id in &ids {
        let turns = said.lines().filter(|it| it == id).count();
        assert!(turns >= 2, "{id} in {said}");
    }
    let address = daemon.address("web1", "one").await;
    let line = format!("busybox nslookup {address}");
    let said = daemon.says("one", &line).await.1;
    assert!(said.contains("web1.one"), "{said}");
    for name in ["web1", "web2", "web3"] {
        daemon.remove(name).await;
    }
}

#[tokio::test]
async fn a_containers_files_and_mtu_are_those_of_its_network() {
    let Some(daemon) = Daemon::start_in_own_network("hosts and MTU").await
    else {
        return;
    };
    let mtu = ("com.docker.network.driver.mtu".to_owned(), "1400".to_owned());
    let wanted = NetworkCreateRequest {
        name: "narrow".to_owned(),
        options: Some(HashMap::from([mtu])),
        ..NetworkCreateRequest::default()
    };
    daemon.docker.create_network(wanted).await.unwrap();
    let line = "cat /sys/class/net/eth0/mtu; cat /etc/hosts; exec sleep 99";
    let mut body = on("narrow", line, None);
    body.host_config.as_mut().unwrap().extra_hosts =
        Some(vec!["outside:host-gateway".to_owned()]);
    let id = daemon.run("inner", body).await;
    daemon
        .until("hosts", async |it| it.logs("inner").await.contains(&id[..12]))
        .await;
    let said = daemon.logs("inner").await;
    assert!(said.starts_with("1400\n"), "{said}");
    let address = daemon.address("inner", "narrow").await;
    let gateway = address.rsplit_once('.').unwrap().0.to_owned() + ".1";
    assert!(said.contains(&format!("{gateway}\toutside\n")), "{said}");
    assert!(said.contains(&format!("{address}\t{}\n", &id[..12])), "{said}");

    daemon.network("more").await;
    daemon.connect("more", "inner").await;
    let more = daemon.address("inner", "more").await;
    let hosts = async |it: &Daemon| {
        it.says("container:inner", "cat /etc/hosts").await.1
    };
    assert!(hosts(&daemon).await.contains(&more));
    daemon.disconnect("more", "inner").await;
    assert!(!hosts(&daemon).await.contains(&more));
    daemon.remove("inner").await;
}

#[tokio::test]
async fn a_port_that_is_taken_leaves_no_trace_of_the_container() {
    let Some(daemon) = Daemon::start_in_own_network("a taken port").await
    else {
        return;
    };
    daemon.run("web", on("bridge", WEB, Some(8080))).await;
    let before = cables();
    daemon.create("late", on("bridge", WEB, Some(8080))).await;
    let error = daemon.docker.start_container("late", None).await;
    let error = error.unwrap_err().to_string();
    let want = "driver failed programming external connectivity on endpoint \
                late: Bind for 0.0.0.0:8080 failed: port is already allocated";
    assert!(error.contains(want), "{error}");
    daemon.until("nothing left", async |_| cables() == before).await;
    assert!(fetch("127.0.0.1:8080").is_some(), "the first one serves on");
    daemon.remove("late").await;
    daemon.remove("web").await;
}

/// The veth pairs' ends on the host.
fn cables() -> Vec<String> {
    let mut names = links();
    names.retain(|it| it.starts_with("veth"));
    names
}
