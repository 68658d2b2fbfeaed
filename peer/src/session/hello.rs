//! The first frame of each side: ours is made here, theirs is judged here. No state.

use protocol::limits::{MAX_WINDOW, VERSION};
use protocol::message::{Hello, Message, Role, Tlv, TlvTag, negotiate};
use reactor::Rng;

use super::{Local, Violation};

/// Lowest and highest version that we speak.
const VERSIONS: (u8, u8) = (VERSION, VERSION);
/// Most bytes of an agent; longer ones are cut.
const MAX_AGENT: usize = 64;
/// Most bytes of what is sent only to keep receivers used to the unknown.
const MAX_GREASE: u64 = 16;

/// What means nothing: a HELLO field, and a whole frame. Sent so that receivers that trip over what
/// they do not know are found on the first day.
#[derive(Debug)]
pub(super) struct Grease {
    field: Tlv,
    /// Taken when it is sent.
    pub(super) frame: Vec<u8>,
}

impl Grease {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let tag = TlvTag(0xEE00 | u16::from(random_byte(rng)));
        let field = Tlv { tag, value: random_bytes(rng) };
        let payload = random_bytes(rng);
        let len = u8::try_from(payload.len()).expect("MAX_GREASE fits a byte");
        let mut frame = vec![0xE0 | (random_byte(rng) & 0x0F), 0, 0, len];
        frame.extend_from_slice(&payload);
        Self { field, frame }
    }
}

/// Our HELLO. Without the token, it can be shown to a stranger.
pub(super) fn ours(local: &Local, grease: &Grease, with_token: bool) -> Message {
    let mut tlvs = Vec::new();
    if let Some(token) = local.token.as_ref().filter(|_| with_token) {
        tlvs.push(Tlv { tag: TlvTag::CLUSTER_TOKEN, value: token.clone() });
    }
    let agent = super::cut(&local.agent, MAX_AGENT);
    if !agent.is_empty() {
        tlvs.push(Tlv { tag: TlvTag::AGENT, value: agent.as_bytes().to_vec() });
    }
    tlvs.extend(local.advertise.map(Tlv::advertised));
    tlvs.push(grease.field.clone());
    Message::Hello(Hello {
        version_min: VERSIONS.0,
        version_max: VERSIONS.1,
        role: Role::Peer,
        node: local.node,
        listen: local.listen,
        window: local.window.min(MAX_WINDOW),
        tlvs,
    })
}

/// Whether we can talk to whoever says this.
pub(super) fn check(local: &Local, theirs: &Hello) -> Result<(), Violation> {
    // [H-12], [H-13]
    if negotiate(VERSIONS, theirs.versions()).is_none() {
        return Err(Violation::Version { ours: VERSIONS, theirs: theirs.versions() });
    }
    // [H-14]
    if theirs.role != Role::Peer {
        return Err(Violation::WrongRole);
    }
    // [H-22]
    let understood = |tag: TlvTag| tag == TlvTag::CLUSTER_TOKEN || tag.0 & 0x8000 != 0;
    if let Some(tlv) = theirs.tlvs.iter().find(|tlv| !understood(tlv.tag)) {
        return Err(Violation::UnknownTag(tlv.tag));
    }
    // [H-16]
    if theirs.node == local.node {
        mark!("dialed-itself");
        return Err(Violation::SelfConnection);
    }
    // [H-25], [H-26]
    match (&local.token, theirs.tlv(TlvTag::CLUSTER_TOKEN)) {
        (None, Some(_)) => Err(Violation::Denied("a cluster token where none is used")),
        (Some(_), None) => Err(Violation::Denied("the cluster token is missing")),
        _ if !knows_token(local, theirs) => Err(Violation::Denied("the cluster token is wrong")),
        _ => Ok(()),
    }
}

/// Whether the remote has shown the same token as ours, or neither has one.
pub(super) fn knows_token(local: &Local, theirs: &Hello) -> bool {
    match (&local.token, theirs.tlv(TlvTag::CLUSTER_TOKEN)) {
        (None, None) => true,
        (Some(ours), Some(theirs)) => is_same_secret(ours, theirs),
        _ => false,
    }
}

/// The remote's program in printable characters; empty if it does not say, or too much. [H-23]
pub(super) fn agent(theirs: &Hello) -> String {
    theirs
        .agent()
        .filter(|agent| agent.len() <= MAX_AGENT)
        .map(super::printable)
        .unwrap_or_default()
}

/// Takes the same time wherever the first difference is.
fn is_same_secret(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

fn random_byte(rng: &mut Rng) -> u8 {
    u8::try_from(rng.below(256)).expect("below 256")
}

fn random_bytes(rng: &mut Rng) -> Vec<u8> {
    (0..rng.below(MAX_GREASE + 1)).map(|_| random_byte(rng)).collect()
}
