//! `moby.buildkit.v1.Control` (api/services/control/control.proto).

use std::collections::BTreeMap;

use prost::Message;

use super::{BuildkitVersion, Definition, Timestamp, WorkerRecord};

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct SolveRequest {
    #[prost(string, tag = "1")]
    pub(in super::super) r#ref: String,
    #[prost(message, optional, tag = "2")]
    pub(in super::super) definition: Option<Definition>,
    /// `ExporterDeprecated`; newer clients send `exporters` as well.
    #[prost(string, tag = "3")]
    pub(in super::super) exporter: String,
    #[prost(btree_map = "string, string", tag = "4")]
    pub(in super::super) exporter_attrs: BTreeMap<String, String>,
    #[prost(string, tag = "5")]
    pub(in super::super) session: String,
    #[prost(string, tag = "6")]
    pub(in super::super) frontend: String,
    #[prost(btree_map = "string, string", tag = "7")]
    pub(in super::super) frontend_attrs: BTreeMap<String, String>,
    #[prost(message, optional, tag = "8")]
    pub(in super::super) cache: Option<CacheOptions>,
    #[prost(string, repeated, tag = "9")]
    pub(in super::super) entitlements: Vec<String>,
    #[prost(btree_map = "string, message", tag = "10")]
    pub(in super::super) frontend_inputs: BTreeMap<String, Definition>,
    #[prost(message, repeated, tag = "13")]
    pub(in super::super) exporters: Vec<Exporter>,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct Exporter {
    #[prost(string, tag = "1")]
    pub(in super::super) r#type: String,
    #[prost(btree_map = "string, string", tag = "2")]
    pub(in super::super) attrs: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct CacheOptions {
    #[prost(message, repeated, tag = "4")]
    pub(in super::super) exports: Vec<CacheOptionsEntry>,
    #[prost(message, repeated, tag = "5")]
    pub(in super::super) imports: Vec<CacheOptionsEntry>,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct CacheOptionsEntry {
    #[prost(string, tag = "1")]
    pub(in super::super) r#type: String,
    #[prost(btree_map = "string, string", tag = "2")]
    pub(in super::super) attrs: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct SolveResponse {
    #[prost(btree_map = "string, string", tag = "1")]
    pub(in super::super) exporter_response: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct StatusRequest {
    #[prost(string, tag = "1")]
    pub(in super::super) r#ref: String,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct StatusResponse {
    #[prost(message, repeated, tag = "1")]
    pub(in super::super) vertexes: Vec<Vertex>,
    #[prost(message, repeated, tag = "2")]
    pub(in super::super) statuses: Vec<VertexStatus>,
    #[prost(message, repeated, tag = "3")]
    pub(in super::super) logs: Vec<VertexLog>,
    #[prost(message, repeated, tag = "4")]
    pub(in super::super) warnings: Vec<VertexWarning>,
}

/// One line of the progress that a person sees.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct Vertex {
    #[prost(string, tag = "1")]
    pub(in super::super) digest: String,
    #[prost(string, repeated, tag = "2")]
    pub(in super::super) inputs: Vec<String>,
    #[prost(string, tag = "3")]
    pub(in super::super) name: String,
    #[prost(bool, tag = "4")]
    pub(in super::super) cached: bool,
    #[prost(message, optional, tag = "5")]
    pub(in super::super) started: Option<Timestamp>,
    #[prost(message, optional, tag = "6")]
    pub(in super::super) completed: Option<Timestamp>,
    #[prost(string, tag = "7")]
    pub(in super::super) error: String,
}

/// Something that goes on within a vertex, such as a download.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct VertexStatus {
    #[prost(string, tag = "1")]
    pub(in super::super) id: String,
    #[prost(string, tag = "2")]
    pub(in super::super) vertex: String,
    #[prost(int64, tag = "4")]
    pub(in super::super) current: i64,
    #[prost(int64, tag = "5")]
    pub(in super::super) total: i64,
    #[prost(message, optional, tag = "6")]
    pub(in super::super) timestamp: Option<Timestamp>,
    #[prost(message, optional, tag = "7")]
    pub(in super::super) started: Option<Timestamp>,
    #[prost(message, optional, tag = "8")]
    pub(in super::super) completed: Option<Timestamp>,
}

/// What a vertex wrote; `stream` is 1 or 2, as file descriptors are.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct VertexLog {
    #[prost(string, tag = "1")]
    pub(in super::super) vertex: String,
    #[prost(message, optional, tag = "2")]
    pub(in super::super) timestamp: Option<Timestamp>,
    #[prost(int64, tag = "3")]
    pub(in super::super) stream: i64,
    #[prost(bytes = "vec", tag = "4")]
    pub(in super::super) msg: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct VertexWarning {
    #[prost(string, tag = "1")]
    pub(in super::super) vertex: String,
    #[prost(int64, tag = "2")]
    pub(in super::super) level: i64,
    #[prost(bytes = "vec", tag = "3")]
    pub(in super::super) short: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct ListWorkersResponse {
    #[prost(message, repeated, tag = "1")]
    pub(in super::super) record: Vec<WorkerRecord>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(in super::super) struct InfoResponse {
    #[prost(message, optional, tag = "1")]
    pub(in super::super) version: Option<BuildkitVersion>,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct PruneRequest {
    #[prost(string, repeated, tag = "1")]
    pub(in super::super) filter: Vec<String>,
    #[prost(bool, tag = "2")]
    pub(in super::super) all: bool,
    /// In nanoseconds.
    #[prost(int64, tag = "3")]
    pub(in super::super) keep_duration: i64,
    /// `keepBytes` in old clients.
    #[prost(int64, tag = "4")]
    pub(in super::super) reserved_space: i64,
    #[prost(int64, tag = "5")]
    pub(in super::super) max_used_space: i64,
    #[prost(int64, tag = "6")]
    pub(in super::super) min_free_space: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct DiskUsageRequest {
    #[prost(string, repeated, tag = "1")]
    pub(in super::super) filter: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct DiskUsageResponse {
    #[prost(message, repeated, tag = "1")]
    pub(in super::super) record: Vec<UsageRecord>,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct UsageRecord {
    #[prost(string, tag = "1")]
    pub(in super::super) id: String,
    #[prost(bool, tag = "2")]
    pub(in super::super) mutable: bool,
    #[prost(bool, tag = "3")]
    pub(in super::super) in_use: bool,
    #[prost(int64, tag = "4")]
    pub(in super::super) size: i64,
    #[prost(message, optional, tag = "6")]
    pub(in super::super) created_at: Option<Timestamp>,
    #[prost(message, optional, tag = "7")]
    pub(in super::super) last_used_at: Option<Timestamp>,
    #[prost(int64, tag = "8")]
    pub(in super::super) usage_count: i64,
    #[prost(string, tag = "9")]
    pub(in super::super) description: String,
    #[prost(string, tag = "10")]
    pub(in super::super) record_type: String,
    #[prost(bool, tag = "11")]
    pub(in super::super) shared: bool,
    #[prost(string, repeated, tag = "12")]
    pub(in super::super) parents: Vec<String>,
}
