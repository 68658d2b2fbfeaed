//! Messages that both kinds of connection use.

use crate::limits::{MAGIC, MAX_AGENT, MAX_HELLO};
use crate::message::{Body, PeerAddr};
use crate::wire::{Reader, Writer};
use crate::{Code, DecodeError, NodeId, rules};

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
    /// How many REQUESTs may be open at the sender; above [`crate::limits::MAX_WINDOW`] means that.
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

/// The version that two ends speak: the highest that both do, from the ranges `(lowest, highest)` in
/// their HELLOs. Both ends get the same answer. `None`: there is none, say BYE with [`Code::VERSION`].
pub fn negotiate(ours: (u8, u8), theirs: (u8, u8)) -> Option<u8> {
    // [H-12]
    let version = ours.1.min(theirs.1);
    (version >= ours.0.max(theirs.0)).then_some(version)
}

impl Hello {
    /// The bytes of an optional field, if it came.
    pub fn tlv(&self, tag: TlvTag) -> Option<&[u8]> {
        self.tlvs.iter().find(|tlv| tlv.tag == tag).map(|tlv| tlv.value.as_slice())
    }

    /// The lowest and highest version spoken, for [`negotiate`].
    pub fn versions(&self) -> (u8, u8) {
        (self.version_min, self.version_max)
    }

    /// Name and version of the sender's program, if it says so in at most 64 bytes of UTF-8.
    pub fn agent(&self) -> Option<&str> {
        // [H-23]
        let value = self.tlv(TlvTag::AGENT).filter(|value| value.len() <= MAX_AGENT)?;
        str::from_utf8(value).ok()
    }

    /// Where others shall reach the sender, if it says so in one valid Peer.
    pub fn advertised(&self) -> Option<PeerAddr> {
        // [H-24]
        let mut value = Reader::new(self.tlv(TlvTag::ADVERTISED)?);
        let addr = PeerAddr::read(&mut value).ok()?;
        value.finish().ok().map(|()| addr)
    }
}

impl Tlv {
    /// An [`TlvTag::ADVERTISED`] field.
    pub fn advertised(addr: PeerAddr) -> Self {
        let mut value = Vec::new();
        addr.write(&mut Writer::plain(&mut value, PeerAddr::MAX_LEN));
        Self { tag: TlvTag::ADVERTISED, value }
    }

    /// Bytes on the wire.
    fn wire_len(&self) -> usize {
        4 + self.value.len()
    }
}

impl Role {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = r.offset();
        match r.u8("role")? {
            1 => Ok(Self::Peer),
            2 => Ok(Self::Tracker),
            _ => Err(Reader::error_at(at, "role", "expected 1 or 2", rules::HELLO_ROLE)),
        }
    }

    fn wire(self) -> u8 {
        match self {
            Self::Peer => 1,
            Self::Tracker => 2,
        }
    }
}

impl Body for Hello {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let magic = r.u32("magic")?;
        r.check(magic == MAGIC, 0, "magic", "expected 0xd3535750", rules::HELLO_MAGIC)?;
        let at = r.offset();
        let version_min = r.u8("vmin")?;
        r.check(version_min > 0, at, "vmin", "expected at least 1", rules::HELLO_VERSIONS)?;
        let at = r.offset();
        let version_max = r.u8("vmax")?;
        r.check(version_max >= version_min, at, "vmax", "below vmin", rules::HELLO_VERSIONS)?;
        let role = Role::read(r)?;
        let at = r.offset();
        let zero = r.u8("zero")?;
        r.check(zero == 0, at, "zero", "expected 0", rules::SPARE)?;
        let node = NodeId(r.array("node")?);
        let listen = r.u16("listen")?;
        let window = r.u16("window")?;
        let tlvs = read_tlvs(r)?;
        Ok(Self { version_min, version_max, role, node, listen, window, tlvs })
    }

    fn write(&self, w: &mut Writer<'_>) {
        debug_assert!(self.version_min > 0 && self.version_min <= self.version_max);
        debug_assert!(self.tlvs.is_sorted_by(|a, b| a.tag < b.tag), "tags must ascend");
        debug_assert!(
            28 + self.tlvs.iter().map(Tlv::wire_len).sum::<usize>() <= MAX_HELLO as usize,
            "optional fields that do not fit a HELLO"
        );
        w.u32(MAGIC);
        w.u8(self.version_min);
        w.u8(self.version_max);
        w.u8(self.role.wire());
        w.u8(0);
        w.bytes(&self.node.0);
        w.u16(self.listen);
        w.u16(self.window);
        for tlv in &self.tlvs {
            if tlv.wire_len() > w.room() {
                break;
            }
            w.u16(tlv.tag.0);
            w.u16(u16::try_from(tlv.value.len()).expect("fits a HELLO"));
            w.bytes(&tlv.value);
        }
    }
}

/// Tags ascend without repeats, and those that must be understood are. What is wrong with the layout
/// comes first: a tag is judged only when all of them are whole.
fn read_tlvs(r: &mut Reader<'_>) -> Result<Vec<Tlv>, DecodeError> {
    let mut tlvs: Vec<Tlv> = Vec::new();
    while !r.is_empty() {
        let at = r.offset();
        // [H-20]
        let tlv = read_tlv(r)
            .map_err(|_| Reader::error_at(at, "tlvs", "ends inside a TLV", rules::TLV_EXACT))?;
        // [H-19]
        let ascends = tlvs.last().is_none_or(|last| last.tag < tlv.tag);
        r.check(ascends, at, "tag", "not above the one before", rules::TAG_ORDER)?;
        tlvs.push(tlv);
    }
    // [H-21] [H-22]
    match tlvs.iter().map(|tlv| tlv.tag).find(|tag| !tag.is_understood()) {
        Some(TlvTag(tag)) => Err(DecodeError::UnknownTag { tag }),
        None => Ok(tlvs),
    }
}

fn read_tlv(r: &mut Reader<'_>) -> Result<Tlv, DecodeError> {
    let tag = TlvTag(r.u16("tag")?);
    let len = usize::from(r.u16("len")?);
    Ok(Tlv { tag, value: r.bytes("value", len)?.to_vec() })
}

impl TlvTag {
    /// Whether a receiver of version 1 may go on.
    fn is_understood(self) -> bool {
        self.0 >= 0x8000 || self == Self::CLUSTER_TOKEN
    }
}

impl Body for Bye {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { code: Code(r.u16("code")?), text: r.text("text")?.to_owned() })
    }

    fn write(&self, w: &mut Writer<'_>) {
        w.u16(self.code.0);
        w.text(&self.text);
    }
}
