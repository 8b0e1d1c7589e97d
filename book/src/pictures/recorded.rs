//! The container that the pictures show. It ran: this is what `skiff explain
//! --format json` said of it, as far as it is drawn.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use transcript::redact::redact;

use crate::transcript::build;

const FILE: &str = "book/src/pictures/web.json";

/// Makes an image with three layers and runs it, under limits, with a volume
/// and a published port. A file of the image is written to.
const SCRIPT: &str = r#"
set -e
export PATH="$PWD/target/debug:$PATH"
mkdir -p /run/image/bin /run/image/etc /run/image/tmp && cd /run/image
mkdir -p proc sys dev
cp "$(command -v busybox)" bin/busybox
for name in sh echo mkdir httpd; do ln -s busybox bin/$name; done
printf 'root:x:0:0:root:/root:/bin/sh\n' >etc/passwd
{
tar c . | skiff import - busybox
mkdir /run/site && cd /run/site
echo hello >index.html
printf 'FROM busybox\nRUN mkdir /www\nCOPY index.html /www\nEXPOSE 80\nCMD ["httpd", "-f", "-h", "/www"]\n' >Dockerfile
skiff build -t site .
skiff network create front
skiff run -d --name web --network front -p 8080:80 -v data:/data \
  --memory 64m --cpus 0.5 --pids-limit 100 site
skiff exec web sh -c 'echo guest:x:9:9::/: >>/etc/passwd; echo x >/data/x'
} >&2
skiff explain --format json web
{ skiff rm -f -v web; skiff network rm front; } >&2
"#;

/// What `skiff explain` says, the parts that are drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Container {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) process: Process,
    pub(super) namespaces: Vec<Namespace>,
    pub(super) group: Group,
    pub(super) root: Root,
    pub(super) mounts: Vec<Mount>,
    pub(super) network: Network,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) pid_inside: i32,
    pub(super) shim: i32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Namespace {
    pub(super) kind: String,
    pub(super) inode: u64,
    pub(super) host: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Group {
    pub(super) controls: Vec<Control>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Control {
    pub(super) path: PathBuf,
    pub(super) value: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Root {
    pub(super) layers: Vec<Layer>,
    pub(super) copied_up: Vec<CopiedUp>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Layer {
    #[serde(rename = "DiffID")]
    pub(super) diff_id: String,
    pub(super) created_by: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CopiedUp {
    pub(super) path: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Mount {
    pub(super) target: String,
    pub(super) root: String,
    pub(super) propagation: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) volume: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Network {
    pub(super) cables: Vec<Cable>,
    pub(super) ports: Vec<Port>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Cable {
    pub(super) network: String,
    pub(super) bridge: String,
    pub(super) veth: String,
    pub(super) interface: String,
    pub(super) addresses: Vec<String>,
    pub(super) gateways: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Port {
    pub(super) host: String,
    pub(super) container: String,
}

/// Files of a control group that are drawn.
const DRAWN: [&str; 6] = [
    "memory.max",
    "memory.current",
    "cpu.max",
    "pids.max",
    "pids.current",
    "cgroup.procs",
];

impl Container {
    /// Parses what `skiff explain` printed, and leaves out what the pictures
    /// do not need.
    fn parse(json: &str) -> Result<Container> {
        let mut it: Container = serde_json::from_str(json)
            .with_context(|| format!("understand skiff explain:\n{json}"))?;
        it.mounts.retain(|it| it.volume.is_some());
        it.group.controls.retain(|it| DRAWN.contains(&name(&it.path)));
        Ok(it)
    }
}

/// The last part of a path.
pub(super) fn name(path: &Path) -> &str {
    path.file_name().and_then(|it| it.to_str()).unwrap_or_default()
}

/// The recorded container.
pub(super) fn load() -> Result<Container> {
    Container::parse(include_str!("web.json"))
}

/// Compares the record with a container of now, or replaces it.
pub(super) fn check(root: &Path, bless: bool) -> Result<()> {
    if let Some(reason) = transcript::sandbox::missing() {
        println!("SKIP: the container of the pictures: {reason}");
        return Ok(());
    }
    build(root, "skiff")?;
    let Some(printed) = run(root)? else { return Ok(()) };
    let now = Container::parse(&printed)?;
    let now = serde_json::to_string_pretty(&now)? + "\n";
    if bless {
        return fs::write(root.join(FILE), now).context("write it down");
    }
    let recorded = fs::read_to_string(root.join(FILE))?;
    if redact(&recorded) == redact(&now) {
        println!("the container in the pictures is like one of now");
        return Ok(());
    }
    let diff = similar::TextDiff::from_lines(&recorded, &now);
    bail!(
        "`cargo run -p book -- pictures --bless` takes the new one:\n{}",
        diff.unified_diff()
    )
}

/// What the script prints, or `None` if this machine cannot run it. It runs
/// in a virtual machine, since the book speaks of cgroup v2 and this machine
/// may have the other kind.
fn run(root: &Path) -> Result<Option<String>> {
    const CANNOT_BE_HAD: i32 = 77;
    let output = Command::new(root.join("scripts/cgroup-v2-vm"))
        .args(["-t", "300", "--", "scripts/sandbox", "-d", "/tmp/data"])
        .args(["bash", "-c", SCRIPT])
        .current_dir(root)
        .stdin(Stdio::null())
        .output()
        .context("run scripts/cgroup-v2-vm")?;
    let told = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(CANNOT_BE_HAD) {
        println!("SKIP: the container of the pictures: {}", told.trim());
        return Ok(None);
    }
    if !output.status.success() {
        bail!("the container did not run ({}):\n{told}", output.status);
    }
    Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned()))
}
