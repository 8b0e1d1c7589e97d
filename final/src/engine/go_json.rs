//! JSON as Go's decoder takes it, which is what Docker's clients rely on.
//!
//! Go writes `null` for what is not there, and reads field names whatever
//! their case: `{"image": "nginx"}` works as well. serde wants neither, so
//! a body is put into its proper form first.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::Error;

/// Takes such a body for what it is.
///
/// # Errors
/// [`Error::Invalid`], which names the field.
pub fn decode<T: DeserializeOwned>(body: Value) -> Result<T, Error> {
    decode_part("", from_go(body))
}

/// The same for a part of one, already in its proper form: `HostConfig.`.
///
/// # Errors
/// [`Error::Invalid`], which names the field.
pub fn decode_part<T: DeserializeOwned>(
    part: &str,
    value: Value,
) -> Result<T, Error> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let (field, cause) = (error.path().to_string(), error.inner());
        let field = field.trim_start_matches('.');
        Error::Invalid(match (part, field) {
            ("", "") => format!("invalid JSON: {cause}"),
            (part, "") => {
                let part = part.trim_end_matches('.');
                format!("invalid JSON: {part}: {cause}")
            }
            (part, field) => format!("invalid JSON: {part}{field}: {cause}"),
        })
    })
}

/// A body without `null`s, and with field names as the API writes them.
pub fn from_go(value: Value) -> Value {
    tidy(value, Keys::Fields)
}

/// Whose words the keys of an object are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keys {
    /// The API's.
    Fields,
    /// The user's, such as the labels' names.
    Names,
}

fn tidy(value: Value, keys: Keys) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| {
                    let (key, below) = match keys {
                        Keys::Names => (key, Keys::Fields),
                        Keys::Fields => {
                            let key = proper(key);
                            let below = keys_below(&key);
                            (key, below)
                        }
                    };
                    let value = keep_keys(&key, value);
                    (key, tidy(value, below))
                })
                .collect(),
        ),
        Value::Array(list) => Value::Array(
            list.into_iter().map(|it| tidy(it, Keys::Fields)).collect(),
        ),
        other => other,
    }
}

/// In the maps whose *keys* carry the meaning, an empty value takes the
/// place of `null`.
fn keep_keys(key: &str, mut value: Value) -> Value {
    let empty = match key {
        "EndpointsConfig" | "ExposedPorts" | "Volumes" => {
            Value::Object(Map::new())
        }
        "PortBindings" => Value::Array(Vec::new()),
        _ => return value,
    };
    for item in value.as_object_mut().into_iter().flat_map(Map::values_mut) {
        if item.is_null() {
            *item = empty.clone();
        }
    }
    value
}

/// Whose words the keys are in the object with this name.
fn keys_below(key: &str) -> Keys {
    const OF_THE_USER: &[&str] = &[
        "Annotations",
        "AuxiliaryAddresses",
        "Config",
        "DriverOpts",
        "EndpointsConfig",
        "ExposedPorts",
        "Labels",
        "Options",
        "PortBindings",
        "StorageOpt",
        "Sysctls",
        "Tmpfs",
        "Volumes",
    ];
    match OF_THE_USER.contains(&key) {
        true => Keys::Names,
        false => Keys::Fields,
    }
}

/// The field's name in its proper case; what is no field stays as it is.
fn proper(key: String) -> String {
    let known = FIELDS.iter().find(|field| field.eq_ignore_ascii_case(&key));
    match known {
        Some(field) if **field != key => (*field).to_owned(),
        _ => key,
    }
}

