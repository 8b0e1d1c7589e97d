//! Every operation of the API, done or refused with a reason.

use std::collections::BTreeMap;

use bytes::Bytes;
use cli_api::Error;
use cli_api::client::{Client, Payload};
use futures_util::stream;
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::Value;

use super::page;
use crate::daemon::Daemon;

/// One call of `operations.json`; they are made in that order.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Operation {
    /// Its name in Docker's description of the API.
    op: String,
    /// Method and path.
    call: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// A body of JSON.
    body: Option<Value>,
    /// A body that is a tar of these files.
    tar: Option<BTreeMap<String, String>>,
    /// The body is what the last call brought.
    #[serde(default)]
    last: bool,
    /// The answer's `Id` is meant by `{this}` later on.
    keep: Option<String>,
    /// The answer has no end.
    #[serde(default)]
    unread: bool,
    /// It needs a registry, and proves itself by trying to reach this one.
    tries: Option<String>,
}

/// Answers and names that later calls need.
#[derive(Default)]
struct Memory {
    last: Bytes,
    kept: BTreeMap<String, String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_is_done_or_refused_with_a_reason() {
    let test = "every_operation_is_done_or_refused_with_a_reason";
    let Some(daemon) = Daemon::start(test).await else { return };
    let host = format!("unix://{}", daemon.socket().display());
    let client = Client::new(host.parse().unwrap());
    let operations: Vec<Operation> =
        serde_json::from_str(include_str!("operations.json")).unwrap();
    let mut memory = Memory::default();
    let (mut rows, mut faults) = (Vec::new(), Vec::new());
    for operation in &operations {
        let Operation { op, call, .. } = operation;
        let path = call.split('?').next().unwrap_or(call);
        let path = path.replace("op2", "op");
        let fate = match operation.run(&client, &mut memory).await {
            Ok(()) => "done".to_owned(),
            Err(Error::Api { message, .. })
                if operation
                    .tries
                    .as_ref()
                    .is_some_and(|it| message.contains(it)) =>
            {
                "done".to_owned()
            }
            // What is not there at all, what went wrong by itself.
            Err(Error::Api { status, message })
                if message == "page not found" || status == 500 =>
            {
                faults.push(format!("{op}: {status} {message}"));
                continue;
            }
            Err(Error::Api { status, message }) => {
                format!("refused, {status}: {message}")
            }
            Err(other) => {
                faults.push(format!("{op}: {other}"));
                continue;
            }
        };
        let row = format!("| {op} | `{path}` | {fate} |");
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    page::check("operations", &rows.join("\n"));
}

impl Operation {
    async fn run(
        &self,
        client: &Client,
        memory: &mut Memory,
    ) -> Result<(), Error> {
        let (method, path) = self.call.split_once(' ').unwrap();
        let mut path = path.to_owned();
        for (name, id) in &memory.kept {
            path = path.replace(&format!("{{{name}}}"), id);
        }
        // Names are leaked: the client's headers are known when it is built.
        let headers: Vec<_> = self
            .headers
            .iter()
            .map(|(name, value)| (&*name.clone().leak(), value.clone()))
            .collect();
        let method = method.parse().unwrap();
        let body = self.payload(memory);
        let answer = client.send_with(method, &path, body, &headers).await?;
        if self.unread {
            return Ok(());
        }
        let body = answer.into_body().collect().await;
        let body = body.map_err(|it| Error::Broken(std::io::Error::other(it)));
        memory.last = body?.to_bytes();
        if let Some(name) = &self.keep {
            let answer: Value = serde_json::from_slice(&memory.last).unwrap();
            let id = answer["Id"].as_str().unwrap().to_owned();
            memory.kept.insert(name.clone(), id);
        }
        Ok(())
    }

    fn payload(&self, memory: &Memory) -> Payload {
        if self.last {
            return upload(memory.last.clone());
        }
        if let Some(files) = &self.tar {
            let mut tar = tar::Builder::new(Vec::new());
            for (path, content) in files {
                let mut header = tar::Header::new_gnu();
                header.set_mode(0o644);
                header.set_size(content.len() as u64);
                tar.append_data(&mut header, path, content.as_bytes()).unwrap();
            }
            return upload(tar.into_inner().unwrap().into());
        }
        match &self.body {
            Some(body) => Payload::json(body).unwrap(),
            None => Payload::none(),
        }
    }
}

fn upload(bytes: Bytes) -> Payload {
    let piece = stream::once(async { Ok(bytes) });
    Payload::stream("application/x-tar", piece)
}
