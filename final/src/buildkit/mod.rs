//! BuildKit's door: what `docker build` with buildx, `docker buildx` and
//! Compose use in place of `POST /build`.
//!
//! ```text
//! client                                  daemon
//!   POST /session ── hijacked, HTTP/2 ──▶ sessions   the daemon asks:
//!     files, accounts, secrets ◀───────── files        FileSync, Auth, …
//!   POST /grpc ───── hijacked, HTTP/2 ──▶ control    the client asks:
//!     Solve, Status, ListWorkers, …       │            Control
//!     Solve, Return within that build     bridge       LLBBridge
//!                                         ▼
//!                              job ◀── solve ──▶ the builder of chapter 4
//! ```
//!
//! The two connections know each other by the session's name. A client
//! begins a build with `Control.Solve` and watches it with `Control.Status`.
//! buildx is its own *frontend*: within that build it asks, by
//! `LLBBridge.Solve`, for the Dockerfile to be built, and then says by
//! `LLBBridge.Return` which result it wants to have.
//!
//! BuildKit itself solves graphs of low-level steps (LLB) into which a
//! frontend translates a Dockerfile. There is no such solver here: the one
//! frontend that is known is `dockerfile.v0`, and it is this engine's
//! builder. Whoever comes with a graph is told so.

mod agents;
mod attrs;
mod bridge;
mod cache;
mod control;
mod export;
mod failure;
mod files;
mod grpc;
mod job;
mod progress;
mod sending;
mod sessions;
mod solve;
mod source;
mod trace;
mod wire;

pub use control::serve;
pub use sessions::{Introduction, Session, Sessions};
pub use trace::{Running, SessionBuild, build_with_session};
