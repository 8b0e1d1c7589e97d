//! The chains of the table: what happens to a packet, hook by hook.

use std::net::Ipv6Addr;

use ipnet::{IpNet, Ipv4Net};

use crate::network::nft::{Chain, Family, Hook, Part, Rule};

pub(super) fn rewriting(
    name: &'static str,
    family: Family,
    by_address: &'static str,
    by_port: &'static str,
) -> Chain {
    let rewrite =
        |by_address, map| vec![Part::Rewrite { family, by_address, map }];
    let rules = vec![rewrite(true, by_address), rewrite(false, by_port)];
    Chain { name, hook: None, rules }
}

fn loopback() -> IpNet {
    Ipv4Net::new_assert([127, 0, 0, 0].into(), 8).into()
}

/// A port published on 127.0.0.1 is for this host only, and so are all the
/// host's own services there; but we route that network to our bridges
/// (route_localnet), and rewriting comes before the kernel would notice
/// that such a packet cannot come from a wire.
pub(super) fn guard() -> Chain {
    let rules = vec![vec![
        Part::NotFrom("lo".into()),
        Part::Destination(loopback()),
        Part::Drop,
    ]];
    Chain { name: "guard", hook: Some(Hook::Raw), rules }
}

pub(super) fn prerouting() -> Chain {
    let rule = |family, chain| {
        vec![Part::Is(family), Part::ToThisHost, Part::Jump(chain)]
    };
    let rules = vec![
        // What br_netfilter has rewritten to a container of the same bridge
        // it also delivers within the bridge, whose isolated ports refuse
        // that. So these containers reach published ports through the
        // forwarder.
        vec![Part::FromOneOf("apart"), Part::Accept],
        rule(Family::V4, "publish4"),
        rule(Family::V6, "publish6"),
    ];
    Chain { name: "prerouting", hook: Some(Hook::NatPrerouting), rules }
}

/// The host's own connections. IPv6 has no route_localnet, so ::1 cannot be
/// rewritten to a container: the forwarder serves it.
pub(super) fn output() -> Chain {
    let rules = vec![
        vec![Part::Is(Family::V4), Part::ToThisHost, Part::Jump("publish4")],
        vec![
            Part::NotTo6(Ipv6Addr::LOCALHOST),
            Part::ToThisHost,
            Part::Jump("publish6"),
        ],
    ];
    Chain { name: "output", hook: Some(Hook::NatOutput), rules }
}

pub(super) fn postrouting() -> Chain {
    let sets = [
        (Family::V4, "masquerade4", "own4"),
        (Family::V6, "masquerade6", "own6"),
    ];
    let mut rules: Vec<Rule> = Vec::new();
    for (family, masquerade, own) in sets {
        rules.push(vec![
            Part::SourceOneOf(family, masquerade),
            Part::NotSourceTo(family, own),
            Part::Masquerade,
        ]);
        // Hairpin: a container that reaches its own network through the
        // host's port. The answer would go straight back, without passing
        // the rewriting, and be nobody's.
        rules.push(vec![
            Part::SourceTo(family, own),
            Part::Rewritten,
            Part::Masquerade,
        ]);
    }
    // From 127.0.0.1 to a published port: no container can answer that.
    rules.push(vec![
        Part::Source(loopback()),
        Part::ToOneOf("bridges"),
        Part::Masquerade,
    ]);
    Chain { name: "postrouting", hook: Some(Hook::NatPostrouting), rules }
}

/// Who may reach whom. Published ports come before the isolation: their
/// owner has opened them to everybody.
pub(super) fn forward() -> Chain {
    let rules = vec![
        vec![Part::Established, Part::Accept],
        vec![Part::Pair("inside"), Part::Accept],
        vec![Part::Link("links"), Part::Accept],
        vec![Part::FromOneOf("internal"), Part::Drop],
        vec![Part::ToOneOf("internal"), Part::Drop],
        vec![Part::Rewritten, Part::ToOneOf("bridges"), Part::Accept],
        vec![Part::ToOneOf("bridges"), Part::Drop],
        vec![Part::FromOneOf("outside"), Part::ToOneOf("outside"), Part::Drop],
    ];
    Chain { name: "forward", hook: Some(Hook::Forward), rules }
}
