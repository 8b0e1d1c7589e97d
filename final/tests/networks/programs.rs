//! The programs that people run behind such networks: nginx and curl, this
//! machine's own, with its libraries mounted into the containers.

use std::net::UdpSocket;

use super::*;

/// A container with the host's programs in it.
fn with_programs(
    network: &str,
    line: &str,
    port: Option<u16>,
) -> ContainerCreateBody {
    let mut body = on(network, line, port);
    let all = ["/usr", "/lib", "/lib64"];
    let binds = all.map(|it| format!("{it}:{it}:ro")).to_vec();
    body.host_config.as_mut().unwrap().binds = Some(binds);
    body
}

/// nginx, which answers with its host name and whom it takes for its client.
const NGINX: &str = "echo 'daemon off; error_log stderr; pid /tmp/pid; \
     events {} \
     http { access_log off; client_body_temp_path /tmp/b; \
            proxy_temp_path /tmp/p; fastcgi_temp_path /tmp/f; \
            uwsgi_temp_path /tmp/u; scgi_temp_path /tmp/s; \
            server { listen 80; listen [::]:80; \
                     return 200 \"$hostname $remote_addr\"; } }' \
     >/tmp/conf; echo 'user root;' >>/tmp/conf; \
     exec /usr/sbin/nginx -c /tmp/conf";

fn curl(host: &str) -> String {
    format!(
        "/usr/bin/curl -gsS --retry 20 --retry-connrefused --retry-delay 1 \
         --max-time 20 --connect-timeout 2 http://{host}/"
    )
}

async fn start_with_programs(test: &str) -> Option<Daemon> {
    for program in ["/usr/sbin/nginx", "/usr/bin/curl"] {
        if !std::path::Path::new(program).exists() {
            cli_api::testing::skip(test, &format!("there is no {program}"));
            return None;
        }
    }
    Daemon::start_in_own_network(test).await
}

impl Daemon {
    /// What curl in a container of this network gets.
    async fn curl(&self, network: &str, host: &str) -> String {
        self.run("curl", with_programs(network, &curl(host), None)).await;
        let code = self.wait("curl").await;
        let said = self.logs("curl").await;
        self.remove("curl").await;
        if code == 0 { said } else { format!("curl: {code} {said}") }
    }
}

#[tokio::test]
async fn nginx_and_curl_meet_on_two_networks_and_only_there() {
    let Some(daemon) = start_with_programs("nginx and curl").await else {
        return;
    };
    for network in ["one", "two"] {
        daemon.network(network).await;
        daemon.run(network, with_programs(network, NGINX, None)).await;
    }
    for (network, other) in [("one", "two"), ("two", "one")] {
        let said = daemon.curl(network, network).await;
        let client = said.rsplit_once(' ').map(|it| it.1).unwrap_or(&said);
        // The first free address after the server's: the source is kept.
        let server = daemon.address(network, network).await;
        let subnet = server.rsplit_once('.').unwrap().0;
        assert_eq!(client, format!("{subnet}.3"), "{said}");
        // By name: curl's 6 is "could not resolve host".
        let said = daemon.curl(network, other).await;
        assert!(said.starts_with("curl: 6 "), "{said}");
        // By address: 28 is "timed out".
        let address = daemon.address(other, other).await;
        let said = daemon.curl_once(network, &address).await;
        assert!(said.starts_with("curl: 28 "), "{said}");
    }
    for network in ["one", "two"] {
        daemon.remove(network).await;
    }
}

impl Daemon {
    async fn curl_once(&self, network: &str, host: &str) -> String {
        let line = format!("/usr/bin/curl -sS --max-time 2 http://{host}/");
        self.run("curl", with_programs(network, &line, None)).await;
        let code = self.wait("curl").await;
        let said = self.logs("curl").await;
        self.remove("curl").await;
        format!("curl: {code} {said}")
    }
}

