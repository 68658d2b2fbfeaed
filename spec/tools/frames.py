"""Vectors of single frames and of streams: what vectors/frames.json and vectors/streams.json hold."""

import common  # noqa: F401  (finds the codec)
import codec
from codec import BY_NAME, LIMITS, SPEC, TYPES, Violation


def seq(start: int, size: int) -> bytes:
    """Bytes that are easy to recognise: start, start + 1, ..."""
    return bytes((start + i) % 256 for i in range(size))


NODE = seq(0x00, 16)
OBJECT = seq(0xA0, 32)
OTHER = seq(0x40, 32)
KEY = seq(0xC0, 16)
PEER4 = {"family": 4, "state": 2, "port": 9001, "ip": bytes([192, 0, 2, 7])}
PEER6 = {"family": 6, "state": 1, "port": 9002, "ip": bytes.fromhex("20010db8") + bytes(11) + b"\x09"}
ADVERTISED = {"tag": 0x8002, "value": codec.put_struct("Peer", PEER4 | {"state": 0})}
HELLO = {"vmin": 1, "vmax": 1, "role": 1, "node": NODE, "listen": 9001, "window": 512, "tlvs": []}
RECORD = {
    "object": OBJECT, "content": OTHER, "length": 1 << 30, "published_at": 1_700_000_000, "version": 3,
    "manifest_len": 131_127, "piece_count": 4096, "file_count": 1, "piece_log2": 18, "name": "models/llama",
}
NAMELESS = {
    "object": OBJECT, "content": bytes(32), "length": 0, "published_at": 0, "version": 0, "manifest_len": 0,
    "piece_count": 0, "file_count": 0, "piece_log2": 0, "name": "",
}
BITS = {"ch": 0, "manifest_len": 438, "piece_count": 12, "kind": 2, "bits": b"\x80\x10"}
BLOCK = {"ch": 0, "piece": 7, "begin": 65_536}
LIST = {"rid": 9, "limit": 100, "prefix": "", "after": ""}
FIND = {"rid": 5, "want": 50, "kind": 0, "version": 0, "name": "models/llama"}
SWARM = {"rid": 5, "complete": 3, "partial": 1, "record": RECORD, "peers": [PEER4, PEER6]}
STATUS = {"rid": 4, "code": 0, "retry_ms": 0, "text": "3"}
BEAT = {
    "rid": 1, "objects": 2, "digest": codec.holdings_digest([(OBJECT, 2), (OTHER, 1)]),
    "free": 1 << 40, "sent": 123_456_789, "received": 2**64 - 1,
}
LEASE = {"rid": 1, "interval_s": 15, "lease_s": 55, "flags": 1, "you": PEER4 | {"state": 0}}
ANNOUNCE = {
    "rid": 2, "flags": 1, "entries": [{"object": OBJECT, "state": 2}, {"object": OTHER, "state": 1}],
}
PUBLISH = {"rid": 4, "key": KEY, "copies": 2, "record": RECORD | {"version": 0, "published_at": 0}}
SUMMARY = {
    "rid": 11, "uptime_s": 86_400, "connections": 120, "peers": 100, "names": 7, "versions": 9,
    "objects": 8, "holdings": 450, "bytes": 1 << 42,
}
PAGE = {
    "rid": 9, "more": 1, "entries": [
        {"complete": 3, "partial": 1, "record": RECORD},
        {"complete": 0, "partial": 0, "record": RECORD | {"name": "models/mistral", "object": OTHER}},
    ],
}

