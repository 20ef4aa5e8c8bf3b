//! The messages of a Chakra file, as far as they are written.

use prost::Message;

/// What a file starts with.
#[derive(Clone, PartialEq, Message)]
pub struct GlobalMetadata {
    /// Of the schema.
    #[prost(string, tag = "1")]
    pub version: String,
    /// More.
    #[prost(message, repeated, tag = "2")]
    pub attr: Vec<Attribute>,
}

/// A node.
#[derive(Clone, PartialEq, Message)]
pub struct Node {
    /// Its number in the file.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// What people call it.
    #[prost(string, tag = "2")]
    pub name: String,
    /// What it is.
    #[prost(enumeration = "NodeType", tag = "3")]
    pub r#type: i32,
    /// Nodes whose order it follows: those before it on its stream, and messages.
    #[prost(uint64, repeated, tag = "4")]
    pub ctrl_deps: Vec<u64>,
    /// Nodes whose data it needs.
    #[prost(uint64, repeated, tag = "5")]
    pub data_deps: Vec<u64>,
    /// Start, us.
    #[prost(uint64, tag = "6")]
    pub start_time_micros: u64,
    /// Duration, us.
    #[prost(uint64, tag = "7")]
    pub duration_micros: u64,
    /// More.
    #[prost(message, repeated, tag = "10")]
    pub attr: Vec<Attribute>,
}

/// A named value.
#[derive(Clone, PartialEq, Message)]
pub struct Attribute {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The value, of one of the schema's types that are used here.
    #[prost(oneof = "Value", tags = "7, 9, 13, 27, 29")]
    pub value: Option<Value>,
}

/// A value.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Value {
    /// A device.
    #[prost(int32, tag = "7")]
    Int32(i32),
    /// A count.
    #[prost(int64, tag = "9")]
    Int64(i64),
    /// A count.
    #[prost(uint64, tag = "13")]
    Uint64(u64),
    /// Yes or no.
    #[prost(bool, tag = "27")]
    Bool(bool),
    /// Words.
    #[prost(string, tag = "29")]
    Text(String),
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum NodeType {
    /// No node.
    Invalid = 0,
    /// Work of a device.
    Comp = 4,
    /// A message's start.
    CommSend = 5,
    /// A message's end.
    CommRecv = 6,
    /// A collective.
    CommColl = 7,
}
