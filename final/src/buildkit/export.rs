//! Where a build's result goes: into the engine as an image, or to the
//! client as files.

use std::collections::BTreeMap;
use std::io::{self, Seek, Write};
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use layers::Reference;

use super::attrs::unsupported;
use super::grpc::{Status, failed, unknown};
use super::job::{Built, Job};
use super::progress::Line;
use super::sending;
use super::sessions::{Session, Talk};
use super::wire::session::BytesMessage;
use crate::engine::Engine;
use crate::engine::build::{receive, tags};

type Result<T> = std::result::Result<T, Status>;

/// What `Control.Solve` answers with: texts by BuildKit's names for them.
pub(super) type Response = BTreeMap<String, String>;

/// One `--output`.
#[derive(Debug)]
pub(super) enum Exporter {
    /// The engine's own images.
    Image(Vec<Reference>),
    /// The files, as a tar to the client.
    Tar,
    /// The files, into a directory of the client's.
    Local,
}

impl Exporter {
    /// What the job asks for; without any, the result only fills the cache.
    pub(super) fn of(job: &Job) -> Result<Option<Exporter>> {
        let request = &job.request;
        let (kind, attrs) = match request.exporters.as_slice() {
            [] if request.exporter.is_empty() => return Ok(None),
            [] => (request.exporter.as_str(), &request.exporter_attrs),
            [one] => (one.r#type.as_str(), &one.attrs),
            _ => return Err(unsupported("several outputs at once")),
        };
        let names = attrs.get("name").map_or("", String::as_str).split(',');
        let names: Vec<String> = names.map(str::to_owned).collect();
        if attrs.get("push").is_some_and(|it| it == "true") {
            return Err(unsupported(
                "pushing as part of a build is not supported: build, then \
                 docker push",
            ));
        }
        Ok(Some(match kind {
            "moby" | "image" => Exporter::Image(tags(&names).map_err(unknown)?),
            "tar" => Exporter::Tar,
            "local" => Exporter::Local,
            kind => {
                return Err(unsupported(format!(
                    "exporter {kind:?} could not be found: moby, tar and \
                     local are"
                )));
            }
        }))
    }

    /// Brings the result where it shall be.
    pub(super) fn export(
        &self,
        engine: &Arc<Engine>,
        job: &Arc<Job>,
        session: &Session,
        built: &Built,
    ) -> Result<Response> {
        match self {
            Exporter::Image(names) => image(engine, job, built, names),
            Exporter::Tar => {
                let line = Line::begin(job, "exporting to client tarball");
                line.ended(send_tar(engine, session, built))?;
                Ok(Response::new())
            }
            Exporter::Local => {
                let line = Line::begin(job, "exporting to client directory");
                line.ended(send_files(engine, session, built))?;
                Ok(Response::new())
            }
        }
    }
}

fn image(
    engine: &Arc<Engine>,
    job: &Arc<Job>,
    built: &Built,
    names: &[Reference],
) -> Result<Response> {
    let mut line = Line::begin(job, "exporting to image");
    let id = built.image.to_string();
    line.part("exporting layers", (0, 0), true);
    line.part(&format!("writing image {id}"), (0, 0), true);
    built.is_wanted();
    let mut full = Vec::new();
    for name in names {
        let name = name.clone().or_latest();
        engine.store.tag(&name, &built.image).map_err(unknown)?;
        engine.tell_image("tag", &built.image, &name.familiar());
        line.part(&format!("naming to {name}"), (0, 0), true);
        full.push(name.to_string());
    }
    line.done();
    let mut response = Response::from([
        ("containerimage.config.digest".to_owned(), id.clone()),
        ("containerimage.digest".to_owned(), id),
    ]);
    if !full.is_empty() {
        response.insert("image.name".to_owned(), full.join(","));
    }
    Ok(response)
}

/// What the client calls either way of sending.
const SEND: &str = "/moby.filesync.v1.FileSend/DiffCopy";

/// The files one by one. They come out of the layers as a tar, so a plain
/// directory is made of it first.
fn send_files(
    engine: &Arc<Engine>,
    session: &Session,
    built: &Built,
) -> Result<()> {
    let scratch = engine.store.scratch();
    let mut tar = tempfile::tempfile_in(scratch).map_err(unknown)?;
    engine.export_image(&built.image.to_string(), &mut tar).map_err(unknown)?;
    tar.rewind().map_err(unknown)?;
    let files = receive(&engine.store, tar).map_err(unknown)?;
    let mut talk = session.talk(SEND, HeaderMap::new())?;
    sending::send(files.path(), &mut talk)?;
    talk.close();
    talk.hear().map(drop)
}

/// The files as one tar, to where the client's user wants it.
fn send_tar(
    engine: &Arc<Engine>,
    session: &Session,
    built: &Built,
) -> Result<()> {
    let mut talk = session.talk(SEND, HeaderMap::new())?;
    let mut out = io::BufWriter::with_capacity(32 << 10, Sender(&talk));
    engine.export_image(&built.image.to_string(), &mut out).map_err(unknown)?;
    out.flush().map_err(unknown)?;
    drop(out);
    talk.close();
    // The client answers when all of it is written.
    talk.hear().map(drop)
}

struct Sender<'a>(&'a Talk<BytesMessage>);

impl Write for Sender<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let data = Bytes::copy_from_slice(bytes);
        let sent = self.0.say(BytesMessage { data });
        sent.map(|()| bytes.len()).map_err(|it| failed(&it))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
