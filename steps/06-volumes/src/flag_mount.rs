//! `--mount`: the long form, `type=bind,source=/srv,target=/data,readonly`.
//!
//! Longer than `-v`, and stricter: nothing is guessed from the look of a
//! value, every key is checked, and what does not exist is not made. Docker
//! parses it in the client and sends the result as JSON, so these sentences
//! are the client's; the daemon has its own in `spec`.
//!
//! It is a line of CSV: a field with a comma in it is put in quotes, and a
//! quote in a quoted field is doubled.

use cgroups::parse_bytes;

use crate::spec::{DriverConfig, MountKind, MountSpec};

/// Parses one value of `--mount`.
///
/// # Errors
/// Docker's sentence.
pub fn parse_mount_flag(text: &str) -> Result<MountSpec, String> {
    let mut spec = MountSpec::default();
    let fields = split_csv(text)?;
    for field in &fields {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (field.as_str(), None),
        };
        let key = key.to_ascii_lowercase();
        match value {
            Some(value) => set(&mut spec, &key, value, field)?,
            None => switch(&mut spec, &key, field)?,
        }
    }
    if spec.target.is_empty() {
        return Err("target is required".to_owned());
    }
    check_mix(&spec)?;
    check_recursive(&spec, &fields)?;
    Ok(spec)
}

/// The keys that may stand alone: `readonly` is short for `readonly=true`.
fn switch(spec: &mut MountSpec, key: &str, field: &str) -> Result<(), String> {
    match key {
        "readonly" | "ro" => spec.read_only = true,
        "volume-nocopy" => spec.volume().no_copy = true,
        "bind-nonrecursive" => spec.bind().non_recursive = true,
        _ => {
            return Err(format!(
                "invalid field '{field}' must be a key=value pair"
            ));
        }
    }
    Ok(())
}

/// The keys of every kind of mount; the others begin with the kind they
/// belong to.
fn set(
    spec: &mut MountSpec,
    key: &str,
    value: &str,
    field: &str,
) -> Result<(), String> {
    let invalid = || format!("invalid value for {key}: {value}");
    match key {
        "type" => spec.kind = kind(value)?,
        "source" | "src" => value.clone_into(&mut spec.source),
        "target" | "dst" | "destination" => {
            value.clone_into(&mut spec.target);
        }
        "readonly" | "ro" => {
            spec.read_only = boolean(value).ok_or_else(invalid)?;
        }
        "consistency" => spec.consistency = value.to_ascii_lowercase(),
        _ => return set_own(spec, key, value, field),
    }
    Ok(())
}

/// The keys of one kind. The record of that kind's options comes into being
/// with the first of them, which is how a mix is noticed later.
fn set_own(
    spec: &mut MountSpec,
    key: &str,
    value: &str,
    field: &str,
) -> Result<(), String> {
    let invalid = || format!("invalid value for {key}: {value}");
    match key {
        "bind-propagation" => {
            spec.bind().propagation = value.to_ascii_lowercase();
        }
        "bind-nonrecursive" => {
            spec.bind().non_recursive = boolean(value).ok_or_else(invalid)?;
        }
        "bind-recursive" => recursive(spec, value)?,
        "volume-nocopy" => {
            spec.volume().no_copy = boolean(value).ok_or_else(invalid)?;
        }
        "volume-subpath" => value.clone_into(&mut spec.volume().subpath),
        "volume-label" => {
            let (name, value) = pair(value);
            spec.volume().labels.insert(name, value);
        }
        "volume-driver" => value.clone_into(&mut driver(spec).name),
        "volume-opt" => {
            let (name, value) = pair(value);
            driver(spec).options.insert(name, value);
        }
        "tmpfs-size" => {
            let size = parse_bytes(value).ok_or_else(invalid)?;
            spec.tmpfs().size_bytes = size;
        }
        // Octal, as chmod(1) takes it: 1777 is 0o1777.
        "tmpfs-mode" => {
            let mode = u32::from_str_radix(value, 8);
            spec.tmpfs().mode = mode.map_err(|_| invalid())?;
        }
        _ => return Err(format!("unexpected key '{key}' in '{field}'")),
    }
    Ok(())
}

/// The kinds that Docker has and Linux or this engine has not (`npipe`,
/// `cluster`, `image`) are unknown here.
fn kind(value: &str) -> Result<MountKind, String> {
    match value.to_ascii_lowercase().as_str() {
        "bind" => Ok(MountKind::Bind),
        "volume" => Ok(MountKind::Volume),
        "tmpfs" => Ok(MountKind::Tmpfs),
        other => Err(format!(
            "invalid mount config for type \"{other}\": mount type unknown"
        )),
    }
}

fn driver(spec: &mut MountSpec) -> &mut DriverConfig {
    spec.volume().driver_config.get_or_insert_default()
}

/// A name without `=` has an empty value.
fn pair(value: &str) -> (String, String) {
    let (name, value) = value.split_once('=').unwrap_or((value, ""));
    (name.to_owned(), value.to_owned())
}

/// The spellings that Go's `strconv.ParseBool` takes.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// What read-only means for the mounts below a bind.
fn recursive(spec: &mut MountSpec, value: &str) -> Result<(), String> {
    match value {
        "enabled" => {}
        "disabled" => spec.bind().non_recursive = true,
        "writable" => spec.bind().read_only_non_recursive = true,
        "readonly" => spec.bind().read_only_force_recursive = true,
        _ => {
            return Err(format!(
                "invalid value for bind-recursive: {value} (must be \
                 \"enabled\", \"disabled\", \"writable\", or \"readonly\")"
            ));
        }
    }
    Ok(())
}

