//! `moby.buildkit.v1.frontend.LLBBridge`: a client that is its own frontend
//! asks for builds within the build that it has begun.

use super::control::{Desk, nothing};
use super::grpc::server::{Answer, Call, reply};
use super::grpc::{Code, Status};
use super::solve::build;
use super::wire::gateway as wire;

/// Which build a call belongs to.
const BUILD: &str = "buildkit-controlapi-buildid";

/// What can be asked for here; a client does without the rest
/// (frontend/gateway/pb/caps.go).
const CAPABILITIES: [&str; 7] = [
    "solve.base",
    "return",
    "returnmap",
    "proto.refarray",
    "importcaches",
    "gateway.solve.metadata",
    "gateway.warnings",
];

/// Answers a call by the method's name.
pub(super) async fn answer(
    desk: &Desk,
    method: &str,
    mut call: Call,
) -> Answer {
    let job = desk.job(call.header(BUILD)).await?;
    match method {
        "Ping" => reply(&wire::PongResponse {
            frontend_api_caps: CAPABILITIES.map(enabled).to_vec(),
            llb_caps: Vec::new(),
            workers: vec![desk.worker()],
        }),
        "Solve" => {
            let asked: wire::SolveRequest = call.message().await?;
            let wire::SolveRequest { frontend, frontend_opt, .. } = asked;
            if asked.definition.is_some_and(|it| !it.def.is_empty()) {
                return Err(super::attrs::unsupported(
                    "solving LLB is not supported: this engine builds \
                     Dockerfiles (frontend dockerfile.v0)",
                ));
            }
            let built =
                build(&desk.engine, &job, frontend, frontend_opt).await?;
            let one = wire::Ref { id: job.keep(built) };
            let refs = match asked.allow_result_array_ref {
                true => wire::Refs::One(one),
                false => wire::Refs::OldOne(one.id),
            };
            let metadata = std::collections::BTreeMap::new();
            let result = wire::Result { refs: Some(refs), metadata };
            reply(&wire::SolveResponse { result: Some(result) })
        }
        "Return" => {
            let asked: wire::ReturnRequest = call.message().await?;
            let refs = asked.result.and_then(|it| it.refs);
            let names = refs.map(wire::Refs::ids).unwrap_or_default();
            job.hand_in(match asked.error {
                Some(error) => Err(Status::from(error)),
                None => Ok(names),
            });
            nothing()
        }
        "Warn" => nothing(),
        method => Err(Status::new(
            Code::Unimplemented,
            format!(
                "{method} is not supported: this engine builds Dockerfiles, \
                 and lets nobody look into a build on the way"
            ),
        )),
    }
}

fn enabled(id: &str) -> wire::ApiCap {
    wire::ApiCap { id: id.to_owned(), enabled: true }
}