# id, type, fields, comment, requirements
VALID = [
    ("noop", "NOOP", {}, "keep-alive", ["F-2", "F-17"]),
    ("hello-minimal", "HELLO", HELLO, "no TLVs: the smallest HELLO", ["H-1"]),
    ("hello-tracker", "HELLO", HELLO | {"role": 2, "window": 0}, "a tracker", ["H-9"]),
    ("hello-agent-grease", "HELLO", HELLO | {"tlvs": [
        {"tag": 0x8001, "value": b"starling/0.1"}, {"tag": 0xEE3A, "value": seq(0x70, 5)}]},
     "an unknown tag with bit 15 set is ignored", ["H-21", "X-2"]),
    ("hello-all-tlvs", "HELLO", HELLO | {"tlvs": [
        {"tag": 3, "value": b"secret"}, {"tag": 0x8001, "value": "größer".encode()}, ADVERTISED]},
     "every tag of version 1", ["H-19"]),
    ("hello-empty-tlv", "HELLO", HELLO | {"tlvs": [{"tag": 0xEE00, "value": b""}]},
     "a TLV may be empty", ["H-20"]),
    ("hello-agent-not-utf8", "HELLO", HELLO | {"tlvs": [{"tag": 0x8001, "value": b"\xff\xfe"}]},
     "treated as absent, not as malformed", ["H-23"]),
    ("hello-agent-too-long", "HELLO", HELLO | {"tlvs": [{"tag": 0x8001, "value": b"a" * 65}]},
     "treated as absent, not as malformed", ["H-23"]),
    ("hello-advertised-bad", "HELLO", HELLO | {"tlvs": [{"tag": 0x8002, "value": b"\x05"}]},
     "treated as absent, not as malformed", ["H-24"]),
    ("hello-vmax-254", "HELLO", HELLO | {"vmax": 254}, "a speaker of later versions, too", ["H-12"]),
    ("hello-vmin-255", "HELLO", HELLO | {"vmin": 255, "vmax": 255},
     "a message; the session answers BYE(VERSION)", ["H-13"]),
    ("hello-window-max", "HELLO", HELLO | {"window": 65_535}, "means MAX_WINDOW", ["H-18"]),
    ("hello-longest", "HELLO", HELLO | {"tlvs": [{"tag": 0xEEFF, "value": b"\xAA" * 992}]},
     "1,024 bytes of payload", ["H-2"]),
    ("bye-ok", "BYE", {"code": 0, "text": ""}, "leaving politely", ["F-21"]),
    ("bye-version", "BYE", {"code": 2, "text": "this side speaks version 1"}, "", ["H-13"]),
    ("bye-unknown-code", "BYE", {"code": 999, "text": "?"}, "a failure of unknown reason", ["F-26"]),
    ("bye-longest", "BYE", {"code": 1, "text": "ä" * 127}, "256 bytes of payload", ["F-3"]),
    ("open", "OPEN", {"ch": 0, "object": OBJECT}, "", ["P-1"]),
    ("open-last-channel", "OPEN", {"ch": 2**32 - 1, "object": OBJECT}, "", ["P-1"]),
    ("close-not-found", "CLOSE", {"ch": 0, "code": 32}, "", ["P-5"]),
    ("close-unknown-code", "CLOSE", {"ch": 1, "code": 65_535}, "", ["F-26"]),
    ("bitmap-bits", "BITMAP", BITS, "12 pieces, of which 0 and 11 are held", ["P-16"]),
    ("bitmap-none", "BITMAP", {"ch": 0, "manifest_len": 438, "piece_count": 12, "kind": 0}, "", ["P-16"]),
    ("bitmap-no-manifest", "BITMAP", {"ch": 0, "manifest_len": 0, "piece_count": 0, "kind": 0},
     "the sender cannot serve the manifest yet", ["P-18"]),
    ("bitmap-all", "BITMAP", {"ch": 2, "manifest_len": 438, "piece_count": 12, "kind": 1}, "", ["P-16"]),
    ("bitmap-empty-object", "BITMAP", {"ch": 2, "manifest_len": 55, "piece_count": 0, "kind": 1},
     "an object without pieces", ["P-16"]),
    ("bitmap-empty-object-bits", "BITMAP",
     {"ch": 2, "manifest_len": 55, "piece_count": 0, "kind": 2, "bits": b""}, "", ["P-16"]),
    ("bitmap-8-pieces", "BITMAP", BITS | {"piece_count": 8, "bits": b"\x01"}, "no spare bits", ["P-17"]),
    ("bitmap-full-bits", "BITMAP", BITS | {"bits": b"\xff\xf0"},
     "all pieces as BITS: allowed, though ALL is shorter", ["P-16"]),
    ("bitmap-max-manifest", "BITMAP", BITS | {"manifest_len": 1 << 24}, "", ["F-10"]),
    ("have-two", "HAVE", {"ch": 0, "pieces": [7, 9]}, "", ["P-21"]),
    ("have-last-piece", "HAVE", {"ch": 0, "pieces": [262_143]}, "", ["P-22"]),
    ("have-repeated", "HAVE", {"ch": 0, "pieces": [7, 7]}, "", ["P-24"]),
    ("request", "REQUEST", BLOCK | {"len": 65_536}, "", ["P-29"]),
    ("request-small", "REQUEST", {"ch": 0, "piece": 0, "begin": 0, "len": 5}, "", ["P-29"]),
    ("request-manifest", "REQUEST", {"ch": 0, "piece": 2**32 - 1, "begin": 0, "len": 438},
     "asks for the manifest", ["P-29"]),
    ("request-max-block", "REQUEST", BLOCK | {"len": 1 << 20}, "", ["P-29"]),
    ("request-overflow", "REQUEST", BLOCK | {"begin": 2**32 - 1, "len": 1 << 20},
     "a message; the session answers REJECT(BAD_RANGE)", ["P-30"]),
    ("request-no-such-piece", "REQUEST", BLOCK | {"piece": 2**32 - 2, "len": 1},
     "a message; the session answers REJECT(BAD_RANGE)", ["P-30"]),
    ("data-small", "DATA", {"ch": 0, "piece": 0, "begin": 0, "bytes": b"hello"}, "", ["P-35"]),
    ("data-one-byte", "DATA", BLOCK | {"bytes": b"\x00"}, "the smallest DATA", ["F-3"]),
    ("reject-bad-range", "REJECT", BLOCK | {"code": 36}, "", ["P-30"]),
    ("reject-unknown-code", "REJECT", BLOCK | {"code": 4242}, "", ["F-26"]),
    ("cancel", "CANCEL", BLOCK, "", ["P-39"]),
    ("window-zero", "WINDOW", {"requests": 0}, "no more requests for now", ["P-42"]),
    ("window-above-max", "WINDOW", {"requests": 65_535}, "means MAX_WINDOW", ["H-18"]),
    ("beat", "BEAT", BEAT, "", ["T-11"]),
    ("beat-rid-0", "BEAT", BEAT | {"rid": 0}, "a message; the session answers BYE(BAD_STATE)", ["T-1"]),
    ("lease-sync", "LEASE", LEASE, "", ["T-18"]),
    ("lease-ipv6", "LEASE", LEASE | {"flags": 0, "you": PEER6}, "", ["F-2"]),
    ("lease-interval-0", "LEASE", LEASE | {"interval_s": 0}, "means MIN_BEAT_S", ["T-13"]),
    ("announce-reset", "ANNOUNCE", ANNOUNCE, "", ["T-25"]),
    ("announce-drop", "ANNOUNCE",
     {"rid": 3, "flags": 0, "entries": [{"object": OBJECT, "state": 0}]}, "", ["T-24"]),
    ("announce-nothing", "ANNOUNCE", {"rid": 3, "flags": 1, "entries": []}, "I hold nothing", ["T-25"]),
    ("publish", "PUBLISH", PUBLISH, "", ["T-34"]),
    ("publish-longest-name", "PUBLISH", PUBLISH | {"record": RECORD | {"name": "n" * 1024}}, "", ["F-3"]),
    ("publish-bad-name", "PUBLISH", PUBLISH | {"record": RECORD | {"name": "../x"}},
     "a message; the tracker answers STATUS(BAD_NAME)", ["T-29"]),
    ("publish-impossible", "PUBLISH", PUBLISH | {"record": NAMELESS | {"name": "x"}},
     "a message; the tracker answers STATUS(MALFORMED)", ["T-31"]),
    ("publish-limits", "PUBLISH", PUBLISH | {"copies": 255, "record": RECORD | {
        "length": 1 << 42, "manifest_len": 1 << 24, "piece_count": 1 << 18, "file_count": 1 << 17,
        "piece_log2": 24}}, "", ["F-10"]),
    ("unpublish", "UNPUBLISH", {"rid": 6, "key": KEY, "name": "models/llama"}, "", ["T-37"]),
    ("find-name", "FIND", FIND, "the newest version", ["T-40"]),
    ("find-empty-name", "FIND", FIND | {"name": ""}, "a message; the tracker answers STATUS", ["T-41"]),
    ("publish-empty-name", "PUBLISH", PUBLISH | {"record": RECORD | {"name": ""}},
     "a message; the tracker answers STATUS(BAD_NAME)", ["T-29"]),
    ("unpublish-empty-name", "UNPUBLISH", {"rid": 6, "key": KEY, "name": ""},
     "a message; the tracker answers STATUS", ["T-37"]),
    ("find-version", "FIND", FIND | {"version": 3, "want": 0}, "the record of version 3 only", ["T-40"]),
    ("find-object", "FIND", {"rid": 5, "want": 200, "kind": 1, "object": OBJECT}, "", ["T-42"]),
    ("find-content", "FIND", {"rid": 5, "want": 1, "kind": 2, "content": OTHER}, "", ["T-43"]),
    ("swarm-two-peers", "SWARM", SWARM, "", ["T-44"]),
    ("swarm-push", "SWARM", SWARM | {"rid": 0, "peers": [PEER4]}, "unsolicited", ["T-46"]),
    ("swarm-nameless", "SWARM", SWARM | {"record": NAMELESS, "peers": []}, "", ["T-42"]),
    ("list-first", "LIST", LIST, "", ["T-48"]),
    ("list-next", "LIST", LIST | {"limit": 500, "prefix": "models/", "after": "models/llama"}, "", ["T-48"]),
    ("page-two", "PAGE", PAGE, "", ["T-50"]),
    ("page-empty", "PAGE", {"rid": 9, "more": 0, "entries": []}, "", ["T-50"]),
    ("status-ok-version", "STATUS", STATUS, "a PUBLISH made version 3", ["T-35"]),
    ("status-not-found", "STATUS", {"rid": 5, "code": 32, "retry_ms": 0, "text": "no such name"}, "", ["T-40"]),
    ("status-overloaded", "STATUS", {"rid": 5, "code": 7, "retry_ms": 2**32 - 1, "text": ""}, "", ["T-5"]),
    ("summary-request", "SUMMARY_REQUEST", {"rid": 11}, "", ["T-2"]),
    ("summary", "SUMMARY", SUMMARY, "", ["T-2"]),
]

