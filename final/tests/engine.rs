//! The life of containers over the API, with real containers, through a
//! client that nobody here wrote: bollard's types are made from Docker's own
//! description of its API.

#[path = "engine/activation.rs"]
mod activation;
#[path = "engine/api/mod.rs"]
mod api;
#[path = "engine/attach.rs"]
mod attach;
mod common;
#[path = "engine/create.rs"]
mod create;
#[path = "engine/crowd.rs"]
mod crowd;
#[path = "engine/daemon.rs"]
mod daemon;
#[path = "engine/events.rs"]
mod events;
#[path = "engine/exec.rs"]
mod exec;
#[path = "engine/guard.rs"]
mod guard;
#[path = "engine/inspect.rs"]
mod inspect;
#[path = "engine/lifecycle.rs"]
mod lifecycle;
#[path = "engine/reload.rs"]
mod reload;
#[path = "engine/remote.rs"]
mod remote;
#[path = "engine/restart.rs"]
mod restart;
#[path = "engine/session.rs"]
mod session;
#[path = "engine/streams.rs"]
mod streams;
#[path = "engine/tls.rs"]
mod tls;
