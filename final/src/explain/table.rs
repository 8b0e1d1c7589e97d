//! The same for people: one part after the other, each with the chapter that
//! builds it.

use std::fmt;
use std::path::Path;

use cli_api::human;
use cli_api::table::Table;
use namespaces::CapSet;

use super::{
    Explanation, Group, IdRange, Namespace, Network, Process, Rights, Root,
};

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({}) is {}", self.name, self.image, self.status)?;
        if let Some(process) = &self.process {
            part(f, "a process", "chapter 1")?;
            write_process(f, process)?;
        }
        if !self.namespaces.is_empty() {
            part(f, "in namespaces of its own", "chapter 2")?;
            write!(f, "{}", namespaces(&self.namespaces))?;
        }
        if let Some(rights) = &self.rights {
            part(f, "with few rights", "chapter 2")?;
            write_rights(f, rights)?;
        }
        if let Some(group) = &self.group {
            part(f, "under limits", "chapter 3")?;
            write_group(f, group)?;
        }
        part(f, "on a stack of layers", "chapters 4 and 5")?;
        write_root(f, &self.root)?;
        if !self.mounts.is_empty() {
            part(f, "with mounts on top", "chapters 2 and 6")?;
            write!(f, "{}", mounts(self))?;
        }
        part(f, "on a network", "the finale")?;
        write_network(f, &self.network)?;
        part(f, "and files of the engine", "the finale")?;
        let mut table = Table::new(["FILE", "WHAT IT IS FOR"]);
        for file in &self.files {
            table.row([place(&file.path), file.purpose.clone()]);
        }
        write!(f, "{table}")
    }
}

fn part(f: &mut fmt::Formatter<'_>, what: &str, chapter: &str) -> fmt::Result {
    writeln!(f, "\n… {what} [{chapter}]")
}

fn write_process(f: &mut fmt::Formatter<'_>, it: &Process) -> fmt::Result {
    writeln!(
        f,
        "PID {} here, {} inside, child of the shim {}",
        it.pid, it.pid_inside, it.shim
    )?;
    writeln!(f, "user {}, group {} here", it.uid, it.gid)?;
    for range in &it.uid_map {
        writeln!(f, "{}", ids("users", range))?;
    }
    for range in &it.gid_map {
        writeln!(f, "{}", ids("groups", range))?;
    }
    let mut table = Table::new(["PID HERE", "PID INSIDE", "PROGRAM"]);
    for member in &it.members {
        table.row([
            member.pid.to_string(),
            member.pid_inside.to_string(),
            member.command.clone(),
        ]);
    }
    write!(f, "{table}")
}

fn ids(what: &str, range: &IdRange) -> String {
    let IdRange { inside, outside, count } = *range;
    if (inside, outside, count) == (0, 0, u32::MAX) {
        return format!("{what} are the same inside as here");
    }
    format!(
        "{what} from {inside} inside are those from {outside} here, {count} of them"
    )
}

fn namespaces(all: &[Namespace]) -> Table {
    let mut table = Table::new(["KIND", "CONTAINER", "HOST", ""]);
    for it in all {
        let own = if it.inode == it.host { "shared" } else { "its own" };
        table.row([
            it.kind.clone(),
            it.inode.to_string(),
            it.host.to_string(),
            own.to_owned(),
        ]);
    }
    table
}

fn write_rights(f: &mut fmt::Formatter<'_>, it: &Rights) -> fmt::Result {
    writeln!(f, "capabilities now: {}", capabilities(it.effective))?;
    if it.bounding != it.effective {
        writeln!(f, "at most, ever: {}", capabilities(it.bounding))?;
    }
    match (it.seccomp, it.seccomp_filters) {
        (false, _) => writeln!(f, "system calls are not filtered")?,
        (true, 0 | 1) => writeln!(f, "system calls pass a filter")?,
        (true, many) => writeln!(f, "system calls pass {many} filters")?,
    }
    match it.no_new_privs {
        true => writeln!(f, "set-user-ID programs give it no rights"),
        false => writeln!(f, "set-user-ID programs work (no_new_privs is 0)"),
    }
}

fn capabilities(set: CapSet) -> String {
    let names = set.names();
    match names.as_slice() {
        [] => "none".to_owned(),
        names => names
            .iter()
            .map(|name| name.trim_start_matches("CAP_").to_lowercase())
            .collect::<Vec<_>>()
            .join(" "),
    }
}

fn write_group(f: &mut fmt::Formatter<'_>, group: &Group) -> fmt::Result {
    let mut table = Table::new(["FILE", "VALUE", "MEANING"]);
    for it in &group.controls {
        let path = place(&it.path);
        table.row([path, it.value.clone(), it.meaning.clone()]);
    }
    write!(f, "{table}")
}

