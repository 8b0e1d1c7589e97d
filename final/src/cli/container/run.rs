//! `run` and `create`.

use clap::Args;
use cli_api::Error;
use cli_api::client::Payload;
use http::Method;
use layers::Reference;
use layers::reference::ReferenceError;
use serde_json::Value;

use super::cidfile::CidFile;
use super::flags::{CreateFlags, Pull, Streams};
use crate::cli::context::Context;
use crate::cli::failure::{Failure, sentence};
use crate::cli::image::pull::{Offline, Wanted};
use crate::cli::interrupt::Interrupt;
use crate::cli::progress::Show;
use crate::cli::query::{Query, segment};
use crate::cli::signals::Forwarder;
use crate::cli::streams::{self, End, Wiring};
use crate::cli::terminal::{DetachKeys, require_input};
use crate::cli::{explain, image};

/// Run a command in a new container
#[derive(Debug, Clone, Args)]
pub(crate) struct RunArgs {
    /// Leave it running, and print its ID
    #[arg(short, long)]
    detach: bool,
    /// Print what was done to start it, and how long each step took
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    create: CreateFlags,
}

/// Make a container, and do not start it
#[derive(Debug, Clone, Args)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    create: CreateFlags,
}

/// What the engine calls the new container, and what it finds noteworthy.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    id: String,
    #[serde(default)]
    warnings: Option<Vec<String>>,
}

/// `create`.
pub(crate) async fn create(
    context: &Context,
    args: CreateArgs,
) -> anyhow::Result<u8> {
    let usage = |why| Failure::new(125, said("create", &why));
    args.create.pull().map_err(usage)?;
    let body = args.body().map_err(usage)?;
    let created = make(context, &args.create, &body, Show::Errors).await?;
    println!("{}", created.id);
    Ok(0)
}

impl CreateArgs {
    /// As if a client would attach later, with `start -a`.
    pub(crate) fn body(&self) -> anyhow::Result<Value> {
        let stdin = self.create.process.interactive;
        self.create.body(Streams { stdin, stdout: true, stderr: true })
    }
}

/// `run`: create, attach, start, wait. Its own failures have exit code 125
/// or above, because those below belong to the command.
pub(crate) async fn run(
    context: &Context,
    args: RunArgs,
) -> anyhow::Result<u8> {
    let done = Session::begin(context, &args).await;
    done.map_err(|why| match why.downcast_ref::<Failure>() {
        Some(_) => why,
        None => {
            let code = exit_code_of(&sentence(&why));
            Failure::new(code, said("run", &why)).into()
        }
    })
}

fn said(verb: &str, why: &anyhow::Error) -> String {
    format!(
        "skiff: {}\n\nRun 'skiff {verb} --help' for more information",
        sentence(why)
    )
}

/// Words of which only some together make sense.
fn conflict(text: &str) -> anyhow::Error {
    Failure::new(1, text).into()
}

/// One container that is being run.
struct Session<'a> {
    context: &'a Context,
    args: &'a RunArgs,
    streams: Streams,
    id: String,
}

