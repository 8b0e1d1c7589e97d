//! `build`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use cli_api::client::Payload;
use http::Method;
use layers::Reference;
use layers::build::{Entitlement, remote};
use layers::reference::ReferenceError;
use serde_json::{Map, Value, json};

use super::context_tar::BuildContext;
use super::lent::{Agent, Secret};
use super::output::{Before, Output, Outputs};
use super::{repo_and_tag, rescue};
use crate::cli::auth;
use crate::cli::container::{Ulimit, labels};
use crate::cli::context::Context;
use crate::cli::download;
use crate::cli::progress::{Show, Shown};
use crate::cli::query::{Query, source_date_epoch};
use crate::cli::units::{bytes, bytes_or_unlimited};

fn name(text: &str) -> Result<String, ReferenceError> {
    text.parse::<Reference>().map(|_| text.to_owned())
}

/// Build an image from a Dockerfile
#[derive(Debug, Clone, Args)]
pub(crate) struct BuildArgs {
    /// Name of the image; may repeat
    #[arg(short, long, value_name = "NAME[:TAG]", value_parser = name)]
    tag: Vec<String>,
    /// The Dockerfile; - for standard input
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Value of an ARG; a name alone takes it from here; may repeat
    #[arg(long, value_name = "NAME[=VALUE]")]
    build_arg: Vec<String>,
    /// A label; may repeat
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// Stop at this stage
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// Run every step again
    #[arg(long)]
    no_cache: bool,
    /// Ask the registry for newer base images
    #[arg(long)]
    pull: bool,
    /// Print the ID and nothing else
    #[arg(short, long)]
    quiet: bool,
    /// Write the image's ID to this file
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    /// Platform of the image, as linux/arm64
    #[arg(long)]
    platform: Option<String>,
    /// Network for RUN steps: default, host, none
    #[arg(long, value_name = "MODE")]
    network: Option<String>,
    /// Line for /etc/hosts in RUN steps; may repeat
    #[arg(long, value_name = "NAME:ADDRESS")]
    add_host: Vec<String>,
    /// Image whose layers may be reused; may repeat
    #[arg(long, value_name = "IMAGE")]
    cache_from: Vec<String>,
    /// Remove containers of steps that succeeded
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set,
        num_args = 0..=1, default_missing_value = "true",
        require_equals = true, value_name = "BOOL")]
    rm: bool,
    /// Remove containers of steps that failed, too
    #[arg(long)]
    force_rm: bool,
    /// Make one layer of all new ones
    #[arg(long)]
    squash: bool,
    /// The most memory for RUN steps
    #[arg(short, long, value_name = "BYTES", value_parser = bytes)]
    memory: Option<i64>,
    /// The most memory and swap together
    #[arg(long, value_name = "BYTES", value_parser = bytes_or_unlimited,
        allow_negative_numbers = true)]
    memory_swap: Option<i64>,
    /// CPU weight of RUN steps
    #[arg(short, long, value_name = "WEIGHT")]
    cpu_shares: Option<i64>,
    /// CPU time per period, in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_quota: Option<i64>,
    /// The period, in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<i64>,
    /// Which CPUs RUN steps may use
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Which memory nodes
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Size of /dev/shm in RUN steps
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    shm_size: Option<i64>,
    /// A limit per process in RUN steps; may repeat
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    ulimit: Vec<Ulimit>,
    /// The cgroup for RUN steps
    #[arg(long, value_name = "PATH")]
    cgroup_parent: Option<String>,
    /// A secret for RUN --mount=type=secret; may repeat
    #[arg(long, value_name = "id=ID[,src=FILE|,env=NAME]")]
    secret: Vec<Secret>,
    /// An ssh agent for RUN --mount=type=ssh; may repeat
    #[arg(long, value_name = "default|ID[=SOCKET]")]
    ssh: Vec<Agent>,
    /// What a RUN may ask for: network.host, security.insecure; may repeat
    #[arg(long, value_name = "ENTITLEMENT")]
    allow: Vec<Entitlement>,
    /// Where the result goes: DIR, -, or type=local, tar, docker, oci, image
    /// or registry; may repeat
    #[arg(short, long, value_name = "DIR|-|type=TYPE,dest=PATH")]
    output: Vec<Output>,
    /// Short for --output type=docker
    #[arg(long)]
    load: bool,
    /// Short for --output type=registry
    #[arg(long)]
    push: bool,
    /// What to do when a RUN fails: shell opens one in its file system
    #[arg(long, value_name = "ACTION", value_enum)]
    on_error: Option<rescue::OnError>,
    /// Say for each step whether the cache was used, and why not
    #[arg(long)]
    explain: bool,
    /// A directory; - for a tar archive or a Dockerfile on standard input; or
    /// the URL of one of these, or of a git repository
    #[arg(value_name = "PATH|URL|-")]
    context: PathBuf,
}

