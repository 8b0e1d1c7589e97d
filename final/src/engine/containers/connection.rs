//! What a container wants of networks, checked when it is created: what is
//! wrong with an address or a port would else be seen at its start only.

use std::net::IpAddr;

use super::config::Config;
use super::host_config::HostConfig;
use super::record::Endpoints;
use crate::engine::error::{Error, Result};

/// Refuses what no network could give, in Docker's words.
///
/// # Errors
/// [`Error::Invalid`] that names the address or the port.
pub(super) fn check(
    config: &Config,
    host: &HostConfig,
    endpoints: &Endpoints,
) -> Result<()> {
    for endpoint in endpoints.values() {
        endpoint.check()?;
    }
    if let Some(text) = host.dns.iter().find(|it| !is_address(it)) {
        return Err(Error::Invalid(format!("invalid DNS address: {text}")));
    }
    for port in config.exposed_ports.iter().flat_map(|all| all.keys()) {
        numbers(port.split('/').next().unwrap_or_default())?;
    }
    for (port, bindings) in &host.port_bindings {
        published(port)?;
        for binding in bindings.iter().flatten() {
            if !binding.host_port.is_empty() {
                numbers(&binding.host_port)?;
            }
            let address = binding.host_ip.as_str();
            if !address.is_empty() && !is_address(address) {
                let text = format!("invalid IP address: {address}");
                return Err(Error::Invalid(text));
            }
        }
    }
    Ok(())
}

fn is_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

/// `80/tcp`, on the container's side.
fn published(port: &str) -> Result<()> {
    let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    numbers(number)?;
    match protocol.to_ascii_lowercase().as_str() {
        "tcp" | "udp" => Ok(()),
        "sctp" => Err(Error::Invalid(format!(
            "port {port}: SCTP cannot be published by this engine"
        ))),
        other => Err(Error::Invalid(format!("invalid proto: {other}"))),
    }
}

/// A port, or a range of them.
fn numbers(text: &str) -> Result<()> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) if first <= last => Ok(()),
        _ => {
            let text = format!("invalid port specification: {text:?}");
            Err(Error::Invalid(text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(host: &str) -> String {
        let host: HostConfig = serde_json::from_str(host).unwrap();
        let none = Endpoints::new();
        let checked = check(&Config::default(), &host, &none);
        checked.err().map(|it| it.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_no_network_could_give_is_refused_by_name() {
        let bind = |port: &str, binding: &str| {
            refused(&format!(r#"{{"PortBindings":{{"{port}":[{binding}]}}}}"#))
        };
        assert_eq!(bind("80/tcp", r#"{"HostPort":"8000-8010"}"#), "");
        assert_eq!(bind("80", r#"{"HostIp":"::1"}"#), "");
        let spec = |it: &str| format!("invalid port specification: {it:?}");
        assert_eq!(bind("80/tcp", r#"{"HostPort":"70000"}"#), spec("70000"));
        assert_eq!(bind("80/tcp", r#"{"HostPort":"9-8"}"#), spec("9-8"));
        assert_eq!(bind("abc/tcp", "{}"), spec("abc"));
        assert_eq!(bind("80/foo", "{}"), "invalid proto: foo");
        let address = bind("80/tcp", r#"{"HostIp":"zz"}"#);
        assert_eq!(address, "invalid IP address: zz");
        assert_eq!(refused(r#"{"Dns":["x"]}"#), "invalid DNS address: x");
    }
}
