//! What a build is made from: the Dockerfile, the context, secrets, and base
//! images with the client's accounts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use layers::build::dockerfile::{Command, Dockerfile, MountKind};
use layers::registry::{Auth, Cancel, Progress as Step};
use layers::store::NewImage;
use layers::{History, ImageConfig, ImageId, ImageSource, Platform, Reference};
use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::agents::Agents;
use super::attrs::{Attrs, prefixed, unsupported};
use super::files::Files;
use super::grpc::{Status, failed, unknown};
use super::job::{Built, Job};
use super::progress::Line;
use super::sessions::{Session, Talk, Wanted};
use super::wire::session::BytesMessage;
use crate::engine::Engine;
use crate::engine::build::{Context, fetch, receive};
use crate::engine::images::auth::Logins;
use crate::engine::images::pull::Source;
use crate::engine::progress::Progress;

type Result<T> = std::result::Result<T, Status>;

/// No Dockerfile and no `.dockerignore` is longer.
const MOST_TEXT: u64 = 4 << 20;

/// How clients say that the context is on its way through the session.
const UPLOAD: &str = "http://buildkit-session/";

/// Where files come from.
pub(super) struct Sources<'a> {
    pub(super) engine: &'a Arc<Engine>,
    pub(super) job: &'a Arc<Job>,
    pub(super) session: &'a Session,
    pub(super) attrs: &'a Attrs,
}

/// The files of one build.
pub(super) struct Found {
    pub(super) context: Context,
    /// Where the Dockerfile is, if not in the context.
    pub(super) beside: Option<Context>,
    pub(super) name: PathBuf,
    pub(super) text: String,
}