/// `build`.
pub(crate) async fn build(
    context: &Context,
    args: BuildArgs,
) -> anyhow::Result<u8> {
    let outputs = args.outputs()?;
    let secrets = Secret::json(&args.secret)?;
    let length = secrets.len();
    let (dockerfile, body) = args.body(secrets)?;
    let query = args.query(&dockerfile, &outputs)?;
    let query = match length {
        0 => query,
        _ => query.with("secrets", length.to_string()),
    }
    .build();
    let before = match outputs.files_only() {
        true => Some(Before::look(context).await?),
        false => None,
    };
    let headers = [auth::header_for_all(&context.global)?];
    let answer =
        context.client.send_with(Method::POST, &query, body, &headers).await?;
    let show = match (args.quiet, outputs.take_stdout()) {
        (true, _) => Show::Nothing,
        (false, true) => Show::Errors,
        (false, false) => Show::Output,
    };
    let id = follow(context, Shown::new(answer, show)).await?;
    let tags = args.tags(&outputs);
    let delivered = outputs.deliver(context, &id, &tags, show).await;
    if let Some(before) = before {
        let restored = before.restore(context, &id).await;
        delivered.and(restored)?;
    } else {
        delivered?;
    }
    if args.quiet && !outputs.take_stdout() {
        println!("{id}");
    }
    if let Some(file) = &args.iidfile {
        std::fs::write(file, &id)?;
    }
    Ok(0)
}

/// Shows how the build goes; returns the image's ID.
async fn follow(context: &Context, mut shown: Shown) -> anyhow::Result<String> {
    let mut id = None;
    while let Some(message) = shown.next().await? {
        let aux = message.aux.unwrap_or_default();
        if let Some(failed) = rescue::Failed::of(&aux) {
            rescue::look(context, &failed).await?;
        }
        let said = aux["ID"].as_str().unwrap_or(message.stream.trim());
        if said.starts_with("sha256:") {
            id = Some(said.to_owned());
        }
    }
    id.context("the engine did not say the image's ID")
}

impl BuildArgs {
    /// The Dockerfile's path in the archive, and the archive after the
    /// secrets.
    fn body(&self, secrets: Vec<u8>) -> anyhow::Result<(String, Payload)> {
        if self.context == Path::new("-") {
            return self.body_from_stdin(secrets);
        }
        if self.remote().is_some() {
            let file = self.file.as_deref().unwrap_or(Path::new(""));
            let name = file.to_string_lossy().into_owned();
            let body = match secrets.is_empty() {
                true => Payload::none(),
                false => tar(secrets, |_| Ok(())),
            };
            return Ok((name, body));
        }
        let files = BuildContext::open(&self.context, self.file.as_deref())?;
        files.check()?;
        let dockerfile = files.dockerfile.clone();
        Ok((dockerfile, tar(secrets, move |out| files.write(out))))
    }

    /// The URL, if the context is at one; the daemon fetches it.
    fn remote(&self) -> Option<&str> {
        let text = self.context.to_str()?;
        // As with Docker, a directory of that name is the directory.
        let is = remote::Remote::of_context(text).is_some();
        (is && !self.context.exists()).then_some(text)
    }

    /// What tells this context from others; nothing does for one that comes
    /// on standard input.
    fn origin(&self) -> Option<String> {
        if self.context == Path::new("-") {
            return None;
        }
        let path = || self.context.canonicalize().ok();
        let place = self.remote().map(PathBuf::from).or_else(path)?;
        // One from outside of the context has no name of its own there.
        let file = self.file.as_ref().and_then(|it| it.canonicalize().ok());
        let file = file.filter(|it| !it.starts_with(&place));
        let file = file.unwrap_or_default();
        Some(format!("{} {}", place.display(), file.display()))
    }

    /// A tar archive, or else a Dockerfile without a context.
    fn body_from_stdin(
        &self,
        secrets: Vec<u8>,
    ) -> anyhow::Result<(String, Payload)> {
        use std::io::Read;
        let (is_text, mut input) = remote::is_dockerfile(io::stdin())?;
        let name = self.file.as_deref().unwrap_or(Path::new("Dockerfile"));
        let name = name.to_string_lossy().into_owned();
        if !is_text {
            let body =
                tar(secrets, move |out| io::copy(&mut input, out).map(drop));
            return Ok((name, body));
        }
        let mut text = Vec::new();
        input.read_to_end(&mut text)?;
        let file = name.clone();
        let body = tar(secrets, move |out| {
            let mut builder = tar::Builder::new(out);
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(text.len() as u64);
            builder.append_data(&mut header, &file, text.as_slice())?;
            builder.finish()
        });
        Ok((name, body))
    }

