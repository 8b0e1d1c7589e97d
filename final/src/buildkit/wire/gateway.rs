//! `moby.buildkit.v1.frontend.LLBBridge` (frontend/gateway/pb/gateway.proto):
//! how a client that is its own frontend asks for builds within a build.

use std::collections::BTreeMap;

use prost::{Message, Oneof};

use super::{Definition, RpcStatus, WorkerRecord};

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct SolveRequest {
    #[prost(message, optional, tag = "1")]
    pub(in super::super) definition: Option<Definition>,
    #[prost(string, tag = "2")]
    pub(in super::super) frontend: String,
    #[prost(btree_map = "string, string", tag = "3")]
    pub(in super::super) frontend_opt: BTreeMap<String, String>,
    #[prost(bool, tag = "6")]
    pub(in super::super) allow_result_array_ref: bool,
    #[prost(btree_map = "string, message", tag = "13")]
    pub(in super::super) frontend_inputs: BTreeMap<String, Definition>,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct SolveResponse {
    #[prost(message, optional, tag = "3")]
    pub(in super::super) result: Option<Result>,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct Result {
    #[prost(oneof = "Refs", tags = "1, 2, 3, 4")]
    pub(in super::super) refs: Option<Refs>,
    #[prost(btree_map = "string, bytes", tag = "10")]
    pub(in super::super) metadata: BTreeMap<String, Vec<u8>>,
}

/// What was built: one thing, or one for each platform.
#[derive(Clone, PartialEq, Oneof)]
pub(in super::super) enum Refs {
    #[prost(string, tag = "1")]
    OldOne(String),
    #[prost(message, tag = "2")]
    OldMap(OldRefMap),
    #[prost(message, tag = "3")]
    One(Ref),
    #[prost(message, tag = "4")]
    Map(RefMap),
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(in super::super) struct OldRefMap {
    #[prost(btree_map = "string, string", tag = "1")]
    pub(in super::super) refs: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(in super::super) struct Ref {
    #[prost(string, tag = "1")]
    pub(in super::super) id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct RefMap {
    #[prost(btree_map = "string, message", tag = "1")]
    pub(in super::super) refs: BTreeMap<String, Ref>,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct ReturnRequest {
    #[prost(message, optional, tag = "1")]
    pub(in super::super) result: Option<Result>,
    #[prost(message, optional, tag = "2")]
    pub(in super::super) error: Option<RpcStatus>,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct PongResponse {
    #[prost(message, repeated, tag = "1")]
    pub(in super::super) frontend_api_caps: Vec<ApiCap>,
    #[prost(message, repeated, tag = "2")]
    pub(in super::super) llb_caps: Vec<ApiCap>,
    #[prost(message, repeated, tag = "3")]
    pub(in super::super) workers: Vec<WorkerRecord>,
}

/// `moby.buildkit.v1.apicaps.APICap`: one thing that can be done here.
#[derive(Clone, PartialEq, Eq, Message)]
pub(in super::super) struct ApiCap {
    #[prost(string, tag = "1")]
    pub(in super::super) id: String,
    #[prost(bool, tag = "2")]
    pub(in super::super) enabled: bool,
}

impl Refs {
    /// The names of what was built.
    pub(in super::super) fn ids(self) -> Vec<String> {
        match self {
            Refs::OldOne(id) => vec![id],
            Refs::OldMap(map) => map.refs.into_values().collect(),
            Refs::One(one) => vec![one.id],
            Refs::Map(map) => map.refs.into_values().map(|it| it.id).collect(),
        }
    }
}
