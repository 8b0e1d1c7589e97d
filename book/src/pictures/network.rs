//! The way of a packet.

use super::canvas::Type::{Code, Small, Strong};
use super::canvas::{Canvas, area};
use super::recorded::Container;

/// From a client to the server in the container.
pub(super) fn bridge(it: &Container) -> Canvas {
    let mut canvas = Canvas::new(470);
    let Some(cable) = it.network.cables.first() else { return canvas };
    let address = cable.addresses.first().map_or("", String::as_str);
    let bare = address.split('/').next().unwrap_or_default();
    let gateway = cable.gateways.first().map_or("", String::as_str);
    let port = it.network.ports.first();
    let host = port.map_or("", |it| it.host.as_str());
    let inside = port.map_or("", |it| it.container.as_str());
    let inside = inside.split('/').next().unwrap_or_default();

    let client = area(120, 4, 240, 36);
    canvas.label(client, "plain", &[(Small, "a client, anywhere")]);
    canvas.rect(area(4, 66, 472, 246), "outer");
    canvas.text(14, 88, Strong, "the host");
    let rule = area(90, 100, 300, 60);
    canvas.label(
        rule,
        "plain",
        &[
            (Code, &format!("{host} → {bare}:{inside}")),
            (Small, "nf_tables: prerouting, dnat"),
        ],
    );
    canvas.arrow(client.bottom(), rule.top());
    let bridge = area(90, 182, 300, 54);
    canvas.label(
        bridge,
        "plain",
        &[
            (Code, &format!("{} {gateway}", cable.bridge)),
            (Small, "bridge: a switch, and the gateway"),
        ],
    );
    canvas.arrow(rule.bottom(), bridge.top());
    let veth = area(150, 262, 180, 36);
    canvas.label(veth, "plain", &[(Code, &cable.veth)]);
    canvas.cable(bridge.bottom(), veth.top());
    canvas.rect(area(4, 346, 472, 120), "own");
    canvas.text(14, 368, Strong, &it.name);
    let end = area(150, 358, 180, 36);
    canvas.label(end, "plain", &[(Code, &cable.interface)]);
    canvas.cable(veth.bottom(), end.top());
    canvas.text(252, 334, Small, "a veth pair: a cable");
    canvas.text(340, 382, Code, address);
    canvas.label(
        area(90, 416, 300, 36),
        "plain",
        &[(Code, &format!("the server, on port {inside}"))],
    );
    canvas.arrow(end.bottom(), (240, 416));
    canvas
}
