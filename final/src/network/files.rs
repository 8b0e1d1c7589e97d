//! What stands in a container's `/etc/hosts`, `/etc/resolv.conf` and
//! `/etc/hostname`.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;

use super::Error;

/// The host's resolvers, from resolv.conf(5).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct HostResolver {
    pub(super) servers: Vec<IpAddr>,
    pub(super) search: Vec<String>,
    pub(super) options: Vec<String>,
}

impl HostResolver {
    /// Reads the host's file. systemd-resolved puts itself at 127.0.0.53
    /// there and keeps the real servers in a file of its own.
    pub(super) fn read() -> HostResolver {
        let read = |path| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            HostResolver::parse(&text)
        };
        let first = read("/etc/resolv.conf");
        let second = read("/run/systemd/resolve/resolv.conf");
        let local = first.servers.iter().all(IpAddr::is_loopback);
        if local && !second.servers.is_empty() { second } else { first }
    }

    fn parse(text: &str) -> HostResolver {
        let mut all = HostResolver::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let key = words.next().unwrap_or_default();
            let words = words.map(str::to_owned);
            match key {
                "nameserver" => {
                    // A scope (fe80::1%eth0) means nothing elsewhere.
                    let addresses = words.map(|it| it.parse::<IpAddr>());
                    all.servers.extend(addresses.flatten());
                }
                // The last line counts.
                "search" | "domain" => all.search = words.collect(),
                "options" => all.options.extend(words),
                _ => {}
            }
        }
        all
    }

    /// Whether a container cannot reach any of the servers, since they are
    /// on the host's loopback.
    pub(super) fn only_local(&self) -> bool {
        self.servers.iter().all(IpAddr::is_loopback)
    }
}

/// Content of `/etc/resolv.conf`.
pub(super) fn resolv_conf(
    servers: &[IpAddr],
    search: &[String],
    options: &[String],
) -> String {
    let mut text = String::from("# Written by skiff.\n");
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    // `--dns-search .` means: none.
    if !search.is_empty() && search != ["."] {
        let _ = writeln!(text, "search {}", search.join(" "));
    }
    if !options.is_empty() {
        let _ = writeln!(text, "options {}", options.join(" "));
    }
    text
}

/// Content of `/etc/hosts`: Docker's fixed lines, then `(address, names)`.
pub(super) fn hosts(entries: &[(String, String)]) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::\tip6-localnet\n\
         ff00::\tip6-mcastprefix\n\
         ff02::1\tip6-allnodes\n\
         ff02::2\tip6-allrouters\n",
    );
    for (address, names) in entries {
        let _ = writeln!(text, "{address}\t{names}");
    }
    text
}

/// Writes in place: the file is bind-mounted into the container, where a
/// renamed new one would never show up.
pub(super) fn write(
    dir: &Path,
    name: &str,
    content: &str,
) -> Result<(), Error> {
    let path = dir.join(name);
    if std::fs::read_to_string(&path).is_ok_and(|it| it == content) {
        return Ok(());
    }
    std::fs::write(&path, content).map_err(Error::io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_search_line_counts_and_scopes_are_left_out() {
        let text = "# hello\nsearch a b\nnameserver 10.0.0.1\n\
                    nameserver fe80::1%eth0\ndomain c\noptions ndots:2\n";
        let want = HostResolver {
            servers: vec!["10.0.0.1".parse().unwrap()],
            search: vec!["c".into()],
            options: vec!["ndots:2".into()],
        };
        assert_eq!(HostResolver::parse(text), want);
    }

    #[test]
    fn a_resolver_file_has_only_what_is_set() {
        let text = resolv_conf(&["127.0.0.11".parse().unwrap()], &[], &[]);
        assert_eq!(text, "# Written by skiff.\nnameserver 127.0.0.11\n");
        let text = resolv_conf(&[], &[".".into()], &["ndots:0".into()]);
        assert_eq!(text, "# Written by skiff.\noptions ndots:0\n");
    }
}