SAMPLES = {name: fields for _, name, fields, _, _ in reversed(VALID)}  # the first one of each type

# id, type, fields, code, rule, comment
INVALID = [
    ("hello-vmin-0", "HELLO", HELLO | {"vmin": 0}, "MALFORMED", "H-8", ""),
    ("hello-vmin-above-vmax", "HELLO", HELLO | {"vmin": 2}, "MALFORMED", "H-8", ""),
    ("hello-role-0", "HELLO", HELLO | {"role": 0}, "MALFORMED", "H-9", ""),
    ("hello-role-3", "HELLO", HELLO | {"role": 3}, "MALFORMED", "H-9", ""),
    ("hello-zero-1", "HELLO", HELLO | {"zero": 1}, "MALFORMED", "F-11", ""),
    ("hello-tag-twice", "HELLO", HELLO | {"tlvs": [{"tag": 0xEE01, "value": b""}] * 2}, "MALFORMED", "H-19", ""),
    ("hello-tags-descend", "HELLO", HELLO | {"tlvs": [
        {"tag": 0xEE02, "value": b""}, {"tag": 0xEE01, "value": b""}]}, "MALFORMED", "H-19", ""),
    ("hello-unknown-critical-tag", "HELLO", HELLO | {"tlvs": [{"tag": 0x0004, "value": b"x"}]},
     "UNKNOWN_TYPE", "H-22", "bit 15 is clear"),
    ("hello-tlv-too-long", "HELLO", HELLO | {"raw": bytes.fromhex("ee01000201")}, "MALFORMED", "H-20", ""),
    ("hello-tlv-len-max", "HELLO", HELLO | {"raw": bytes.fromhex("ee01ffff01")}, "MALFORMED", "H-20", ""),
    ("hello-tlv-header-cut", "HELLO", HELLO | {"raw": bytes.fromhex("ee0100")}, "MALFORMED", "H-20", ""),
    ("hello-wrong-magic", "HELLO", HELLO | {"magic": 0xD3535751}, None, "H-3", "no byte is sent"),
    ("bye-not-utf8", "BYE", {"code": 1, "text": b"\xc3"}, "MALFORMED", "F-9", "a sequence is cut"),
    ("bye-surrogate", "BYE", {"code": 1, "text": b"\xed\xa0\x80"}, "MALFORMED", "F-9", "no character"),
    ("bye-overlong", "BYE", {"code": 1, "text": b"\xc0\xaf"}, "MALFORMED", "F-9", "overlong form of /"),
    ("bitmap-kind-3", "BITMAP", BITS | {"kind": 3}, "MALFORMED", "F-10", ""),
    ("bitmap-bits-short", "BITMAP", BITS | {"bits": b"\x80"}, "MALFORMED", "P-16", ""),
    ("bitmap-bits-long", "BITMAP", BITS | {"bits": b"\x80\x10\x00"}, "MALFORMED", "P-16", ""),
    ("bitmap-bits-spare", "BITMAP", BITS | {"bits": b"\x80\x11"}, "MALFORMED", "P-17", ""),
    ("bitmap-bits-spare-highest", "BITMAP", BITS | {"bits": b"\x80\x08"}, "MALFORMED", "P-17", ""),
    ("bitmap-all-with-bits", "BITMAP", BITS | {"kind": 1, "raw": b"\xff\xf0"}, "MALFORMED", "P-16", ""),
    ("bitmap-none-with-bits", "BITMAP", BITS | {"kind": 0, "raw": b"\x00\x00"}, "MALFORMED", "P-16", ""),
    ("bitmap-no-manifest-all", "BITMAP", {"ch": 0, "manifest_len": 0, "piece_count": 0, "kind": 1},
     "MALFORMED", "P-18", ""),
    ("bitmap-no-manifest-bits", "BITMAP", {"ch": 0, "manifest_len": 0, "piece_count": 0, "kind": 2, "bits": b""},
     "MALFORMED", "P-18", ""),
    ("bitmap-no-manifest-pieces", "BITMAP", {"ch": 0, "manifest_len": 0, "piece_count": 1, "kind": 0},
     "MALFORMED", "P-18", ""),
    ("bitmap-too-many-pieces", "BITMAP",
     {"ch": 0, "manifest_len": 438, "piece_count": 262_145, "kind": 1}, "MALFORMED", "F-10", ""),
    ("bitmap-manifest-too-long", "BITMAP", BITS | {"manifest_len": (1 << 24) + 1}, "MALFORMED", "F-10", ""),
    ("have-piece-too-high", "HAVE", {"ch": 0, "pieces": [0, 262_144]}, "MALFORMED", "P-22", ""),
    ("have-manifest-piece", "HAVE", {"ch": 0, "pieces": [2**32 - 1]}, "MALFORMED", "P-22",
     "the manifest has no bit"),
    ("request-len-0", "REQUEST", BLOCK | {"len": 0}, "MALFORMED", "P-29", ""),
    ("request-len-above-max", "REQUEST", BLOCK | {"len": (1 << 20) + 1}, "MALFORMED", "P-29", ""),
    ("lease-undefined-flag", "LEASE", LEASE | {"flags": 2}, "MALFORMED", "F-11", ""),
    ("lease-family-0", "LEASE", LEASE | {"you": PEER4 | {"family": 0}}, "MALFORMED", "F-10", ""),
    ("lease-family-5", "LEASE", LEASE | {"you": PEER4 | {"family": 5}}, "MALFORMED", "F-10", ""),
    ("lease-state-3", "LEASE", LEASE | {"you": PEER4 | {"state": 3}}, "MALFORMED", "F-10", ""),
    ("lease-family-6-short", "LEASE", LEASE | {"you": PEER4 | {"family": 6}}, "MALFORMED", "F-7", ""),
    ("announce-undefined-flag", "ANNOUNCE", ANNOUNCE | {"flags": 0x80}, "MALFORMED", "F-11", ""),
    ("announce-state-3", "ANNOUNCE", ANNOUNCE | {"entries": [{"object": OBJECT, "state": 3}]},
     "MALFORMED", "F-10", ""),
    ("publish-length", "PUBLISH", PUBLISH | {"record": RECORD | {"length": (1 << 42) + 1}},
     "MALFORMED", "F-10", ""),
    ("publish-manifest-len", "PUBLISH", PUBLISH | {"record": RECORD | {"manifest_len": (1 << 24) + 1}},
     "MALFORMED", "F-10", ""),
    ("publish-piece-count", "PUBLISH", PUBLISH | {"record": RECORD | {"piece_count": (1 << 18) + 1}},
     "MALFORMED", "F-10", ""),
    ("publish-file-count", "PUBLISH", PUBLISH | {"record": RECORD | {"file_count": (1 << 17) + 1}},
     "MALFORMED", "F-10", ""),
    ("publish-piece-log2", "PUBLISH", PUBLISH | {"record": RECORD | {"piece_log2": 25}}, "MALFORMED", "F-10", ""),
    ("find-want-201", "FIND", FIND | {"want": 201}, "MALFORMED", "F-10", ""),
    ("find-kind-3", "FIND", {"rid": 5, "want": 1, "kind": 3, "raw": OBJECT}, "MALFORMED", "F-10", ""),
    ("find-object-short", "FIND", {"rid": 5, "want": 1, "kind": 1, "object": OBJECT[:31]}, "MALFORMED", "F-7", ""),
    ("find-object-long", "FIND", {"rid": 5, "want": 1, "kind": 1, "object": OBJECT + b"\0"}, "MALFORMED", "F-7", ""),
    ("find-name-not-utf8", "FIND", FIND | {"name": b"\xff"}, "MALFORMED", "F-9", ""),
    ("swarm-peer-family-7", "SWARM", SWARM | {"peers": [PEER4 | {"family": 7}]}, "MALFORMED", "F-10", ""),
    ("swarm-peer-state-3", "SWARM", SWARM | {"peers": [PEER4 | {"state": 3}]}, "MALFORMED", "F-10", ""),
    ("list-limit-0", "LIST", LIST | {"limit": 0}, "MALFORMED", "F-10", ""),
    ("list-limit-501", "LIST", LIST | {"limit": 501}, "MALFORMED", "F-10", ""),
    ("list-prefix-too-long", "LIST", LIST | {"prefix": "p" * 1025}, "MALFORMED", "F-10", ""),
    ("page-more-2", "PAGE", PAGE | {"more": 2}, "MALFORMED", "F-11", ""),
    ("status-not-utf8", "STATUS", STATUS | {"text": b"\x80"}, "MALFORMED", "F-9", ""),
]


