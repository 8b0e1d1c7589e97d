//! What `--link` tells a container about another one through environment
//! variables: its address, its ports and its own variables. Networks with
//! names have a resolver instead, and no such variables.
//!
//! For a container `db` that exposes 5432 they are `DB_NAME`, `DB_PORT`,
//! `DB_PORT_5432_TCP` with `_ADDR`, `_PORT` and `_PROTO`, and `DB_ENV_X` for
//! its variable `X`. Three or more ports in a row are a range as well, with
//! `_START` and `_END`.

use super::record::Record;
use super::spec::override_env;
use crate::engine::Engine;

impl Engine {
    /// The variables of all links, in the order of the links. What has ended
    /// since the start has no address to tell any more, and what was removed
    /// has nothing; another of its name is none of the container's business.
    pub(super) fn link_variables(&self, record: &Record) -> Vec<String> {
        let mut variables = Vec::new();
        if !matches!(
            record.host_config.network_mode.as_str(),
            "default" | "bridge"
        ) {
            return variables;
        }
        for (id, alias) in &record.own.linked {
            let Ok(other) = self.containers.find(id) else { continue };
            let told = other.with(|other| Linked::new(record, other, alias));
            if let Some(told) = told {
                override_env(&mut variables, &told.variables());
            }
        }
        variables
    }
}

/// A port as `ExposedPorts` has it; ordered by number, TCP first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Port {
    number: u16,
    protocol: String,
}

impl Port {
    fn parse(text: &str) -> Option<Port> {
        let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let number = number.parse().ok()?;
        Some(Port { number, protocol: protocol.to_owned() })
    }
}

/// What there is to tell about the other one.
#[derive(Debug)]
struct Linked {
    /// `/me/alias`.
    name: String,
    /// Before each variable.
    prefix: String,
    address: String,
    ports: Vec<Port>,
    env: Vec<String>,
}

impl Linked {
    fn new(me: &Record, other: &Record, alias: &str) -> Option<Linked> {
        let address = other.own.attached.get("bridge")?.ip_address.clone();
        let ports = other.config.exposed_ports.iter().flatten();
        let mut ports: Vec<_> =
            ports.filter_map(|(port, _)| Port::parse(port)).collect();
        ports.sort();
        Some(Linked {
            name: format!("{}/{alias}", me.name),
            prefix: alias.to_uppercase().replace('-', "_"),
            address,
            ports,
            env: other.config.env.clone().unwrap_or_default(),
        })
    }

    fn variables(&self) -> Vec<String> {
        let prefix = &self.prefix;
        let mut all = Vec::new();
        if let Some(first) = self.ports.first() {
            all.push(format!("{prefix}_PORT={}", self.url(first)));
        }
        for row in rows(&self.ports) {
            if let [first, _, .., last] = row {
                self.tell_range(first, last, &mut all);
            }
            row.iter().for_each(|port| self.tell_port(port, &mut all));
        }
        all.push(format!("{prefix}_NAME={}", self.name));
        for entry in &self.env {
            // These two are about its own files, not about its service.
            if let Some((name, value)) = entry.split_once('=')
                && !matches!(name, "HOME" | "PATH")
            {
                all.push(format!("{prefix}_ENV_{name}={value}"));
            }
        }
        all
    }

    fn url(&self, port: &Port) -> String {
        format!("{}://{}:{}", port.protocol, self.address, port.number)
    }

    fn about(&self, port: &Port) -> String {
        let protocol = port.protocol.to_uppercase();
        format!("{}_PORT_{}_{protocol}", self.prefix, port.number)
    }

    fn tell_range(&self, first: &Port, last: &Port, to: &mut Vec<String>) {
        let about = self.about(first);
        to.push(format!("{about}_START={}", self.url(first)));
        to.push(format!("{about}_PORT_START={}", first.number));
        to.push(format!("{about}_END={}", self.url(last)));
        to.push(format!("{about}_PORT_END={}", last.number));
    }

    fn tell_port(&self, port: &Port, to: &mut Vec<String>) {
        let about = self.about(port);
        to.push(format!("{about}={}", self.url(port)));
        to.push(format!("{about}_ADDR={}", self.address));
        to.push(format!("{about}_PORT={}", port.number));
        to.push(format!("{about}_PROTO={}", port.protocol));
    }
}

/// Ports of one protocol whose numbers follow each other.
fn rows(ports: &[Port]) -> impl Iterator<Item = &[Port]> {
    ports.chunk_by(|one, next| {
        one.protocol == next.protocol && next.number - one.number == 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linked(ports: &[&str], env: &[&str]) -> Linked {
        let mut ports: Vec<_> =
            ports.iter().filter_map(|it| Port::parse(it)).collect();
        ports.sort();
        Linked {
            name: "/down/my-db".into(),
            prefix: "MY_DB".into(),
            address: "172.17.0.2".into(),
            ports,
            env: env.iter().map(|it| (*it).to_owned()).collect(),
        }
    }

    #[test]
    fn the_first_port_is_the_port() {
        let env = ["A=b=c", "PATH=/bin", "HOME=/", "UNSET"];
        let told = linked(&["80/tcp", "53/udp"], &env).variables();
        insta::assert_snapshot!(told.join("\n"), @r"
        MY_DB_PORT=udp://172.17.0.2:53
        MY_DB_PORT_53_UDP=udp://172.17.0.2:53
        MY_DB_PORT_53_UDP_ADDR=172.17.0.2
        MY_DB_PORT_53_UDP_PORT=53
        MY_DB_PORT_53_UDP_PROTO=udp
        MY_DB_PORT_80_TCP=tcp://172.17.0.2:80
        MY_DB_PORT_80_TCP_ADDR=172.17.0.2
        MY_DB_PORT_80_TCP_PORT=80
        MY_DB_PORT_80_TCP_PROTO=tcp
        MY_DB_NAME=/down/my-db
        MY_DB_ENV_A=b=c
        ");
    }

    #[test]
    fn three_ports_in_a_row_are_a_range_and_two_are_not() {
        let ports = ["102", "100", "101", "105/tcp", "106/tcp", "107/udp"];
        let told = linked(&ports, &[]).variables();
        let ends: Vec<_> = told
            .iter()
            .filter(|it| it.contains("_START=") || it.contains("_END="))
            .collect();
        assert_eq!(
            ends,
            [
                "MY_DB_PORT_100_TCP_START=tcp://172.17.0.2:100",
                "MY_DB_PORT_100_TCP_PORT_START=100",
                "MY_DB_PORT_100_TCP_END=tcp://172.17.0.2:102",
                "MY_DB_PORT_100_TCP_PORT_END=102",
            ]
        );
        assert!(told.contains(&"MY_DB_PORT_101_TCP_PORT=101".to_owned()));
    }

    #[test]
    fn what_exposes_nothing_has_a_name() {
        assert_eq!(linked(&[], &[]).variables(), ["MY_DB_NAME=/down/my-db"]);
    }
}
