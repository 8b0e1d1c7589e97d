//! The messages, by the names that they have in BuildKit's `.proto` files:
//! of their fields those that are read or written here. Protobuf skips what
//! it does not know, so the rest may stay away.

pub(super) mod control;
pub(super) mod gateway;
pub(super) mod session;

use prost::Message;

/// An answer or a question without any field.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Nothing {}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Any {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<Any>,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(super) struct Timestamp {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

impl Timestamp {
    pub(super) fn now() -> Timestamp {
        jiff::Timestamp::now().into()
    }
}

impl From<jiff::Timestamp> for Timestamp {
    fn from(time: jiff::Timestamp) -> Timestamp {
        let (seconds, nanos) = (time.as_second(), time.subsec_nanosecond());
        Timestamp { seconds, nanos }
    }
}

/// `pb.Definition`: a graph of steps. Only whether there is one is of
/// interest.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Definition {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub(super) def: Vec<Vec<u8>>,
}

/// `pb.Platform`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Platform {
    #[prost(string, tag = "1")]
    pub(super) architecture: String,
    #[prost(string, tag = "2")]
    pub(super) os: String,
    #[prost(string, tag = "3")]
    pub(super) variant: String,
}

/// `moby.buildkit.v1.types.WorkerRecord`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct WorkerRecord {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(btree_map = "string, string", tag = "2")]
    pub(super) labels: std::collections::BTreeMap<String, String>,
    #[prost(message, repeated, tag = "3")]
    pub(super) platforms: Vec<Platform>,
    #[prost(message, optional, tag = "5")]
    pub(super) version: Option<BuildkitVersion>,
}

/// `moby.buildkit.v1.types.BuildkitVersion`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct BuildkitVersion {
    #[prost(string, tag = "1")]
    pub(super) package: String,
    #[prost(string, tag = "2")]
    pub(super) version: String,
}
