//! `docker cp`.

use std::io::{self, Write};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cli_api::server::{ApiError, Params};
use http::{StatusCode, header};
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};

use super::follow::body_of;
use super::{Result, blocking, flag, streams};
use crate::engine::containers::archive::{PathStat, Unpack};
use crate::engine::{Engine, Error};

type Engined = State<Arc<Engine>>;

/// Where the docker command looks for what is at a path.
const STAT: &str = "x-docker-container-path-stat";

/// The query of all three.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Query {
    path: String,
    no_overwrite_dir_non_dir: Option<String>,
    #[serde(rename = "copyUIDGID")]
    copy_uid_gid: Option<String>,
}

impl Query {
    fn path(&self) -> Result<String> {
        if self.path.is_empty() {
            let text = "bad parameter: path cannot be empty";
            return Err(Error::Invalid(text.to_owned()).into());
        }
        Ok(self.path.clone())
    }
}

fn encode(stat: &PathStat) -> Result<String> {
    let json = serde_json::to_vec(stat).map_err(ApiError::internal)?;
    Ok(STANDARD.encode(json))
}

/// `HEAD /containers/NAME/archive`
pub async fn stat(
    State(engine): Engined,
    Path(name): Path<String>,
    Params(query): Params<Query>,
) -> Result<Response> {
    let path = query.path()?;
    let stat = blocking(move || engine.path_stat(&name, &path)).await?;
    Ok([(STAT, encode(&stat)?)].into_response())
}

/// `GET /containers/NAME/archive`
pub async fn get(
    State(engine): Engined,
    Path(name): Path<String>,
    Params(query): Params<Query>,
) -> Result<Response> {
    let path = query.path()?;
    let (found, stat) = oneshot::channel();
    let (sender, receiver) = mpsc::channel(16);
    let pack = tokio::task::spawn_blocking(move || {
        let tell = |stat| drop(found.send(stat));
        engine.pack(&name, &path, tell, &mut Sender(sender))
    });
    // The header must be right before the first byte goes out.
    let Ok(stat) = stat.await else {
        let result = pack.await.map_err(ApiError::internal)?;
        let text = "nothing was found, and nothing said";
        return Err(result.err().unwrap_or(Error::internal(text)).into());
    };
    let headers = [
        (header::CONTENT_TYPE.as_str(), "application/x-tar".to_owned()),
        (STAT, encode(&stat)?),
    ];
    Ok((headers, body_of(receiver)).into_response())
}

/// `PUT /containers/NAME/archive`
pub async fn put(
    State(engine): Engined,
    Path(name): Path<String>,
    Params(query): Params<Query>,
    body: Body,
) -> Result<StatusCode> {
    let path = query.path()?;
    let how = Unpack {
        keep_kinds: flag(query.no_overwrite_dir_non_dir.as_deref()),
        own: flag(query.copy_uid_gid.as_deref()),
    };
    let upload = streams::upload(body);
    let unpack = move || {
        let mut tar = io::BufReader::with_capacity(64 << 10, upload);
        engine.unpack(&name, &path, how, &mut tar)?;
        // What follows the end of the archive is read too: hyper closes a
        // connection whose request was not read to its end.
        io::copy(&mut tar, &mut io::sink()).map_err(Error::internal)?;
        Ok(())
    };
    blocking(unpack).await?;
    Ok(StatusCode::OK)
}

/// Blocking code writes here what the body is made of.
struct Sender(mpsc::Sender<Bytes>);

impl Write for Sender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .blocking_send(Bytes::copy_from_slice(bytes))
            .map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