fn write_root(f: &mut fmt::Formatter<'_>, root: &Root) -> fmt::Result {
    let mut table = Table::new(["LAYER", "SIZE", "DIRECTORY", "MADE BY"]);
    table.row([
        "its own".to_owned(),
        size(root.written),
        place(&root.upper),
        format!("{} changed paths", root.changes),
    ]);
    for layer in &root.layers {
        table.row([
            "image".to_owned(),
            size(layer.size),
            place(&layer.directory),
            // A heredoc or a long RUN would tear the table.
            layer.created_by.lines().next().unwrap_or_default().to_owned(),
        ]);
    }
    write!(f, "{table}")?;
    for file in &root.copied_up {
        let path = file.path.display();
        writeln!(f, "copied up: {path}, {}", size(file.bytes))?;
    }
    Ok(())
}

fn place(path: &Path) -> String {
    short(&path.to_string_lossy())
}

/// Of an ID of 64 digits the first twelve and `*`: a line that can be read,
/// and a path that a shell still finds.
fn short(path: &str) -> String {
    let is_id = |part: &str| {
        part.len() == 64 && part.bytes().all(|it| it.is_ascii_hexdigit())
    };
    let parts = path.split_inclusive(['/', '-', ':']);
    parts
        .map(|part| match part.get(..64) {
            Some(id) if is_id(id) && part.len() <= 65 => {
                format!("{}*{}", &id[..12], &part[64..])
            }
            _ => part.to_owned(),
        })
        .collect()
}

#[allow(clippy::cast_precision_loss, reason = "shown with three digits")]
fn size(bytes: u64) -> String {
    human::size(bytes as f64, 3)
}

fn mounts(it: &Explanation) -> Table {
    let titles = ["PLACE", "KIND", "FROM", "OPTIONS", "PROPAGATION"];
    let mut table = Table::new(titles);
    for mount in &it.mounts {
        let from = match (&mount.volume, mount.root.as_str()) {
            (Some(volume), _) => short(volume),
            (None, "/") => mount.source.clone(),
            (None, root) => short(&format!("{}:{root}", mount.source)),
        };
        table.row([
            &mount.target,
            &mount.kind,
            &from,
            &mount.options,
            &mount.propagation,
        ]);
    }
    table
}

fn write_network(f: &mut fmt::Formatter<'_>, it: &Network) -> fmt::Result {
    if it.cables.is_empty() {
        return writeln!(f, "no cable: its network is {}", short(&it.mode));
    }
    let titles =
        ["NETWORK", "INSIDE", "ADDRESSES", "MAC", "HERE", "BRIDGE", "GATEWAY"];
    let mut table = Table::new(titles);
    for cable in &it.cables {
        let gateways = cable.gateways.iter().map(ToString::to_string);
        table.row([
            cable.network.clone(),
            cable.interface.clone(),
            cable.addresses.join(", "),
            cable.mac.clone(),
            cable.veth.clone(),
            cable.bridge.clone(),
            gateways.collect::<Vec<_>>().join(", "),
        ]);
    }
    write!(f, "{table}")?;
    for port in &it.ports {
        writeln!(f, "port {} here is {} inside", port.host, port.container)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_that_does_not_run_still_has_its_files() {
        let json = r#"{
            "Id": "0f3a", "Name": "web", "Image": "nginx",
            "Status": "exited", "Process": null, "Namespaces": [],
            "Rights": null, "Group": null, "Mounts": [],
            "Root": {
                "Merged": "/d/overlay2/0f3a/merged",
                "Upper": "/d/overlay2/0f3a/diff",
                "Work": "/d/overlay2/0f3a/work",
                "Written": 1700, "Changes": 3,
                "CopiedUp": [{"Path": "/etc/passwd", "Bytes": 1204}],
                "Layers": [{
                    "DiffID": "sha256:aa", "Directory": "/d/overlay2/aa/diff",
                    "CreatedBy": "RUN a\nRUN b", "Size": 4100000
                }]
            },
            "Network": {"Mode": "none", "Cables": [], "Ports": []},
            "Files": [{"Path": "/d/x.json", "Purpose": "all of it"}]
        }"#;
        let it: Explanation = serde_json::from_str(json).unwrap();
        insta::assert_snapshot!(it);
    }

    #[test]
    fn a_long_id_becomes_a_pattern_that_a_shell_completes() {
        let id = "d1dd0088dca2".repeat(5) + "aaaa";
        let path = format!("/c/{id}/{id}-json.log");
        assert_eq!(short(&path), "/c/d1dd0088dca2*/d1dd0088dca2*-json.log");
        assert_eq!(
            short(&format!("container:{id}")),
            "container:d1dd0088dca2*"
        );
        assert_eq!(short("/etc/skiff-1/x"), "/etc/skiff-1/x");
    }

    #[test]
    fn an_identical_id_map_is_said_in_words() {
        let same = IdRange { inside: 0, outside: 0, count: u32::MAX };
        let moved = IdRange { inside: 0, outside: 100_000, count: 65536 };
        assert_eq!(ids("users", &same), "users are the same inside as here");
        assert_eq!(
            ids("users", &moved),
            "users from 0 inside are those from 100000 here, 65536 of them"
        );
    }
}
