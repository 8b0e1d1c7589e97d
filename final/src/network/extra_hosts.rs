//! `--add-host`: names and addresses that a container is given.

use std::net::IpAddr;

/// Stands for the host's own address on the container's network.
pub(super) const GATEWAY: &str = "host-gateway";

/// The name and the address of `name:ADDRESS` or `name=ADDRESS`.
///
/// # Errors
/// Docker's words, which name the flag.
pub fn extra_host(text: &str) -> std::result::Result<(&str, &str), String> {
    let parts = text.split_once('=').or_else(|| text.split_once(':'));
    let (name, address) = parts
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| format!("bad format for add-host: {text:?}"))?;
    let bare = address
        .strip_prefix('[')
        .and_then(|it| it.strip_suffix(']'))
        .unwrap_or(address);
    if address != GATEWAY && bare.parse::<IpAddr>().is_err() {
        return Err(format!("invalid IP address in add-host: {address:?}"));
    }
    Ok((name, bare))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_etc_hosts_is_a_name_and_an_address() {
        for (text, name, address) in [
            ("a:1.2.3.4", "a", "1.2.3.4"),
            ("a=1.2.3.4", "a", "1.2.3.4"),
            ("a:::1", "a", "::1"),
            ("a=[::1]", "a", "::1"),
            ("a:host-gateway", "a", GATEWAY),
        ] {
            assert_eq!(extra_host(text), Ok((name, address)), "{text}");
        }
        for wrong in ["a", "", ":1.2.3.4", "a:b", "a:", "a:1.2.3"] {
            let said = extra_host(wrong).unwrap_err();
            assert!(said.contains("add-host"), "{wrong}: {said}");
        }
    }
}