    /// `--output` in all its forms.
    fn outputs(&self) -> anyhow::Result<Outputs> {
        let mut outputs = self.output.clone();
        if self.load || self.push {
            let (names, push) = (Vec::new(), self.push);
            outputs.push(Output::Image { names, push });
        }
        Outputs::new(outputs, &self.tag)
    }

    /// What the image is to be called; one that is only on its way to files
    /// gets no name.
    fn tags(&self, outputs: &Outputs) -> Vec<String> {
        match outputs.files_only() {
            true => Vec::new(),
            false => self.tag.iter().chain(outputs.names()).cloned().collect(),
        }
    }

    fn query(
        &self,
        dockerfile: &str,
        outputs: &Outputs,
    ) -> anyhow::Result<Query> {
        let query = Query::new("/build")
            .with("version", "1")
            .with("dockerfile", dockerfile)
            .maybe("remote", self.remote())
            .maybe("origin", self.origin())
            .flag("nocache", self.no_cache)
            .flag("pull", self.pull)
            .flag("q", self.quiet)
            .flag("forcerm", self.force_rm)
            .flag("squash", self.squash)
            .flag("explain", self.explain)
            .maybe("keepfailed", self.on_error.map(rescue::OnError::request))
            .maybe("target", self.target.as_deref())
            .maybe("platform", self.platform.as_deref())
            .maybe("networkmode", self.network.as_deref())
            .maybe("memory", self.memory)
            .maybe("memswap", self.memory_swap)
            .maybe("cpushares", self.cpu_shares)
            .maybe("cpuquota", self.cpu_quota)
            .maybe("cpuperiod", self.cpu_period)
            .maybe("cpusetcpus", self.cpuset_cpus.as_deref())
            .maybe("cpusetmems", self.cpuset_mems.as_deref())
            .maybe("shmsize", self.shm_size)
            .maybe("cgroupparent", self.cgroup_parent.as_deref());
        self.lists(query, outputs)
    }

    /// Parameters that repeat, and those that are JSON.
    fn lists(
        &self,
        mut query: Query,
        outputs: &Outputs,
    ) -> anyhow::Result<Query> {
        for name in self.tags(outputs) {
            let _checked = repo_and_tag(&name)?;
            query = query.with("t", name);
        }
        for host in &self.add_host {
            query = query.with("extrahosts", host);
        }
        for entitlement in &self.allow {
            query = query.with("allow", entitlement.to_string());
        }
        if !self.rm {
            query = query.with("rm", "0");
        }
        let all = build_args(&self.build_arg);
        if !all.is_empty() {
            query = query.with("buildargs", Value::from(all).to_string());
        }
        if !self.label.is_empty() {
            let all = Value::from(labels(&self.label));
            query = query.with("labels", all.to_string());
        }
        if !self.cache_from.is_empty() {
            let all = json!(self.cache_from);
            query = query.with("cachefrom", all.to_string());
        }
        if !self.ssh.is_empty() {
            query = query.with("ssh", Agent::json(&self.ssh)?.to_string());
        }
        if !self.ulimit.is_empty() {
            let all: Value = self.ulimit.iter().map(Ulimit::json).collect();
            query = query.with("ulimits", all.to_string());
        }
        Ok(query)
    }
}

/// What `write` writes, with the secrets before it: the engine is told how long
/// they are.
fn tar(
    secrets: Vec<u8>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
) -> Payload {
    download::written("application/x-tar", move |out| {
        out.write_all(&secrets)?;
        write(out)
    })
}

/// A name alone takes its value from our environment; null if it has none.
/// `SOURCE_DATE_EPOCH` comes along by itself, as with buildx.
fn build_args(pairs: &[String]) -> Map<String, Value> {
    let epoch = source_date_epoch();
    let epoch = epoch.map(|it| ("SOURCE_DATE_EPOCH".to_owned(), it.into()));
    let given = pairs.iter().map(|it| match it.split_once('=') {
        Some((name, value)) => (name.to_owned(), value.into()),
        None => (it.clone(), std::env::var(it).ok().into()),
    });
    epoch.into_iter().chain(given).collect()
}