impl Sources<'_> {
    /// The Dockerfile comes first: what it says about the context, in the
    /// `.dockerignore` beside it, saves sending the rest.
    pub(super) fn find(&self) -> Result<Found> {
        let name = self.attr("filename").unwrap_or("Dockerfile");
        let remote = self.attr("context");
        let apart = remote.is_none() || self.attr("dockerfilekey").is_some();
        let beside = match apart {
            true => Some(self.dockerfile(name)?),
            false => None,
        };
        let context = match remote {
            Some(address) => self.remote(address)?,
            None => self.local(beside.as_ref(), name)?,
        };
        let found = beside.as_ref().unwrap_or(&context);
        let name = context.dockerfile.clone().unwrap_or_else(|| name.into());
        // What cannot be read is for the builder to complain about.
        let text = text_in(found.path(), &name);
        let text = text.unwrap_or_default();
        Ok(Found { context, beside, name, text })
    }

    fn attr(&self, name: &str) -> Option<&str> {
        self.attrs.get(name).map(String::as_str).filter(|it| !it.is_empty())
    }

    fn dockerfile(&self, name: &str) -> Result<Context> {
        let what = format!("load build definition from {name}");
        let key = self.attr("dockerfilekey").unwrap_or("dockerfile");
        let wanted = Wanted {
            dir: key.to_owned(),
            follow: vec![name.to_owned(), format!("{name}.dockerignore")],
            exclude: Vec::new(),
        };
        self.fetch(&what, "transferring dockerfile:", &wanted)
    }

    /// A directory of the client's, without what is to be ignored. The
    /// Dockerfile's own `.dockerignore` goes before the common one.
    fn local(&self, beside: Option<&Context>, name: &str) -> Result<Context> {
        let key = self.attr("contextkey").unwrap_or("context");
        let read = |dir: &Context, name: &str| {
            text_in(dir.path(), Path::new(name)).ok()
        };
        let own = format!("{name}.dockerignore");
        let own = beside.and_then(|dir| read(dir, &own));
        let ignore = match own {
            Some(text) => text,
            None => {
                let wanted = Wanted {
                    dir: key.to_owned(),
                    follow: vec![".dockerignore".to_owned()],
                    exclude: Vec::new(),
                };
                let what = "load .dockerignore";
                let dir = self.fetch(what, "transferring context:", &wanted)?;
                read(&dir, ".dockerignore").unwrap_or_default()
            }
        };
        let wanted = Wanted {
            dir: key.to_owned(),
            follow: Vec::new(),
            exclude: layers::build::ignore::patterns(&ignore),
        };
        let what = "load build context";
        self.fetch(what, "transferring context:", &wanted)
    }

    /// Brings a directory here, as a line of the progress.
    pub(super) fn fetch(
        &self,
        what: &str,
        part: &str,
        wanted: &Wanted,
    ) -> Result<Context> {
        let mut line = Line::begin(self.job, format!("[internal] {what}"));
        let bring = || {
            let talk = self.session.files(wanted)?;
            let mut files = Files::list(talk)?;
            let context = receive(&self.engine.store, &mut files);
            let context = context.map_err(unknown)?;
            Ok((context, files.received()))
        };
        let brought = bring();
        if let Ok((_, bytes)) = &brought {
            line.part(part, (*bytes, 0), true);
        }
        line.ended(brought).map(|(context, _)| context)
    }

    /// A tar from a pipe at the client's, or what is at an address.
    fn remote(&self, address: &str) -> Result<Context> {
        let line = match address.strip_prefix(UPLOAD) {
            Some(path) => {
                let line = Line::begin(
                    self.job,
                    "[internal] load remote build context",
                );
                let talk = self.session.upload(&format!("/{path}"));
                let context = talk.and_then(|talk| {
                    let pieces = Pieces { talk, piece: Bytes::new() };
                    receive(&self.engine.store, pieces).map_err(unknown)
                });
                return line.ended(context);
            }
            None => Line::begin(self.job, format!("[internal] load {address}")),
        };
        // Nobody reads these lines: what they say is on ours.
        let progress = Progress::unheard(self.job.cancel.clone());
        let context = fetch(&self.engine.store, address, &progress, |text| {
            line.log(1, text.as_bytes());
        });
        line.ended(context.map_err(unknown))
    }

    /// What the client lends to the RUNs that ask for it.
    pub(super) fn lent(&self, file: &Dockerfile) -> Result<Lent> {
        let mut secrets = BTreeMap::new();
        let secret = |kind: &'_ MountKind| match kind {
            MountKind::Secret { id, .. } => Some(id.clone()),
            _ => None,
        };
        for id in mounts(file, secret) {
            if let Some(content) = self.session.secret(&id)? {
                secrets.insert(id, content);
            }
        }
        let agent = |kind: &'_ MountKind| match kind {
            MountKind::Ssh { id, .. } => Some(id.clone()),
            _ => None,
        };
        let ids = mounts(file, agent);
        let agents = self.session.agents(&self.engine.store, &ids)?;
        Ok(Lent { secrets, agents })
    }

    /// `--build-context`: what each name stands for.
    pub(super) fn named(&self) -> Result<Named> {
        let mut named = Named::default();
        for (name, what) in prefixed(self.attrs, "context:") {
            let image = match what.split_once(':') {
                Some(("docker-image", name)) => {
                    name.trim_start_matches('/').to_owned()
                }
                Some(("local", dir)) => {
                    let built = self.directory(&name, dir)?;
                    let image = built.image.to_string();
                    named.made.push(built);
                    image
                }
                _ => {
                    return Err(unsupported(format!(
                        "--build-context {name}={what} is not supported: a \
                         directory or docker-image://NAME"
                    )));
                }
            };
            named.images.insert(name, image);
        }
        Ok(named)
    }

    /// A directory as an image of one layer: COPY takes files from it as
    /// from any other, and the cache knows it by its content.
    fn directory(&self, name: &str, dir: &str) -> Result<Built> {
        let ignore = Wanted {
            dir: dir.to_owned(),
            follow: vec![".dockerignore".to_owned()],
            exclude: Vec::new(),
        };
        let part = "transferring context:";
        let what = format!("context {name} load .dockerignore");
        let found = self.fetch(&what, part, &ignore)?;
        let text = text_in(found.path(), Path::new(".dockerignore"));
        let text = text.unwrap_or_default();
        let wanted = Wanted {
            exclude: layers::build::ignore::patterns(&text),
            follow: Vec::new(),
            ..ignore
        };
        let what = format!("[context {name}] load from client");
        let line = Line::begin(self.job, what);
        line.ended(self.layer(&wanted))
    }

    fn layer(&self, wanted: &Wanted) -> Result<Built> {
        let store = &self.engine.store;
        let files = Files::list(self.session.files(wanted)?)?;
        let lease = store.lease().map_err(unknown)?;
        let layer = store.add_layer(&lease, files, false);
        let layer = layer.map_err(unknown)?;
        let mut image = ImageConfig::scratch(&Platform::host());
        image.rootfs.diff_ids.push(layer.diff_id);
        image.history.push(History {
            created_by: Some("build context".to_owned()),
            // Two builds of the same files have an image each, which goes
            // with the build. The cache looks at the files alone.
            comment: Some(cli_api::id::hex64()),
            ..History::default()
        });
        let before = store.ids().map_err(unknown)?;
        let image = store
            .put_image(&lease, &image.to_bytes(), NewImage::default())
            .map_err(unknown)?;
        let fresh = !before.contains(&image);
        Ok(Built::new(self.engine, image, fresh))
    }
}

