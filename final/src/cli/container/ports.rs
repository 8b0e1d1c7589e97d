//! Ports, as `ps` and `port` show them.

use clap::Args;
use serde_json::Value;

use super::run::path;
use crate::cli::context::Context;

/// One of the ports in `ps`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Port {
    private: u16,
    protocol: String,
    address: String,
    public: u16,
}

/// `0.0.0.0:8080->80/tcp, 443/tcp`; neighbours become a range.
pub(crate) fn show(ports: &Value) -> String {
    let number = |it: &Value| {
        it.as_u64().and_then(|it| u16::try_from(it).ok()).unwrap_or(0)
    };
    let mut all: Vec<Port> = ports
        .as_array()
        .into_iter()
        .flatten()
        .map(|it| Port {
            private: number(&it["PrivatePort"]),
            protocol: it["Type"].as_str().unwrap_or("tcp").to_owned(),
            address: it["IP"].as_str().unwrap_or_default().to_owned(),
            public: number(&it["PublicPort"]),
        })
        .collect();
    all.sort_by_key(|it| (it.protocol.clone(), it.address.clone(), it.private));
    let mut groups: Vec<(Port, Port)> = Vec::new();
    for port in all {
        match groups.last_mut() {
            Some((_, last)) if follows(last, &port) => *last = port,
            _ => groups.push((port.clone(), port)),
        }
    }
    groups.sort_by_key(|(first, _)| {
        (first.private, first.protocol.clone(), first.address.clone())
    });
    let shown: Vec<_> =
        groups.iter().map(|(first, last)| range(first, last)).collect();
    shown.join(", ")
}

fn follows(last: &Port, next: &Port) -> bool {
    last.protocol == next.protocol
        && last.address == next.address
        && next.private == last.private.saturating_add(1)
        && match last.public {
            0 => next.public == 0,
            public => next.public == public.saturating_add(1),
        }
}

fn range(first: &Port, last: &Port) -> String {
    let span = |from: u16, to: u16| match from == to {
        true => from.to_string(),
        false => format!("{from}-{to}"),
    };
    let inside =
        format!("{}/{}", span(first.private, last.private), first.protocol);
    if first.public == 0 {
        return inside;
    }
    let address = match first.address.contains(':') {
        true => format!("[{}]", first.address),
        false => first.address.clone(),
    };
    format!("{address}:{}->{inside}", span(first.public, last.public))
}

/// Show which ports of the host lead to a container
#[derive(Debug, Clone, Args)]
pub(crate) struct PortArgs {
    /// Name or ID
    container: String,
    /// Only this port, as 80 or 53/udp
    #[arg(value_name = "PRIVATE_PORT[/PROTOCOL]")]
    port: Option<String>,
}

/// `port`.
pub(crate) async fn port(
    context: &Context,
    args: PortArgs,
) -> anyhow::Result<u8> {
    let found: Value =
        context.client.get(&path(&args.container, "json")).await?;
    let ports = found["NetworkSettings"]["Ports"].as_object();
    let wanted = args.port.as_deref().map(number_and_protocol).transpose()?;
    let mut lines = Vec::new();
    for (inside, bindings) in ports.into_iter().flatten() {
        if wanted.as_ref().is_some_and(|it| it != inside) {
            continue;
        }
        for binding in bindings.as_array().into_iter().flatten() {
            let address = binding["HostIp"].as_str().unwrap_or_default();
            let port = binding["HostPort"].as_str().unwrap_or_default();
            let outside = match address.contains(':') {
                true => format!("[{address}]:{port}"),
                false => format!("{address}:{port}"),
            };
            lines.push(match wanted {
                Some(_) => outside,
                None => format!("{inside} -> {outside}"),
            });
        }
    }
    if let (Some(port), true) = (&args.port, lines.is_empty()) {
        anyhow::bail!(
            "Error: No public port '{port}' published for {}",
            args.container
        );
    }
    lines.sort();
    lines.iter().for_each(|it| println!("{it}"));
    Ok(0)
}

/// `80` as `80/tcp`.
fn number_and_protocol(text: &str) -> anyhow::Result<String> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    anyhow::ensure!(
        number.parse::<u16>().is_ok(),
        "Error: invalid port ({number}): strconv.ParseUint: parsing \
         {number:?}: invalid syntax"
    );
    Ok(format!("{number}/{protocol}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ports_are_shown_as_docker_shows_them() {
        let ports = json!([
            {"PrivatePort": 443, "Type": "tcp"},
            {"PrivatePort": 80, "PublicPort": 8080, "IP": "0.0.0.0",
                "Type": "tcp"},
            {"PrivatePort": 80, "PublicPort": 8080, "IP": "::",
                "Type": "tcp"},
            {"PrivatePort": 81, "PublicPort": 8081, "IP": "0.0.0.0",
                "Type": "tcp"},
        ]);
        assert_eq!(
            show(&ports),
            "0.0.0.0:8080-8081->80-81/tcp, [::]:8080->80/tcp, 443/tcp"
        );
        assert_eq!(show(&Value::Null), "");
    }
}