def loose_payload(name: str, fields: dict) -> bytes:
    """A payload that may break rules: text given as bytes is taken as it is, `raw` follows the rest."""
    fields = dict(fields)
    tail = fields.pop("raw", b"")
    for key, value in fields.items():
        spec = next((f for f in BY_NAME[name]["fields"] if f["name"] == key), None)
        if spec and spec["type"] == "utf8" and isinstance(value, bytes):
            fields[key], tail = "", value + tail
    return codec.payload(name, fields) + tail


def jsonable(value):
    """Bytes as hex; a Tlv without its `len`, `zero` and `magic` fields as they are."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {k: jsonable(v) for k, v in value.items()}
    return [jsonable(v) for v in value] if isinstance(value, list) else value


def verdict(raw: bytes, first: bool) -> dict:
    """What the codec makes of the bytes: the part of a vector that says what must come out."""
    reader = codec.FrameReader(greeted=not first)
    try:
        events = list(reader.feed(raw))
    except Violation as violation:
        return {"error": violation.code or "CLOSE", "rule": violation.rule}
    if not events:
        return {"incomplete": True}
    assert len(events) == 1 and reader.at_boundary(), "a vector is one frame"
    name, fields = events[0]
    return {"skipped": fields["type"]} if name == "SKIPPED" else {"type": name, "fields": jsonable(fields)}


def vector(vid: str, raw: bytes, comment: str, requirements: list[str], first: bool) -> dict:
    found = verdict(raw, first)
    rules = list(dict.fromkeys(([found.pop("rule")] if "rule" in found else []) + requirements))
    return {"id": vid, "comment": comment, "first": first, "hex": raw.hex()} | found | {"requirements": rules}


def named_valid() -> list[dict]:
    out = []
    for vid, name, fields, comment, requirements in VALID:
        made = vector(vid, codec.encode(name, **fields), comment, requirements, name == "HELLO")
        assert made.get("type") == name, (vid, made)
        out.append(made)
    return out


def named_invalid() -> list[dict]:
    out = []
    for vid, name, fields, code, rule, comment in INVALID:
        raw = codec.frame(BY_NAME[name]["id"], loose_payload(name, fields))
        made = vector(vid, raw, comment, [], name == "HELLO")
        assert (made.get("error"), made["requirements"]) == (code or "CLOSE", [rule]), (vid, made)
        out.append(made)
    return out


def cuts() -> list[dict]:
    """Every shorter payload of one message of each type, with a header that tells the truth."""
    out = []
    for message in SPEC["type"]:
        name, body = message["name"], codec.payload(message["name"], SAMPLES[message["name"]])
        for size in range(len(body)):
            raw = codec.frame(message["id"], body[:size])
            out.append(vector(f"cut-{name.lower()}-{size}", raw, "a shorter payload", [], name == "HELLO"))
    return out


def trailing() -> list[dict]:
    """One more byte after one message of each type."""
    out = []
    for message in SPEC["type"]:
        name = message["name"]
        for tail in (b"\x00", b"\xff"):
            raw = codec.frame(message["id"], codec.payload(name, SAMPLES[name]) + tail)
            vid = f"trailing-{name.lower()}-{tail.hex()}"
            out.append(vector(vid, raw, "one more byte", [], name == "HELLO"))
    return out


def headers() -> list[dict]:
    """Headers alone: lengths around min and max of each type, unknown types, an end inside a header."""
    out = []
    for message in SPEC["type"]:
        low, high, first = message["min"], message["max"], message["name"] == "HELLO"
        sizes = {low - 1, low, high, high + 1, 0xFFFFFF} - {-1} - ({0} if high == 0 else set())
        for size in sorted(sizes):
            raw = bytes([message["id"]]) + size.to_bytes(3, "big")
            vid = f"header-{message['name'].lower()}-{size}"
            out.append(vector(vid, raw, "no payload follows", ["F-3"], first))
    for kind in (0x03, 0x0F, 0x19, 0x1F, 0x29, 0x2D, 0x3F, 0x40, 0x7F, 0x80, 0xDF, 0xE0, 0xEE, 0xEF, 0xF0, 0xFF):
        if kind in TYPES:
            continue
        for size in (0, LIMITS["MAX_CONTROL"], LIMITS["MAX_CONTROL"] + 1, 0xFFFFFF):
            raw = bytes([kind]) + size.to_bytes(3, "big")
            rules = ["F-4"] if kind < 0x80 else ["F-5", "X-2"]
            out.append(vector(f"header-unknown-{kind:02x}-{size}", raw, "no payload follows", rules, False))
    for kind in (0x80, 0xE5, 0xFF):
        raw = codec.frame(kind, seq(0x90, 7))
        rules = ["F-5", "X-2"]
        vid = f"frame-grease-{kind:02x}" if kind == 0xE5 else f"frame-unknown-{kind:02x}"
        out.append(vector(vid, raw, "skipped as a whole", rules, False))
    whole = codec.encode("HELLO", **HELLO)
    for size in range(1, 9):
        out.append(vector(f"part-hello-{size}", whole[:size], "the stream goes on or ends", ["F-13"], True))
    request = codec.encode("REQUEST", **SAMPLES["REQUEST"])
    for size in (1, 3, 4, 5, len(request) - 1):
        out.append(vector(f"part-request-{size}", request[:size], "the stream goes on or ends", ["F-13"], False))
    return out


def strangers() -> list[dict]:
    """First bytes of a connection that are not SWP: it is closed without an answer."""
    bye, noop = codec.encode("BYE", code=0, text=""), codec.encode("NOOP")
    starts = {
        "http": b"GET / HTTP/1.1\r\n", "tls": bytes.fromhex("16030100f8010000f4"), "ssh": b"SSH-2.0-x\r\n",
        "bittorrent": b"\x13BitTorrent protocol", "zeros": bytes(8), "noop": noop, "bye": bye,
        "grease": codec.frame(0xE5, b""), "unknown": codec.frame(0x7F, b""),
        "hello-27": bytes.fromhex("0100001b"), "hello-1025": bytes.fromhex("01000401"),
        "hello-length-16M": bytes.fromhex("01ffffff"), "magic-first-byte": bytes.fromhex("0100001cd2"),
        "magic-last-byte": bytes.fromhex("0100001cd3535751"),
    }
    out = []
    for vid, raw in starts.items():
        made = vector(f"first-{vid}", raw, "not SWP: no byte is sent", [], True)
        assert made["error"] == "CLOSE", made
        out.append(made)
    return out


def parts_vector(vid: str, name: str, parts: list[tuple[bytes, int]], comment: str, rules: list[str]) -> dict:
    """A frame too long to write out: hex strings, each repeated."""
    raw = b"".join(piece * times for piece, times in parts)
    found = verdict(raw, False)
    found.pop("fields", None)
    rules = [found.pop("rule")] if "rule" in found else rules
    assert found.get("type", name) == name
    shown = [[piece.hex(), times] for piece, times in parts]
    return {"id": vid, "comment": comment, "first": False, "parts": shown} | found | {"requirements": rules}


def big() -> list[dict]:
    def head(name: str, size: int) -> bytes:
        return bytes([BY_NAME[name]["id"]]) + size.to_bytes(3, "big")

    entry = codec.put_struct("Entry", {"object": OBJECT, "state": 1})
    bitmap = codec.payload("BITMAP", BITS | {"piece_count": 262_144, "bits": b""})
    block = codec.payload("CANCEL", BLOCK)
    status = codec.payload("STATUS", STATUS | {"text": ""})
    swarm = codec.payload("SWARM", SWARM | {"peers": []})
    peer = codec.put_struct("Peer", PEER4)
    peers = (65_536 - len(swarm)) // 8
    return [
        parts_vector("big-have", "HAVE", [(head("HAVE", 65_536), 1), (bytes(4), 1), (b"\0\0\0\x07", 16_383)],
                     "as many pieces as fit", ["F-3"]),
        parts_vector("big-have-odd", "HAVE", [(head("HAVE", 65_535), 1), (bytes(4), 1), (b"\0\0\0\x07", 16_382),
                                              (b"\0\0\0", 1)], "three bytes are no piece", []),
        parts_vector("big-bitmap", "BITMAP", [(head("BITMAP", 32_781), 1), (bitmap, 1), (b"\xff", 32_768)],
                     "262,144 pieces", ["F-3"]),
        parts_vector("big-data", "DATA", [(head("DATA", 12 + (1 << 20)), 1), (block, 1), (b"\x5a", 1 << 20)],
                     "the longest frame of the protocol", ["F-3"]),
        parts_vector("big-announce", "ANNOUNCE", [(head("ANNOUNCE", 65_510), 1),
                                                  (codec.payload("ANNOUNCE", ANNOUNCE | {"entries": []}), 1),
                                                  (entry, 1985)], "1,985 entries", ["F-3"]),
        parts_vector("big-status", "STATUS", [(head("STATUS", 65_536), 1), (status, 1), (b"t", 65_526)],
                     "the longest text", ["F-3"]),
        parts_vector("big-swarm", "SWARM", [(head("SWARM", len(swarm) + 8 * peers), 1), (swarm, 1), (peer, peers)],
                     "as many peers as fit", ["F-3"]),
        parts_vector("big-unknown", "", [(head("HAVE", 0)[:0] + b"\xee\x01\x00\x00", 1), (b"\x01", 65_536)],
                     "the longest frame that is skipped", ["F-5"]),
    ]


def frames() -> list[dict]:
    out = named_valid() + named_invalid() + headers() + strangers() + cuts() + trailing() + big()
    ids = [v["id"] for v in out]
    assert len(ids) == len(set(ids)), "ids are unique"
    return out


# ------------------------------------------------------------------------------------------------- streams


def stream(sid: str, comment: str, pieces: list[bytes], splits: list[int], rules: list[str], tail: bytes = b"") -> dict:
    raw = b"".join(pieces) + tail
    reader, events, error = codec.FrameReader(), [], None
    try:
        for name, fields in reader.feed(raw):
            events.append(f"SKIPPED {fields['type']:#04x}" if name == "SKIPPED" else name)
    except Violation as violation:
        error = violation.code or "CLOSE"
        rules = [violation.rule, *rules]
    return {
        "id": sid, "comment": comment, "hex": raw.hex(), "splits": splits, "events": events, "error": error,
        "complete": error is None and reader.at_boundary(), "requirements": list(dict.fromkeys(rules)),
    }


def streams() -> list[dict]:
    raw = {vid: codec.encode(name, **fields) for vid, name, fields, _, _ in VALID}
    hello, noop, grease = raw["hello-minimal"], raw["noop"], codec.frame(0xE5, seq(0x90, 7))
    talk = [hello, noop, raw["open"], raw["bitmap-bits"], grease, raw["have-two"], raw["request"],
            raw["data-small"], raw["cancel"], raw["reject-bad-range"], raw["window-zero"],
            raw["close-not-found"], raw["bye-ok"]]
    tracker = [raw["hello-tracker"], raw["lease-sync"], raw["status-ok-version"], raw["swarm-two-peers"],
               raw["page-two"], raw["summary"], noop]
    every = [0, 1, 2, 3, 4, 5, 31, 32, 33, 36, 40, 41]
    empty = codec.frame(0xF7, b"")
    return [
        stream("peer-talk", "one side of a whole conversation", talk, every, ["F-12"]),
        stream("tracker-talk", "what a tracker sends", tracker, every, ["F-12"]),
        stream("grease-everywhere", "skipped frames, empty ones too", [hello, grease, empty, noop, empty, grease],
               [33, 34, 40, 44, 47], ["F-5", "X-2"]),
        stream("ends-in-header", "the end of the stream cuts a header", [hello, noop], [], ["F-13"], b"\x14\x00"),
        stream("ends-in-payload", "the end of the stream cuts a payload", [hello, noop], [], ["F-13"],
               raw["request"][:9]),
        stream("ends-in-data", "the end of the stream cuts DATA", [hello], [], ["F-13"], raw["data-small"][:18]),
        stream("good-then-bad-type", "frames before a violation count", [hello, noop], [36, 37], ["F-4"],
               b"\x7f\x00\x00\x00"),
        stream("good-then-order", "0x29 is reserved", [hello, noop], [], ["F-4"], codec.frame(0x29, bytes(8))),
        stream("length-before-payload", "a header that is too long is refused before its payload comes",
               [hello], [], ["F-3"], b"\x14\x00\x00\x11"),
        stream("unknown-too-long", "skipping has a limit", [hello], [], ["F-6"], b"\xee\x01\x00\x01"),
        stream("malformed-then-good", "nothing counts after a violation", [hello, codec.frame(0x14, bytes(16)), noop],
               [], ["F-10"]),
        stream("starts-with-noop", "the first frame is not HELLO", [noop, hello], [], ["H-2"]),
        stream("starts-with-grease", "the first frame is not HELLO", [grease, hello], [], ["H-2"]),
        stream("starts-with-http", "a web browser", [b"GET / HTTP/1.1\r\nHost: tracker\r\n\r\n"], [], ["H-2"]),
        stream("malformed-hello", "MAGIC is right, so it gets an answer", [codec.encode("HELLO", **HELLO | {"role": 9})],
               [], ["H-9"]),
    ]