/// `volume-nocopy` on a bind would do nothing, and somebody believes that it
/// does.
fn check_mix(spec: &MountSpec) -> Result<(), String> {
    let mix = [
        (spec.volume_options.is_some(), MountKind::Volume),
        (spec.bind_options.is_some(), MountKind::Bind),
        (spec.tmpfs_options.is_some(), MountKind::Tmpfs),
    ];
    for (is_set, kind) in mix {
        if is_set && kind != spec.kind {
            return Err(format!(
                "cannot mix '{}-*' options with mount type '{}'",
                kind.name(),
                spec.kind.name()
            ));
        }
    }
    Ok(())
}

/// "Read-only all the way down" only means something for a mount that is
/// read-only, and can only be promised if no mount can come in later.
fn check_recursive(spec: &MountSpec, all: &[String]) -> Result<(), String> {
    let Some(bind) = &spec.bind_options else { return Ok(()) };
    let requires = |option: &str, other: &str| {
        Err(format!(
            "option '{option}' requires '{other}' to be specified in \
             conjunction"
        ))
    };
    if bind.read_only_non_recursive && !spec.read_only {
        return requires("bind-recursive=writable", "readonly");
    }
    if bind.read_only_force_recursive {
        if !spec.read_only {
            return requires("bind-recursive=readonly", "readonly");
        }
        let private = "bind-propagation=rprivate";
        if !all.iter().any(|field| field == private) {
            return requires("bind-recursive=readonly", private);
        }
    }
    Ok(())
}

/// Splits one line of CSV as Go's `encoding/csv` does, whose words these
/// are.
fn split_csv(text: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let mut chars = text.chars().peekable();
    let mut quoted = false;
    let mut start = true;
    while let Some(c) = chars.next() {
        let field = fields.last_mut().expect("never empty");
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' if quoted => {
                quoted = false;
                if chars.peek().is_some_and(|c| *c != ',') {
                    return Err(csv("extraneous or missing \" in \
                                    quoted-field"));
                }
            }
            '"' if start => quoted = true,
            '"' => {
                return Err(csv("bare \" in non-quoted-field"));
            }
            ',' if !quoted => {
                fields.push(String::new());
                start = true;
                continue;
            }
            c => field.push(c),
        }
        start = false;
    }
    if quoted {
        return Err(csv("extraneous or missing \" in quoted-field"));
    }
    Ok(fields)
}

fn csv(what: &str) -> String {
    format!("parse error on line 1: {what}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_option_arrives() {
        let spec = parse_mount_flag(
            "type=bind,src=/srv,dst=/data,ro,bind-propagation=rslave,\
             bind-nonrecursive,consistency=Cached",
        )
        .unwrap();
        assert_eq!((spec.kind, spec.read_only), (MountKind::Bind, true));
        assert_eq!(spec.consistency, "cached");
        let bind = spec.bind_options.unwrap();
        assert!(bind.non_recursive && !bind.create_mountpoint);

        let spec = parse_mount_flag(
            "source=db,target=/data,volume-nocopy=true,volume-subpath=a/b,\
             volume-label=k=v,volume-driver=local,\
             \"volume-opt=o=size=1m,uid=7\"",
        )
        .unwrap();
        let volume = spec.volume_options.unwrap();
        assert_eq!(volume.subpath, "a/b");
        assert_eq!(volume.labels["k"], "v");
        let driver = volume.driver_config.unwrap();
        assert_eq!(driver.options["o"], "size=1m,uid=7");

        let spec = parse_mount_flag(
            "type=tmpfs,destination=/t,tmpfs-size=64m,tmpfs-mode=1770",
        )
        .unwrap();
        let tmpfs = spec.tmpfs_options.unwrap();
        assert_eq!((tmpfs.size_bytes, tmpfs.mode), (64 << 20, 0o1770));
    }

    #[test]
    fn what_docker_refuses_is_refused_in_its_words() {
        let bad = [
            "type=bind,source=/srv",
            "type=disk,target=/data",
            "target=/data,nonsense",
            "target=/data,colour=red",
            "target=/data,ro=maybe",
            "type=bind,src=/a,dst=/b,volume-nocopy",
            "type=volume,dst=/b,bind-propagation=shared",
            "type=bind,src=/a,dst=/b,bind-recursive=perhaps",
            "type=bind,src=/a,dst=/b,bind-recursive=readonly",
            "type=bind,src=/a,dst=/b,ro,bind-recursive=readonly",
            "type=bind,src=/a,dst=/b,bind-recursive=writable",
            "type=tmpfs,dst=/t,tmpfs-size=big",
            "type=tmpfs,dst=/t,tmpfs-mode=999",
            "\"target=/data",
            "tar\"get=/data",
        ];
        let text: Vec<_> = bad
            .iter()
            .map(|bad| {
                format!("{bad} → {}", parse_mount_flag(bad).unwrap_err())
            })
            .collect();
        insta::assert_snapshot!(text.join("\n"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,60}") {
            let _ = parse_mount_flag(&text);
        }

        #[test]
        fn a_quoted_field_may_hold_anything(value in "[^\n\r]{1,20}") {
            let quoted = value.replace('"', "\"\"");
            let text = format!("target=/t,\"source={quoted}\"");
            let spec = parse_mount_flag(&text).unwrap();
            prop_assert_eq!(spec.source, value);
        }
    }
}
