//! What a new container may be surprised by; nothing is taken out of it. The
//! sentences are Docker's.

use super::host_config::HostConfig;

/// A line for each.
pub(super) fn of(host: &HostConfig) -> Vec<String> {
    let mut warnings = Vec::new();
    let resources = &host.resources;
    if resources.oom_kill_disable == Some(true) && resources.memory == 0 {
        warnings.push(
            "OOM killer is disabled for the container, but no memory limit is \
             set, this can result in the system running out of resources.",
        );
    }
    let publishes = !host.port_bindings.is_empty() || host.publish_all_ports;
    if host.network_mode == "host" && publishes {
        warnings
            .push("Published ports are discarded when using host network mode");
    }
    warnings.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_a_container_in_the_hosts_network_are_warned_of() {
        let host: HostConfig = serde_json::from_str(
            r#"{"NetworkMode": "host", "PublishAllPorts": true}"#,
        )
        .unwrap();
        assert_eq!(
            of(&host),
            ["Published ports are discarded when using host network mode"]
        );
        assert!(of(&HostConfig::default()).is_empty());
    }
}
