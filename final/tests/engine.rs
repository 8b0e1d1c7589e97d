//! The life of containers over the API, with real containers, through a
//! client that nobody here wrote: bollard's types are made from Docker's own
//! description of its API.

#[path = "engine/daemon.rs"]
mod daemon;
#[path = "engine/inspect.rs"]
mod inspect;
#[path = "engine/lifecycle.rs"]
mod lifecycle;
#[path = "engine/restart.rs"]
mod restart;
#[path = "engine/streams.rs"]
mod streams;
