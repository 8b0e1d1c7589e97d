//! `moby.buildkit.v1.Control`: what a client asks on `/grpc`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;

use super::attrs;
use super::bridge;
use super::cache;
use super::export::{Exporter, Response};
use super::grpc::server::{self, Answer, Call, Service};
use super::grpc::{Code, Status};
use super::job::{Guard, Job};
use super::solve::{blocking, build, export};
use super::wire::control as wire;
use super::wire::{BuildkitVersion, Nothing, Platform, WorkerRecord};
use crate::engine::Engine;

/// How long a question about a build waits for the build. The client asks
/// for both at the same time.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers a client on its connection until it goes away; its builds end
/// with it.
///
/// # Errors
/// What is wrong with the connection.
pub async fn serve(
    engine: Arc<Engine>,
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> hyper::Result<()> {
    let desk = Desk { engine, jobs: Mutex::default(), opened: Notify::new() };
    server::serve(io, Arc::new(desk)).await
}

/// One client and its builds.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) engine: Arc<Engine>,
    jobs: Mutex<BTreeMap<String, Arc<Job>>>,
    opened: Notify,
}

impl Service for Desk {
    async fn answer(&self, call: Call) -> Answer {
        if let Some(method) =
            call.path().strip_prefix("/moby.buildkit.v1.frontend.LLBBridge/")
        {
            let method = method.to_owned();
            return bridge::answer(self, &method, call).await;
        }
        match call.path() {
            "/moby.buildkit.v1.Control/ListWorkers" => {
                let worker = self.worker();
                call.one(async |_: Nothing| {
                    let record = vec![worker.clone()];
                    Ok(wire::ListWorkersResponse { record })
                })
                .await
            }
            "/moby.buildkit.v1.Control/Info" => {
                call.one(async |_: Nothing| {
                    Ok(wire::InfoResponse { version: Some(version()) })
                })
                .await
            }
            "/moby.buildkit.v1.Control/Solve" => {
                call.one(async |asked| {
                    let exporter_response = self.solve(asked).await?;
                    Ok(wire::SolveResponse { exporter_response })
                })
                .await
            }
            "/moby.buildkit.v1.Control/Status" => {
                call.many(async |asked: wire::StatusRequest| {
                    Ok(self.job(&asked.r#ref).await?.watch())
                })
                .await
            }
            "/moby.buildkit.v1.Control/DiskUsage" => {
                call.one(async |asked: wire::DiskUsageRequest| {
                    let engine = self.engine.clone();
                    let usage = blocking(move || cache::usage(&engine, &asked));
                    Ok(wire::DiskUsageResponse { record: usage.await? })
                })
                .await
            }
            "/moby.buildkit.v1.Control/Prune" => {
                call.many(async |asked: wire::PruneRequest| {
                    let engine = self.engine.clone();
                    let gone = blocking(move || cache::prune(&engine, &asked));
                    Ok(stream::iter(gone.await?.into_iter().map(Ok)))
                })
                .await
            }
            "/grpc.health.v1.Health/Check" => {
                call.one(async |_: Nothing| Ok(Health { status: 1 })).await
            }
            path => Status::unimplemented(format!(
                "unknown method {path}: this engine has no such part of \
                 BuildKit"
            ))
            .into_http(),
        }
    }
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Health {
    /// 1 is `SERVING`.
    #[prost(int32, tag = "1")]
    status: i32,
}

impl Desk {
    /// The build of this name, perhaps a moment later.
    pub(super) async fn job(&self, name: &str) -> Result<Arc<Job>, Status> {
        let wait = async {
            loop {
                let opened = self.opened.notified();
                if let Some(job) = self.jobs().get(name) {
                    return job.clone();
                }
                opened.await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.map_err(|_| {
            Status::new(Code::NotFound, format!("no such job {name}"))
        })
    }

    fn jobs(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<Job>>> {
        // Whole at any moment, whoever panicked.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A build from its beginning to where its result shall be.
    async fn solve(
        &self,
        request: wire::SolveRequest,
    ) -> Result<Response, Status> {
        if request.definition.as_ref().is_some_and(|it| !it.def.is_empty()) {
            return Err(attrs::unsupported(
                "solving LLB is not supported: this engine builds \
                 Dockerfiles (frontend dockerfile.v0)",
            ));
        }
        let job = Job::new(request);
        match self.jobs().entry(job.request.r#ref.clone()) {
            Entry::Occupied(taken) => {
                let text = format!("job ID {} exists", taken.key());
                return Err(Status::already_exists(text));
            }
            Entry::Vacant(free) => free.insert(job.clone()),
        };
        self.opened.notify_waiters();
        let guard = Guard(job.clone());
        let exporter = Exporter::of(&job)?;
        let name = &job.request.frontend;
        let built = match name.as_str() {
            "" => job.returned().await?,
            name => {
                let attrs = job.request.frontend_attrs.clone();
                let built =
                    build(&self.engine, &job, name.to_owned(), attrs).await?;
                Some(Arc::new(built))
            }
        };
        let response = match (exporter, built) {
            (Some(exporter), Some(built)) => {
                export(&self.engine, &job, exporter, built).await?
            }
            _ => Response::new(),
        };
        drop(guard);
        Ok(response)
    }

    /// This engine as the one builder that there is. `moby` is how clients
    /// know that built images are the engine's own.
    pub(super) fn worker(&self) -> WorkerRecord {
        let host = layers::Platform::host();
        let gateway = "org.mobyproject.buildkit.worker.moby.host-gateway-ip";
        let networks = &self.engine.networks;
        let address = networks.inspect("bridge").ok().and_then(|it| {
            let mut all = it.ipam.config.into_iter().map(|it| it.gateway);
            all.find(|it| !it.is_empty())
        });
        WorkerRecord {
            id: self.engine.node_id.clone(),
            labels: address
                .map(|it| (gateway.to_owned(), it))
                .into_iter()
                .collect(),
            platforms: vec![Platform {
                architecture: host.architecture,
                os: host.os,
                variant: host.variant.unwrap_or_default(),
            }],
            version: Some(version()),
        }
    }
}

fn version() -> BuildkitVersion {
    BuildkitVersion {
        package: "skiff".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}
