//! Messages as the JSON of `spec/vectors/frames.json`: field names of `spec/messages.toml`, raw bytes as
//! hex. Written by hand so that it cannot agree with the codec by construction.

use protocol::message::{Block, FindKey, Hello, Holdings, Role};
use protocol::{Holding, Message, PeerAddr, Record};
use serde_json::{Map, Value, json};
use std::net::IpAddr;

/// Lower-case hexadecimal of all bytes.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Name of the type, and its fields.
pub(crate) fn describe(message: &Message) -> (&'static str, Value) {
    match message {
        Message::Noop => ("NOOP", json!({})),
        Message::Hello(m) => ("HELLO", hello(m)),
        Message::Bye(m) => ("BYE", json!({"code": m.code.0, "text": m.text})),
        Message::Open(m) => ("OPEN", json!({"ch": m.channel.0, "object": hex(&m.object.0)})),
        Message::Close(m) => ("CLOSE", json!({"ch": m.channel.0, "code": m.code.0})),
        Message::Bitmap(m) => {
            let mut fields = json!({
                "ch": m.channel.0, "manifest_len": m.manifest_len, "piece_count": m.piece_count,
            });
            match &m.holdings {
                Holdings::None => fields["kind"] = 0.into(),
                Holdings::All => fields["kind"] = 1.into(),
                Holdings::Bits(bits) => {
                    fields["kind"] = 2.into();
                    fields["bits"] = hex(bits).into();
                }
            }
            ("BITMAP", fields)
        }
        Message::Have(m) => ("HAVE", json!({"ch": m.channel.0, "pieces": m.pieces})),
        Message::Request(m) => ("REQUEST", with(block(&m.block), json!({"len": m.len}))),
        Message::Reject(m) => ("REJECT", with(block(&m.block), json!({"code": m.code.0}))),
        Message::Cancel(m) => ("CANCEL", block(&m.block)),
        Message::Window(m) => ("WINDOW", json!({"requests": m.requests})),
        other => tracker(other),
    }
}

/// The fields that DATA, REQUEST, REJECT and CANCEL begin with.
pub(crate) fn block(block: &Block) -> Value {
    json!({"ch": block.channel.0, "piece": block.piece, "begin": block.begin})
}

fn hello(m: &Hello) -> Value {
    let tlvs = m
        .tlvs
        .iter()
        .map(|tlv| json!({"tag": tlv.tag.0, "len": tlv.value.len(), "value": hex(&tlv.value)}));
    json!({
        "magic": protocol::limits::MAGIC, "vmin": m.version_min, "vmax": m.version_max,
        "role": match m.role { Role::Peer => 1, Role::Tracker => 2 }, "zero": 0,
        "node": hex(&m.node.0), "listen": m.listen, "window": m.window,
        "tlvs": tlvs.collect::<Vec<_>>(),
    })
}

fn tracker(message: &Message) -> (&'static str, Value) {
    match message {
        Message::Beat(m) => (
            "BEAT",
            json!({
                "rid": m.rid.0, "objects": m.objects, "digest": m.digest, "free": m.free,
                "sent": m.sent, "received": m.received,
            }),
        ),
        Message::Lease(m) => (
            "LEASE",
            json!({
                "rid": m.rid.0, "interval_s": m.interval_s, "lease_s": m.lease_s,
                "flags": u8::from(m.sync), "you": peer(&m.you),
            }),
        ),
        Message::Announce(m) => {
            let entries = m
                .entries
                .iter()
                .map(|e| json!({"object": hex(&e.object.0), "state": state(e.holding)}));
            let entries = entries.collect::<Vec<_>>();
            ("ANNOUNCE", json!({"rid": m.rid.0, "flags": u8::from(m.reset), "entries": entries}))
        }
        Message::Publish(m) => (
            "PUBLISH",
            json!({
                "rid": m.rid.0, "key": hex(&m.key.0), "copies": m.copies,
                "record": record(&m.record),
            }),
        ),
        Message::Unpublish(m) => {
            ("UNPUBLISH", json!({"rid": m.rid.0, "key": hex(&m.key.0), "name": m.name}))
        }
        Message::Find(m) => {
            let key = match &m.key {
                FindKey::Name { version, name } => {
                    json!({"kind": 0, "version": version, "name": name})
                }
                FindKey::Object(object) => json!({"kind": 1, "object": hex(&object.0)}),
                FindKey::Content(content) => json!({"kind": 2, "content": hex(&content.0)}),
            };
            ("FIND", with(json!({"rid": m.rid.0, "want": m.want}), key))
        }
        other => answer(other),
    }
}

fn answer(message: &Message) -> (&'static str, Value) {
    match message {
        Message::Swarm(m) => (
            "SWARM",
            json!({
                "rid": m.rid.0, "complete": m.complete, "partial": m.partial,
                "record": record(&m.record), "peers": m.peers.iter().map(peer).collect::<Vec<_>>(),
            }),
        ),
        Message::List(m) => (
            "LIST",
            json!({"rid": m.rid.0, "limit": m.limit, "prefix": m.prefix, "after": m.after}),
        ),
        Message::Page(m) => {
            let entries = m.entries.iter().map(|e| {
                json!({"complete": e.complete, "partial": e.partial, "record": record(&e.record)})
            });
            let entries = entries.collect::<Vec<_>>();
            ("PAGE", json!({"rid": m.rid.0, "more": u8::from(m.more), "entries": entries}))
        }
        Message::Status(m) => (
            "STATUS",
            json!({"rid": m.rid.0, "code": m.code.0, "retry_ms": m.retry_ms, "text": m.text}),
        ),
        Message::SummaryRequest(m) => ("SUMMARY_REQUEST", json!({"rid": m.rid.0})),
        Message::Summary(m) => (
            "SUMMARY",
            json!({
                "rid": m.rid.0, "uptime_s": m.uptime_s, "connections": m.connections,
                "peers": m.peers, "names": m.names, "versions": m.versions,
                "objects": m.objects, "holdings": m.holdings, "bytes": m.bytes,
            }),
        ),
        other => panic!("{other:?}: a message that this test does not know"),
    }
}

fn record(r: &Record) -> Value {
    json!({
        "object": hex(&r.object.0), "content": hex(&r.content.0), "length": r.length,
        "published_at": r.published_at, "version": r.version, "manifest_len": r.manifest_len,
        "piece_count": r.piece_count, "file_count": r.file_count, "piece_log2": r.piece_log2,
        "name": r.name,
    })
}

fn peer(p: &PeerAddr) -> Value {
    let (family, ip) = match p.addr.ip() {
        IpAddr::V4(ip) => (4, hex(&ip.octets())),
        IpAddr::V6(ip) => (6, hex(&ip.octets())),
    };
    json!({"family": family, "state": state(p.holding), "port": p.addr.port(), "ip": ip})
}

fn state(holding: Holding) -> u8 {
    match holding {
        Holding::Dropped => 0,
        Holding::Partial => 1,
        Holding::Complete => 2,
    }
}

/// All fields of both.
pub(crate) fn with(a: Value, b: Value) -> Value {
    let parts = [a, b].into_iter().filter_map(|value| match value {
        Value::Object(map) => Some(map),
        _ => None,
    });
    Value::Object(parts.flatten().collect::<Map<_, _>>())
}