impl Session<'_> {
    async fn begin(context: &Context, args: &RunArgs) -> anyhow::Result<u8> {
        let streams = args.streams()?;
        let process = &args.create.process;
        if !args.detach {
            require_input(process.tty, streams.stdin)
                .map_err(|why| conflict(&why.to_string()))?;
        }
        anyhow::ensure!(
            !(args.create.rm && process.restart != "no"),
            "conflicting options: cannot specify both --restart and --rm"
        );
        let usage = |why| Failure::new(125, said("run", &why));
        args.create.pull().map_err(usage)?;
        let mut body = args.create.body(streams).map_err(usage)?;
        if args.removes_by_itself() {
            body["HostConfig"]["AutoRemove"] = Value::Bool(false);
        }
        let created = make(context, &args.create, &body, Show::Errors).await?;
        let session =
            Session { context, args, streams, id: created.id.clone() };
        match args.detach {
            true => session.detached().await,
            false => session.attached().await,
        }
    }

    async fn detached(&self) -> anyhow::Result<u8> {
        // First of all, as in docker: who keeps the ID can look at a
        // container that did not start, and remove it.
        println!("{}", self.id);
        self.start().await?;
        self.explain().await?;
        Ok(0)
    }

    /// Attach before the start, or the first lines would be missed; wait
    /// before the start, or a short command would be gone, and with `--rm`
    /// its exit status with it.
    async fn attached(&self) -> anyhow::Result<u8> {
        let process = &self.args.create.process;
        let keys = DetachKeys::parse(&process.detach_keys)
            .map_err(anyhow::Error::msg)?;
        let query = Query::new(self.path("attach"))
            .flag("stdin", self.streams.stdin)
            .flag("stdout", self.streams.stdout)
            .flag("stderr", self.streams.stderr)
            .with("stream", "1")
            .build();
        let tunnel =
            self.context.client.hijack(&query, Payload::none()).await?;
        let exit = self.wait_for_exit().await?;
        let _signals = match process.sig_proxy && !process.tty {
            true => Some(Forwarder::start(self.context, &self.id)?),
            false => None,
        };
        self.start().await?;
        self.explain().await?;
        let wiring = Wiring {
            stdin: self.streams.stdin,
            shown: self.streams.stdout || self.streams.stderr,
            tty: process.tty,
            keys,
            resize: self.path("resize"),
        };
        let code = match streams::connect(self.context, tunnel, wiring).await? {
            End::Detached => return Ok(0),
            End::Output | End::Input => exit_status(exit).await?,
        };
        if self.args.removes_by_itself() {
            let path = format!("/containers/{}?v=1", self.id);
            self.context.client.delete(&path).await?;
        }
        Ok(code)
    }

    /// Asks to be told of the end. The engine answers with the headers at
    /// once, and with the status when it has happened.
    async fn wait_for_exit(
        &self,
    ) -> anyhow::Result<http::Response<hyper::body::Incoming>> {
        let until = match self.args.create.rm && !self.args.removes_by_itself()
        {
            true => "removed",
            false => "next-exit",
        };
        let query =
            Query::new(self.path("wait")).with("condition", until).build();
        let none = Payload::none();
        Ok(self.context.client.send(Method::POST, &query, none).await?)
    }

    /// Starts it; a failure has the exit code that a shell would give.
    async fn start(&self) -> anyhow::Result<()> {
        let Err(why) = self.context.client.command(&self.path("start")).await
        else {
            return Ok(());
        };
        let text = why.to_string();
        let code = exit_code_of(&text);
        // A container that never ran has not "exited", so --rm does not
        // apply to it in the engine.
        if self.args.create.rm {
            let path = format!("/containers/{}?force=1&v=1", self.id);
            let _ = self.context.client.delete(&path).await;
        }
        Err(Failure::new(code, said("run", &why.into())).into())
    }

    async fn explain(&self) -> anyhow::Result<()> {
        if self.args.explain {
            let steps = explain::fetch(self.context, &self.id).await?;
            eprint!("{steps}");
        }
        Ok(())
    }

    fn path(&self, verb: &str) -> String {
        format!("/containers/{}/{verb}", self.id)
    }
}

impl RunArgs {
    /// The engine would remove a short command's container before it can be
    /// asked how it was started.
    fn removes_by_itself(&self) -> bool {
        self.explain && self.create.rm && !self.detach
    }

    /// `-d` attaches to nothing, `-a` to what it names, else to all that is
    /// there.
    fn streams(&self) -> anyhow::Result<Streams> {
        let process = &self.create.process;
        if self.detach {
            if !process.attach.is_empty() {
                return Err(conflict(
                    "conflicting options: cannot specify both --attach and \
                     --detach",
                ));
            }
            return Ok(Streams::default());
        }
        if process.attach.is_empty() {
            let stdin = process.interactive;
            return Ok(Streams { stdin, stdout: true, stderr: true });
        }
        let stdin = process.interactive;
        let mut streams = Streams { stdin, ..Streams::default() };
        for name in &process.attach {
            match name.as_str() {
                "stdin" => streams.stdin = true,
                "stdout" => streams.stdout = true,
                _ => streams.stderr = true,
            }
        }
        Ok(streams)
    }
}