/// The fields of every body that the API takes.
#[rustfmt::skip]
const FIELDS: &[&str] = &[
    "Aliases", "Annotations", "ArgsEscaped", "AttachStderr", "AttachStdin",
    "AttachStdout", "Attachable", "AutoRemove", "AuxiliaryAddresses",
    "BindOptions", "Binds", "BlkioDeviceReadBps", "BlkioDeviceReadIOps",
    "BlkioDeviceWriteBps", "BlkioDeviceWriteIOps", "BlkioWeight",
    "BlkioWeightDevice", "CapAdd", "CapDrop", "Capabilities", "Cgroup",
    "CgroupParent", "CgroupPermissions", "CgroupnsMode", "CheckDuplicate",
    "ClusterVolumeSpec", "Cmd", "Config", "ConfigFrom", "ConfigOnly",
    "Consistency", "ConsoleSize", "Container", "ContainerIDFile", "Count",
    "CpuCount", "CpuPercent", "CpuPeriod", "CpuQuota", "CpuRealtimePeriod",
    "CpuRealtimeRuntime", "CpuShares", "CpusetCpus", "CpusetMems",
    "CreateMountpoint", "Detach", "DetachKeys", "DeviceCgroupRules",
    "DeviceIDs", "DeviceRequests", "Devices", "Dns", "DnsOptions",
    "DnsSearch", "Domainname", "Driver", "DriverConfig", "DriverOpts",
    "EnableIPv4", "EnableIPv6", "EndpointConfig", "EndpointsConfig",
    "Entrypoint", "Env", "ExposedPorts", "ExtraHosts", "Force", "Gateway",
    "GroupAdd", "GwPriority", "Hard", "Healthcheck", "HostConfig", "HostIp",
    "HostPort", "Hostname", "IOMaximumBandwidth", "IOMaximumIOps", "IPAM",
    "IPAMConfig", "IPRange", "IPv4Address", "IPv6Address", "Image",
    "ImageOptions", "Ingress", "Init", "Internal", "Interval", "IpcMode",
    "Isolation", "KernelMemory", "KernelMemoryTCP", "Labels", "LinkLocalIPs",
    "Links", "LogConfig", "MacAddress", "MaskedPaths", "MaximumRetryCount",
    "Memory", "MemoryReservation", "MemorySwap", "MemorySwappiness", "Mode",
    "Mounts", "Name", "NanoCpus", "Network", "NetworkDisabled", "NetworkMode",
    "NetworkingConfig", "NoCopy", "NonRecursive", "OnBuild", "OomKillDisable",
    "OomScoreAdj", "OpenStdin", "Options", "Path", "PathInContainer",
    "PathOnHost", "PidMode", "PidsLimit", "PortBindings", "Privileged",
    "Propagation", "PublishAllPorts", "Rate", "ReadOnly",
    "ReadOnlyForceRecursive", "ReadOnlyNonRecursive", "ReadonlyPaths",
    "ReadonlyRootfs", "RestartPolicy", "Retries", "Runtime", "Scope",
    "SecurityOpt", "Shell", "ShmSize", "SizeBytes", "Soft", "Source",
    "StartInterval", "StartPeriod", "StdinOnce", "StopSignal", "StopTimeout",
    "StorageOpt", "Subnet", "Subpath", "Sysctls", "Target", "Test", "Timeout",
    "Tmpfs", "TmpfsOptions", "Tty", "Type", "UTSMode", "Ulimits", "User",
    "UsernsMode", "VolumeDriver", "VolumeOptions", "Volumes", "VolumesFrom",
    "Weight", "WorkingDir",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_of_fields_come_in_any_case_and_the_users_keep_theirs() {
        let given = json!({
            "image": "busybox",
            "LABELS": { "image": "mine" },
            "hostconfig": {
                "portbindings": { "80/tcp": [{ "hostport": "80" }] },
                "mounts": [{ "type": "bind", "TARGET": "/m" }],
            },
            "NetworkingConfig": {
                "endpointsconfig": { "driver": { "aliases": ["a"] } },
            },
        });
        let proper = json!({
            "Image": "busybox",
            "Labels": { "image": "mine" },
            "HostConfig": {
                "PortBindings": { "80/tcp": [{ "HostPort": "80" }] },
                "Mounts": [{ "Type": "bind", "Target": "/m" }],
            },
            "NetworkingConfig": {
                "EndpointsConfig": { "driver": { "Aliases": ["a"] } },
            },
        });
        assert_eq!(from_go(given), proper);
    }

    #[test]
    fn nulls_are_absent_except_where_the_key_says_it_all() {
        let given = json!({ "Cmd": null, "ExposedPorts": { "80/tcp": null } });
        let proper = json!({ "ExposedPorts": { "80/tcp": {} } });
        assert_eq!(from_go(given), proper);
    }

    #[test]
    fn what_cannot_be_taken_is_named() {
        use crate::engine::containers::create::Request as CreateRequest;
        use crate::engine::containers::exec::ExecConfig;
        use serde_json::json;
        let refused =
            |body| CreateRequest::parse(body).unwrap_err().to_string();
        assert_eq!(
            refused(json!({ "Image": "nginx", "Hostname": 5 })),
            "invalid JSON: Hostname: invalid type: integer `5`, expected a \
             string"
        );
        assert_eq!(
            refused(json!({ "HostConfig": { "Dns": ["::1", 5] } })),
            "invalid JSON: HostConfig.Dns[1]: invalid type: integer `5`, \
             expected a string"
        );
        let error = decode::<ExecConfig>(json!(5)).unwrap_err().to_string();
        assert!(error.starts_with("invalid JSON: "), "{error}");
    }
}
