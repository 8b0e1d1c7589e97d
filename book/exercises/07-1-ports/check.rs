//! Reads what people give to `-p`.

use exercises::{Verdict, observed};

use super::learner::{Port, parse};

pub fn check() -> Verdict {
    let port = |ip: &str, host, container, protocol: &str| Port {
        ip: ip.parse().expect("an address"),
        host,
        container,
        protocol: protocol.to_owned(),
    };
    let good = [
        ("order", "8080:80", port("0.0.0.0", 8080, 80, "tcp")),
        ("address", "127.0.0.1:8080:80", port("127.0.0.1", 8080, 80, "tcp")),
        ("protocol", "53:53/udp", port("0.0.0.0", 53, 53, "udp")),
        ("chosen", "80", port("0.0.0.0", 0, 80, "tcp")),
        ("chosen", "127.0.0.1::80", port("127.0.0.1", 0, 80, "tcp")),
        ("ipv6", "[::1]:8080:80", port("::1", 8080, 80, "tcp")),
    ];
    let count = good.len();
    for (cause, text, wanted) in good {
        let got = parse(text);
        if got.as_ref() != Some(&wanted) {
            return Err(observed(
                cause,
                format!("-p {text}\nread:   {got:?}\ndocker: {wanted:?}"),
            ));
        }
    }
    for text in ["", "80:", "8080:80/icmp", "70000:80", "x:80", "1:0"] {
        if let Some(got) = parse(text) {
            return Err(observed(
                "invalid",
                format!("-p {text}: docker refuses it; read as {got:?}"),
            ));
        }
    }
    Ok(vec![format!("{count} forms of `-p` read, and 6 refused")])
}
