//! Containers that may not talk to each other, and links that let them.

use super::*;

/// A container that exposes port 80 and serves it, and 81 beside it.
fn serve(host: &Host, name: &str) -> String {
    let mut request = host.request(name, "bridge");
    request.exposed = vec!["80/tcp".into()];
    let got = host.networks().attach(request).unwrap();
    host.serve(name, 80);
    host.serve(name, 81);
    got.endpoints["bridge"].ip_address.clone()
}

fn attach_linked(host: &Host, name: &str, to: &str) {
    let mut request = host.request(name, "bridge");
    request.links = vec![(id(to), "database".into())];
    host.networks().attach(request).unwrap();
}

#[test]
fn without_icc_containers_of_one_network_do_not_talk() {
    in_new_network("ICC off", |host| {
        let wanted: NetworkCreate = serde_json::from_str(
            r#"{"Name": "quiet", "Options":
                {"com.docker.network.bridge.enable_icc": "false"}}"#,
        )
        .unwrap();
        host.networks().create(wanted).unwrap();
        let mut request = host.request("a", "quiet");
        let binding =
            PortBinding { host_ip: String::new(), host_port: "8080".into() };
        request.ports = PortMap::from([("80/tcp".into(), Some(vec![binding]))]);
        let a = host.networks().attach(request).unwrap();
        let a = &a.endpoints["quiet"];
        host.attach("b", "quiet");
        host.serve("a", 80);
        let to = format!("{}:80", a.ip_address);
        assert_eq!(host.inside("b", || ask(&to)), None);
        assert!(ask(&to).is_some(), "the host");
        let published = host.inside("b", || ask("198.51.100.9:8080"));
        assert!(published.is_some(), "a published port is for everybody");
        host.networks().leave(&id("a")).unwrap();
        host.networks().leave(&id("b")).unwrap();
    });
}

#[test]
fn a_link_opens_what_is_exposed_where_icc_is_off() {
    in_new_network("links without ICC", |host| {
        host.restart_as(&[], |it| it.icc = false);
        let address = serve(host, "db");
        let exposed = format!("{address}:80");
        let other = format!("{address}:81");
        attach_linked(host, "web", "db");
        host.attach("stranger", "bridge");
        let asks =
            |host: &Host, name: &str, to: &str| host.inside(name, || ask(to));
        // The link also keeps the source: nothing is rewritten on its way.
        let got = asks(host, "web", &exposed);
        assert_eq!(got.as_deref(), Some("db 172.17.0.3"));
        assert_eq!(asks(host, "web", &other), None, "not exposed");
        assert_eq!(asks(host, "stranger", &exposed), None);
        host.serve("web", 80);
        assert_eq!(asks(host, "db", "172.17.0.3:80"), None, "one way only");

        // The next daemon knows it still …
        host.restart_as(&[&id("db"), &id("web"), &id("stranger")], |it| {
            it.icc = false;
        });
        assert!(asks(host, "web", &exposed).is_some());
        assert_eq!(asks(host, "stranger", &exposed), None);
        // … until `docker rm --link web/database`.
        host.networks().unlink(&id("web"), "database").unwrap();
        assert_eq!(asks(host, "web", &exposed), None);
        let hosts = host.file("web", "hosts");
        assert!(!hosts.contains("database"), "{hosts}");

        // A daemon without the setting opens the ports again.
        host.restart_with(&[&id("db"), &id("web"), &id("stranger")]);
        assert!(asks(host, "stranger", &exposed).is_some());
        for name in ["db", "web", "stranger"] {
            host.networks().leave(&id(name)).unwrap();
        }
    });
}

#[test]
fn a_link_follows_the_linked_container_to_its_next_address() {
    in_new_network("links and restarts", |host| {
        host.restart_as(&[], |it| it.icc = false);
        serve(host, "db");
        attach_linked(host, "web", "db");
        host.networks().leave(&id("db")).unwrap();
        host.attach("between", "bridge");
        let rules = host.networks().rules();
        assert!(!rules.contains(". tcp . 80"), "{rules}");
        let address = serve(host, "db");
        let to = format!("{address}:80");
        assert!(host.inside("web", || ask(&to)).is_some(), "{address}");
        for name in ["db", "web", "between"] {
            host.networks().leave(&id(name)).unwrap();
        }
        let rules = host.networks().rules();
        assert!(!rules.contains(". tcp . 80"), "{rules}");
    });
}