/// The text of a file of the client's. Its links lead to files of the client's
/// and never of the host's, and what has no end (`-> /dev/zero`) or no
/// beginning (a FIFO that nobody writes to) is not read.
fn text_in(dir: &Path, name: &Path) -> io::Result<String> {
    let dir = File::open(dir)?;
    let file = rustix::fs::openat2(
        &dir,
        name,
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    )?;
    let file = File::from(file);
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    io::read_to_string(file.take(MOST_TEXT))
}

/// What the client lends; it ends with the value.
pub(super) struct Lent {
    pub(super) secrets: BTreeMap<String, Vec<u8>>,
    pub(super) agents: Agents,
}

/// Names, and the images that they stand for.
#[derive(Default)]
pub(super) struct Named {
    pub(super) images: BTreeMap<String, String>,
    /// Those that are there for this build alone.
    made: Vec<Built>,
}

/// The ids of a kind of mount, of all RUNs.
fn mounts(
    file: &Dockerfile,
    id: impl Fn(&MountKind) -> Option<String>,
) -> Vec<String> {
    let body = file.stages.iter().flat_map(|stage| &stage.body);
    let runs = body.filter_map(|it| match &it.command {
        Command::Run(run) => Some(&run.mounts),
        _ => None,
    });
    let ids = runs.flatten().filter_map(|mount| id(&mount.kind));
    // Several RUNs may ask for the same; the client is asked once.
    ids.collect::<BTreeSet<_>>().into_iter().collect()
}

/// An upload as a stream of bytes.
struct Pieces {
    talk: Talk<BytesMessage>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.piece.is_empty() {
            match self.talk.hear() {
                Ok(Some(message)) => self.piece = message.data,
                Ok(None) => return Ok(0),
                Err(it) => return Err(failed(&it)),
            }
        }
        let length = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

/// Base images, pulled with the client's accounts.
pub(super) struct Images<'a> {
    pub(super) engine: &'a Arc<Engine>,
    pub(super) session: &'a Session,
    pub(super) cancel: Cancel,
}

impl ImageSource for Images<'_> {
    fn fetch(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
        always: bool,
        progress: &(dyn Fn(Step) + Sync),
    ) -> layers::Result<ImageId> {
        let logins = self.logins(reference.domain());
        let logins =
            logins.map_err(|it| layers::Error::Outside(failed(&it).into()))?;
        let source = Source {
            engine: self.engine,
            logins: &logins,
            cancel: self.cancel.clone(),
        };
        source.fetch(reference, platform, always, progress)
    }
}

impl Images<'_> {
    /// Without a name, what the client has is an identity token.
    fn logins(&self, registry: &str) -> Result<Logins> {
        // The name that BuildKit asks for.
        let host = match registry {
            "docker.io" => "registry-1.docker.io",
            host => host,
        };
        let Some((username, password)) = self.session.credentials(host)? else {
            return Ok(Logins::default());
        };
        let auth = match username.is_empty() {
            true => Auth { identitytoken: password, ..Auth::default() },
            false => Auth { username, password, ..Auth::default() },
        };
        Ok(Logins::only(registry, auth))
    }
}

/// Where the Dockerfile's path begins.
pub(super) fn dockerfile_dir(found: &Found) -> Option<&Path> {
    found.beside.as_ref().map(Context::path)
}
