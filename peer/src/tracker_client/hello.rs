//! The greeting: our HELLO, what is acceptable in the tracker's, and the grease that keeps receivers
//! honest. Each side's first words, no state.

use protocol::limits::VERSION;
use protocol::message::{Hello, Role, Tlv, TlvTag};
use protocol::{Code, Holding, PeerAddr, negotiate};
use reactor::Rng;

use super::ending::Ending;
use super::types::Settings;

/// Most bytes of the agent.
const MAX_AGENT: usize = 64;
/// Most bytes of a grease TLV or frame.
const MAX_GREASE: u64 = 16;
const VERSIONS: (u8, u8) = (VERSION, VERSION);

/// Our first frame. Tags are ascending.
pub(super) fn ours(settings: &Settings, rng: &mut Rng) -> Hello {
    let mut tlvs = Vec::new();
    if let Some(token) = &settings.token {
        tlvs.push(Tlv { tag: TlvTag::CLUSTER_TOKEN, value: token.clone() });
    }
    if !settings.agent.is_empty() {
        let agent = cut(&settings.agent, MAX_AGENT).as_bytes().to_vec();
        tlvs.push(Tlv { tag: TlvTag::AGENT, value: agent });
    }
    if let Some(addr) = settings.advertise {
        tlvs.push(Tlv::advertised(PeerAddr { holding: Holding::Dropped, addr }));
    }
    // A tag that means nothing and never will.
    let tag = 0xEE00 | u16::from(random_byte(rng));
    tlvs.push(Tlv { tag: TlvTag(tag), value: random_bytes(rng) });
    Hello {
        version_min: VERSIONS.0,
        version_max: VERSIONS.1,
        role: Role::Peer,
        node: settings.node,
        listen: settings.listen,
        window: 0, // A tracker sends no REQUESTs.
        tlvs,
    }
}

/// A frame of a type that means nothing and never will.
pub(super) fn grease_frame(rng: &mut Rng) -> Vec<u8> {
    let payload = random_bytes(rng);
    let len = u8::try_from(payload.len()).expect("at most MAX_GREASE bytes");
    let mut frame = vec![0xE0 | (random_byte(rng) & 0x0F), 0, 0, len];
    frame.extend(payload);
    frame
}

/// Whether we can work with this tracker.
///
/// # Errors
/// How to end the connection if not.
pub(super) fn check(theirs: &Hello, settings: &Settings) -> Result<(), Ending> {
    // [H-12] [H-13]
    if negotiate(VERSIONS, theirs.versions()).is_none() {
        let (min, max) = theirs.versions();
        let text = format!("it speaks protocol versions {min} to {max}, this program {VERSION}");
        let bye = format!("versions {} to {}", VERSIONS.0, VERSIONS.1);
        return Err(Ending::refused(Code::VERSION, bye, text));
    }
    // [H-14]
    if theirs.role != Role::Tracker {
        let text = "expected a tracker at this address, found a peer".to_owned();
        return Err(Ending::refused(Code::WRONG_ROLE, "expected a tracker".to_owned(), text));
    }
    // [H-16]
    if theirs.node == settings.node {
        return Err(Ending::violation(Code::DUPLICATE, "it has our own node id".to_owned()));
    }
    // [H-22] The tokens are compared below.
    let understood = |tlv: &Tlv| tlv.tag.0 >= 0x8000 || tlv.tag == TlvTag::CLUSTER_TOKEN;
    if let Some(tlv) = theirs.tlvs.iter().find(|tlv| !understood(tlv)) {
        let why = format!("it sent the unknown HELLO tag {:#06x}", tlv.tag.0);
        return Err(Ending::violation(Code::UNKNOWN_TYPE, why));
    }
    check_token(theirs.tlv(TlvTag::CLUSTER_TOKEN), settings.token.as_deref())
}

/// [H-25] [H-26] The one who answers need not repeat the secret to one who has just said it: its silence
/// is accepted, anything that is not our secret is not.
fn check_token(theirs: Option<&[u8]>, ours: Option<&[u8]>) -> Result<(), Ending> {
    let text = match (theirs, ours) {
        (None, _) => return Ok(()),
        (Some(theirs), Some(ours)) if same_secret(theirs, ours) => return Ok(()),
        (Some(_), Some(_)) => "it has another cluster token than we",
        (Some(_), None) => "it has a cluster token, and we have none",
    };
    Err(Ending::refused(Code::DENIED, "another cluster token".to_owned(), text.to_owned()))
}

/// Takes as long for secrets that differ in their first byte as for equal ones.
fn same_secret(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

/// The longest start of `text` that has at most `max` bytes.
fn cut(text: &str, max: usize) -> &str {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn random_bytes(rng: &mut Rng) -> Vec<u8> {
    (0..rng.below(MAX_GREASE + 1)).map(|_| random_byte(rng)).collect()
}

fn random_byte(rng: &mut Rng) -> u8 {
    u8::try_from(rng.below(256)).expect("below 256")
}
