//! `-v`: the short form, `SOURCE:TARGET:OPTIONS`.
//!
//! What decides is the first character: a source that begins with `/` is a
//! path on the host, anything else is the name of a volume. That is why
//! `-v data:/data` and `-v /data:/data` do such different things.

use crate::spec::{MountKind, MountSpec, PROPAGATIONS};

/// Parses one value of `-v`. Colons divide it, so a path with a colon in it
/// cannot be said this way; `--mount` can. (The value is an element of `HostConfig.Binds` in the API.)
///
/// # Errors
/// Docker's sentence.
pub fn parse_volume_flag(text: &str) -> Result<MountSpec, String> {
    let invalid = || format!("invalid volume specification: '{text}'");
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts[..] {
        [target] => ("", target, ""),
        // `/data:ro` looks as if it had a source; nobody means that.
        [_, target] if is_mode(target) => return Err(invalid()),
        [source, target] => (source, target, ""),
        [source, target, options] => (source, target, options),
        _ => return Err(invalid()),
    };
    if parts[0].is_empty() {
        return Err(invalid());
    }
    if !options.is_empty() && !is_mode(options) {
        return Err(format!("invalid mode: {options}"));
    }
    let mut spec = MountSpec {
        kind: if source.starts_with('/') {
            MountKind::Bind
        } else {
            MountKind::Volume
        },
        source: source.to_owned(),
        target: target.to_owned(),
        ..MountSpec::default()
    };
    // A typing error in a path gives an empty directory that belongs to root.
    // It has always been so, and scripts rely on it.
    if spec.kind == MountKind::Bind {
        spec.bind().create_mountpoint = true;
    }
    apply(&mut spec, options).map_err(|why| format!("{}: {why}", invalid()))?;
    spec.validate().map_err(|why| format!("{}: {why}", invalid()))?;
    Ok(spec)
}

/// Sets what the words of the last part say; they are known to be valid.
fn apply(spec: &mut MountSpec, options: &str) -> Result<(), String> {
    for word in options.split(',') {
        match word {
            "ro" => spec.read_only = true,
            "nocopy" => match spec.kind {
                MountKind::Volume => spec.volume().no_copy = true,
                _ => return Err("invalid mode: nocopy".to_owned()),
            },
            word if PROPAGATIONS.contains(&word) => match spec.kind {
                MountKind::Bind => {
                    spec.bind().propagation = word.to_owned();
                }
                _ => return Err(format!("invalid mode: {word}")),
            },
            word if CONSISTENCIES.contains(&word) => {
                spec.consistency = word.to_owned();
            }
            "z" | "Z" if has_selinux() => {
                return Err(format!(
                    "SELinux labels are not supported: label the source by \
                     hand (chcon -Rt container_file_t) and leave :{word} out"
                ));
            }
            // rw is the default.
            _ => {}
        }
    }
    Ok(())
}

/// How far a Mac may lag behind its virtual machine.
const CONSISTENCIES: [&str; 4] =
    ["default", "consistent", "cached", "delegated"];

/// Whether the text is a list of options, at most one of each kind.
fn is_mode(text: &str) -> bool {
    let kinds: [&[&str]; 5] = [
        &["ro", "rw"],
        &["z", "Z"],
        &["nocopy"],
        &PROPAGATIONS,
        &CONSISTENCIES,
    ];
    let mut seen = [false; 5];
    text.split(',').all(|word| {
        let kind = kinds.iter().position(|words| words.contains(&word));
        kind.is_some_and(|kind| !std::mem::replace(&mut seen[kind], true))
    })
}

/// Whether this host keeps SELinux labels. Without it `z` and `Z` ask for
/// nothing; with it we would have to relabel the source, and do not.
fn has_selinux() -> bool {
    std::path::Path::new("/sys/fs/selinux/enforce").exists()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_slash_makes_it_a_path_of_the_host() {
        let bind = parse_volume_flag("/srv:/data:ro,rslave,z").unwrap();
        assert_eq!(bind.kind, MountKind::Bind);
        assert!(bind.read_only);
        let options = bind.bind_options.unwrap();
        assert_eq!(options.propagation, "rslave");
        assert!(options.create_mountpoint);

        let volume = parse_volume_flag("db:/data:nocopy").unwrap();
        assert_eq!(volume.kind, MountKind::Volume);
        assert!(volume.volume_options.unwrap().no_copy);

        let anonymous = parse_volume_flag("/data").unwrap();
        assert_eq!(anonymous.kind, MountKind::Volume);
        assert_eq!(anonymous.source, "");
    }

    #[test]
    fn what_docker_refuses_is_refused_in_its_words() {
        let bad = [
            "",
            ":/data",
            "/data:ro",
            "/a:/b:ro:x",
            "/a:/b:rox",
            "/a:/b:ro,rw",
            "/a:/b:nocopy",
            "db:/data:rshared",
            "db:data",
            "db:/",
            "/a:",
        ];
        let text: Vec<_> = bad
            .iter()
            .map(|bad| {
                format!("{bad:?} → {}", parse_volume_flag(bad).unwrap_err())
            })
            .collect();
        insta::assert_snapshot!(text.join("\n"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,40}") {
            let _ = parse_volume_flag(&text);
        }

        #[test]
        fn what_was_put_in_comes_out(
            source in "/[a-z]{1,8}|[a-z][a-z0-9_.-]{1,8}",
            target in "(/[a-z]{1,6}){1,3}",
            read_only in any::<bool>(),
        ) {
            let mode = if read_only { "ro" } else { "rw" };
            let spec =
                parse_volume_flag(&format!("{source}:{target}:{mode}"))
                    .unwrap();
            prop_assert_eq!(spec.source, source);
            prop_assert_eq!(spec.target, target);
            prop_assert_eq!(spec.read_only, read_only);
        }
    }
}