/// Makes a container, and pulls its image if that is not there.
async fn make(
    context: &Context,
    flags: &CreateFlags,
    body: &Value,
    show: Show,
) -> anyhow::Result<Created> {
    let show = if flags.quiet { Show::Nothing } else { show };
    let when = flags.pull()?;
    flags.check_image()?;
    let cidfile = flags.open_cidfile()?;
    let pull = async || {
        let wanted = flags.wanted(when, show);
        let fetched = image::pull::fetch(context, flags.image(), wanted);
        if cidfile.is_none() {
            return fetched.await;
        }
        // The empty file must not outlive a ctrl-c.
        let mut interrupt = Interrupt::catch()?;
        tokio::select! {
            fetched = fetched => fetched,
            end = interrupt.come() => Err(end.into()),
        }
    };
    if when == Pull::Always {
        pull().await?;
    }
    let query = Query::new("/containers/create")
        .maybe("name", flags.name.as_deref())
        .maybe("platform", flags.platform.as_deref())
        .build();
    let mut made = context.client.post(&query, body).await;
    if when == Pull::Missing && is_missing_image(&made) {
        if show == Show::Errors {
            eprintln!(
                "Unable to find image '{}' locally",
                image::with_tag(flags.image())
            );
        }
        pull().await?;
        made = context.client.post(&query, body).await;
    }
    let created: Created = made?;
    for warning in created.warnings.iter().flatten() {
        eprintln!("WARNING: {warning}");
    }
    if let Some(file) = cidfile {
        file.keep(&created.id)?;
    }
    Ok(created)
}

impl CreateFlags {
    /// Refuses what is no name before anybody is asked.
    fn check_image(&self) -> anyhow::Result<()> {
        match self.image().parse::<Reference>() {
            Err(ReferenceError::LooksLikeId(_)) => Ok(()),
            // The docker command does not look any closer.
            Err(ReferenceError::Digest(_)) => {
                anyhow::bail!("invalid reference format")
            }
            other => Ok(other.map(drop)?),
        }
    }

    fn open_cidfile(&self) -> anyhow::Result<Option<CidFile>> {
        self.cidfile.as_deref().map(CidFile::open).transpose()
    }

    /// `--pull=always` asks for the registry's image, so none is made here.
    fn wanted(&self, when: Pull, show: Show) -> Wanted<'_> {
        let offline = match when {
            Pull::Always => Offline::Never,
            _ => self.offline,
        };
        Wanted { platform: self.platform.as_deref(), offline, show }
    }
}

/// Other things can be missing, too, such as a network. An image for another
/// platform is as good as none.
fn is_missing_image(made: &Result<Created, Error>) -> bool {
    matches!(made, Err(Error::Api { status: 404, message })
        if message.to_lowercase().contains("no such image")
            || message.contains("does not match the specified platform"))
}

/// Docker's rule: the *text* of the engine's answer decides, because
/// nothing else crosses the API.
fn exit_code_of(text: &str) -> u8 {
    let text = text.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|it| text.contains(it));
    if says(&["executable file not found", "no such file or directory"]) {
        127
    } else if says(&["permission denied", "is a directory"]) {
        126
    } else {
        125
    }
}

/// The status in the answer to a wait.
pub(crate) async fn exit_status(
    answer: http::Response<hyper::body::Incoming>,
) -> anyhow::Result<u8> {
    use http_body_util::BodyExt;
    let body = answer.into_body().collect().await?.to_bytes();
    let status: Value = serde_json::from_slice(&body).map_err(|cause| {
        anyhow::anyhow!("the engine did not say how it ended: {cause}")
    })?;
    let message = &status["Error"]["Message"];
    if let Some(message) = message.as_str().filter(|it| !it.is_empty()) {
        return Err(Failure::new(125, message).into());
    }
    let code = status["StatusCode"].as_i64().unwrap_or(0);
    // The kernel keeps the low 8 bits of an exit status (exit(3)).
    Ok((code & 0xff) as u8)
}

/// The path of a container that the user named.
pub(crate) fn path(name: &str, verb: &str) -> String {
    format!("/containers/{}/{verb}", segment(name))
}