#[tokio::test]
async fn a_published_nginx_is_reached_from_itself_and_over_ipv6() {
    let Some(daemon) = start_with_programs("nginx published").await else {
        return;
    };
    let wanted = NetworkCreateRequest {
        name: "six".to_owned(),
        enable_ipv6: Some(true),
        ..NetworkCreateRequest::default()
    };
    daemon.docker.create_network(wanted).await.unwrap();
    let body = with_programs("six", NGINX, Some(8080));
    let id = daemon.run("web", body).await;
    let name = &id[..12];
    for address in ["127.0.0.1:8080", "[::1]:8080"] {
        let said = fetch(address).unwrap_or_default();
        assert!(said.starts_with(name), "{address}: {said}");
    }
    let server = daemon.address("web", "six").await;
    let gateway = server.rsplit_once('.').unwrap().0.to_owned() + ".1";
    // Hairpin: its own port by the host's address, from inside.
    let hairpin = format!("{gateway}:8080");
    let said = daemon.curl("container:web", &hairpin).await;
    assert!(said.starts_with(name), "{said}");
    let said = daemon.curl("bridge", &hairpin).await;
    assert!(said.starts_with(name), "from another network: {said}");
    let about = daemon.docker.inspect_container("web", None).await.unwrap();
    let networks = about.network_settings.unwrap().networks.unwrap();
    let six = networks["six"].global_ipv6_address.clone().unwrap();
    let said = daemon.curl("six", &format!("[{six}]")).await;
    assert!(said.starts_with(name), "{said}");
    daemon.remove("web").await;
}

#[tokio::test]
async fn an_internal_network_reaches_its_own_and_nobody_else() {
    let Some(daemon) = start_with_programs("internal").await else { return };
    let wanted = NetworkCreateRequest {
        name: "closed".to_owned(),
        internal: Some(true),
        ..NetworkCreateRequest::default()
    };
    daemon.docker.create_network(wanted).await.unwrap();
    daemon.run("inner", with_programs("closed", NGINX, None)).await;
    let outer = with_programs("bridge", NGINX, Some(8080));
    daemon.run("outer", outer).await;
    let said = daemon.curl("closed", "inner").await;
    assert!(!said.starts_with("curl:"), "{said}");
    let address = daemon.address("outer", "bridge").await;
    let said = daemon.curl_once("closed", &address).await;
    assert!(said.starts_with("curl: 7 "), "no route: {said}");
    let route = daemon.says("closed", "busybox ip route").await.1;
    assert!(!route.contains("default"), "{route}");
    daemon.remove("inner").await;
    daemon.remove("outer").await;
}

/// Sends back what it gets.
const ECHO: &str = "exec /usr/bin/perl -MIO::Socket::INET -e \
    '$s = IO::Socket::INET->new(Proto => \"udp\", LocalPort => 80); \
     while (defined($s->recv($_, 99))) { $s->send($_) }'";

#[tokio::test]
async fn datagrams_reach_a_published_port_over_both_families() {
    let Some(daemon) = start_with_programs("UDP").await else { return };
    if !std::path::Path::new("/usr/bin/perl").exists() {
        cli_api::testing::skip("UDP", "there is no /usr/bin/perl");
        return;
    }
    let mut body = with_programs("bridge", ECHO, None);
    let port = PortBinding { host_ip: None, host_port: Some("8053".into()) };
    let ports = HashMap::from([("80/udp".to_owned(), Some(vec![port]))]);
    body.host_config.as_mut().unwrap().port_bindings = Some(ports);
    daemon.run("echo", body).await;
    for (own, to) in
        [("127.0.0.1:0", "127.0.0.1:8053"), ("[::1]:0", "[::1]:8053")]
    {
        let client = UdpSocket::bind(own).unwrap();
        client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        client.connect(to).unwrap();
        let mut answer = [0; 16];
        // A server takes a moment to start, and datagrams are not repeated.
        let answered = (0..50).any(|_| {
            let _ = client.send(b"hello");
            client.recv(&mut answer).is_ok_and(|it| &answer[..it] == b"hello")
        });
        assert!(answered, "{to}");
    }
    daemon.remove("echo").await;
}
