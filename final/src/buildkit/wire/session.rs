//! What the client answers on a session (session/*/*.proto, and fsutil's
//! types/wire.proto and types/stat.proto for files).

use prost::{Enumeration, Message};

/// `BytesMessage` of FileSend, Upload and SSH.
#[derive(Clone, PartialEq, Eq, Message)]
pub(in super::super) struct BytesMessage {
    #[prost(bytes = "bytes", tag = "1")]
    pub(in super::super) data: bytes::Bytes,
}

/// `moby.filesync.v1.CredentialsRequest`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(in super::super) struct CredentialsRequest {
    #[prost(string, tag = "1")]
    pub(in super::super) host: String,
}

/// `moby.filesync.v1.CredentialsResponse`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(in super::super) struct CredentialsResponse {
    #[prost(string, tag = "1")]
    pub(in super::super) username: String,
    #[prost(string, tag = "2")]
    pub(in super::super) secret: String,
}

/// `moby.buildkit.secrets.v1.GetSecretRequest`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(in super::super) struct GetSecretRequest {
    #[prost(string, tag = "1")]
    pub(in super::super) id: String,
}

/// `moby.buildkit.secrets.v1.GetSecretResponse`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(in super::super) struct GetSecretResponse {
    #[prost(bytes = "vec", tag = "1")]
    pub(in super::super) data: Vec<u8>,
}

/// `moby.sshforward.v1.CheckAgentRequest`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(in super::super) struct CheckAgentRequest {
    #[prost(string, tag = "1")]
    pub(in super::super) id: String,
}

/// `fsutil.types.Packet`.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct Packet {
    #[prost(enumeration = "PacketType", tag = "1")]
    pub(in super::super) r#type: i32,
    #[prost(message, optional, tag = "2")]
    pub(in super::super) stat: Option<Stat>,
    /// The file's number in the order of the stats, from zero.
    #[prost(uint32, tag = "3")]
    pub(in super::super) id: u32,
    #[prost(bytes = "bytes", tag = "4")]
    pub(in super::super) data: bytes::Bytes,
}

/// What a packet is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enumeration)]
pub(in super::super) enum PacketType {
    /// There is a file; without one, there are no more.
    Stat = 0,
    /// Send this file.
    Req = 1,
    /// A piece of a file; an empty one is its end.
    Data = 2,
    /// That was all.
    Fin = 3,
    /// It failed, with this text.
    Err = 4,
}

/// `fsutil.types.Stat`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(in super::super) struct Stat {
    #[prost(string, tag = "1")]
    pub(in super::super) path: String,
    /// As Go's `os.FileMode` has it.
    #[prost(uint32, tag = "2")]
    pub(in super::super) mode: u32,
    #[prost(uint32, tag = "3")]
    pub(in super::super) uid: u32,
    #[prost(uint32, tag = "4")]
    pub(in super::super) gid: u32,
    #[prost(int64, tag = "5")]
    pub(in super::super) size: i64,
    /// Nanoseconds since 1970.
    #[prost(int64, tag = "6")]
    pub(in super::super) mod_time: i64,
    /// A symbolic link's target, or of a file the one that it is a hard link
    /// to.
    #[prost(string, tag = "7")]
    pub(in super::super) linkname: String,
    #[prost(int64, tag = "8")]
    pub(in super::super) devmajor: i64,
    #[prost(int64, tag = "9")]
    pub(in super::super) devminor: i64,
}
