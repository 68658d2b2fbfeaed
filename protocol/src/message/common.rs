//! Messages that both kinds of connection use.

use crate::{Code, NodeId};

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// 1: a peer.
    Peer,
    /// 2: a tracker.
    Tracker,
}

/// A tag of an optional HELLO field. With bit 15 set a receiver that does not know it skips it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TlvTag(pub u16);

impl TlvTag {
    /// Secret of the cluster; must be understood.
    pub const CLUSTER_TOKEN: Self = Self(0x0003);
    /// Name and version of the program, UTF-8, at most 64 bytes.
    pub const AGENT: Self = Self(0x8001);
    /// The address to hand to others instead of the observed one; an encoded [`crate::PeerAddr`].
    pub const ADVERTISED: Self = Self(0x8002);
}

/// One optional HELLO field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tlv {
    /// What it is.
    pub tag: TlvTag,
    /// Its bytes, uninterpreted.
    pub value: Vec<u8>,
}

/// 0x01 HELLO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Lowest version spoken, at least 1.
    pub version_min: u8,
    /// Highest version spoken, at least `version_min`.
    pub version_max: u8,
    /// Who speaks.
    pub role: Role,
    /// The process that speaks.
    pub node: NodeId,
    /// TCP port where the sender accepts connections, 0 for none.
    pub listen: u16,
    /// How many REQUESTs may be open at the sender.
    pub window: u16,
    /// Optional fields, tags strictly ascending.
    pub tlvs: Vec<Tlv>,
}

/// 0x02 BYE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bye {
    /// Why; [`Code::OK`] = leaving politely.
    pub code: Code,
    /// The same for people, at most 254 bytes.
    pub text: String,
}
