//! A build's failure in BuildKit's words, with the place in the Dockerfile as
//! its clients draw it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use layers::build::BuildError;
use serde_json::json;

use super::grpc::{Code, Status, unknown};
use super::wire::{Any, RpcStatus};

/// The sentence, also for the line of the step that failed.
pub(super) fn sentence(error: &BuildError) -> String {
    match error {
        BuildError::Command { command, code, .. } => format!(
            "process {command:?} did not complete successfully: exit code: \
             {code}"
        ),
        error => error.parts().0,
    }
}

/// The same with the place, whose excerpt the client draws from the whole
/// text of the Dockerfile.
pub(super) fn status(error: &BuildError, name: &str, text: &str) -> Status {
    let Some(at) = error.excerpt() else { return unknown(sentence(error)) };
    let place = json!({ "line": at.line, "character": 0 });
    let source = json!({
        "info": { "filename": name, "data": STANDARD.encode(text) },
        "ranges": [{ "start": place, "end": place }],
    });
    let details = vec![Any {
        type_url: "github.com/moby/buildkit/errdefs.Source+json".into(),
        value: source.to_string().into_bytes(),
    }];
    let (code, message) = (Code::Unknown as i32, sentence(error));
    RpcStatus { code, message, details }.into()
}
