//! `moby.buildkit.v1.frontend.LLBBridge`: a client that is its own frontend
//! asks for builds within the build that it has begun.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::control::Desk;
use super::grpc::Status;
use super::grpc::server::{Answer, Call};
use super::job::Job;
use super::solve::build;
use super::wire::{Nothing, gateway as wire};

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
pub(super) async fn answer(desk: &Desk, method: &str, call: Call) -> Answer {
    let job = match desk.job(call.header(BUILD)).await {
        Ok(job) => job,
        Err(status) => return status.into_http(),
    };
    match method {
        "Ping" => {
            let workers = vec![desk.worker()];
            call.one(async |_: Nothing| {
                Ok(wire::PongResponse {
                    frontend_api_caps: CAPABILITIES.map(enabled).to_vec(),
                    llb_caps: Vec::new(),
                    workers: workers.clone(),
                })
            })
            .await
        }
        "Solve" => call.one(async |asked| solve(desk, &job, asked).await).await,
        "Return" => {
            call.one(async |asked: wire::ReturnRequest| {
                let refs = asked.result.and_then(|it| it.refs);
                let names = refs.map(wire::Refs::ids).unwrap_or_default();
                job.hand_in(match asked.error {
                    Some(error) => Err(Status::from(error)),
                    None => Ok(names),
                });
                Ok(Nothing {})
            })
            .await
        }
        "Warn" => call.one(async |_: Nothing| Ok(Nothing {})).await,
        method => Status::unimplemented(format!(
            "{method} is not supported: this engine builds Dockerfiles, and \
             lets nobody look into a build on the way"
        ))
        .into_http(),
    }
}

/// A build within the build; what it made is kept under a name.
async fn solve(
    desk: &Desk,
    job: &Arc<Job>,
    asked: wire::SolveRequest,
) -> Result<wire::SolveResponse, Status> {
    if asked.definition.is_some_and(|it| !it.def.is_empty()) {
        return Err(super::attrs::unsupported(
            "solving LLB is not supported: this engine builds Dockerfiles \
             (frontend dockerfile.v0)",
        ));
    }
    let (frontend, attrs) = (asked.frontend, asked.frontend_opt);
    let built = build(&desk.engine, job, frontend, attrs).await?;
    let one = wire::Ref { id: job.keep(built) };
    let refs = match asked.allow_result_array_ref {
        true => wire::Refs::One(one),
        false => wire::Refs::OldOne(one.id),
    };
    let metadata = BTreeMap::new();
    let result = wire::Result { refs: Some(refs), metadata };
    Ok(wire::SolveResponse { result: Some(result) })
}

fn enabled(id: &str) -> wire::ApiCap {
    wire::ApiCap { id: id.to_owned(), enabled: true }
}
