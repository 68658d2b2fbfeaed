#!/usr/bin/env python3
"""Writes spec/vectors/*.json. With --check: only says which files would change, exit code 1 if any.

Nothing random and nothing typed by hand goes in, so that a difference always has a reason.
"""

import json
import sys

import common
import codec
import frames
import manifest as mf
from common import SPEC_DIR
from frames import HELLO, seq
from manifest import Refused


def outcome(check, *args) -> dict:
    """Whether `check` takes the arguments: what it returns, or the rule that is broken and those behind it."""
    try:
        return {"valid": True, "value": check(*args), "rules": []}
    except Refused as refused:
        rules, behind = [], refused
        while isinstance(behind, Refused):
            rules, behind = [*rules, behind.rule], behind.__cause__
        return {"valid": False, "rules": rules}


# --------------------------------------------------------------------------------------------- handshakes


def handshakes() -> list[dict]:
    mine = HELLO | {"node": seq(0x10, 16)}
    theirs = HELLO | {"node": seq(0x20, 16)}
    token, wrong = [{"tag": 3, "value": b"secret"}], [{"tag": 3, "value": b"guess"}]
    cases = [
        ("same-version", mine, theirs, {}, ["H-12"]),
        ("they-speak-more", mine, theirs | {"vmax": 7}, {}, ["H-12"]),
        ("they-speak-everything", mine, theirs | {"vmax": 255}, {}, ["H-12"]),
        ("they-are-too-new", mine, theirs | {"vmin": 2, "vmax": 9}, {}, ["H-13"]),
        ("common-middle", mine | {"vmin": 2, "vmax": 5}, theirs | {"vmin": 1, "vmax": 3}, {}, ["H-12"]),
        ("they-are-too-old", mine | {"vmin": 3, "vmax": 5}, theirs | {"vmin": 1, "vmax": 2}, {}, ["H-13"]),
        ("myself", mine, mine, {}, ["H-16"]),
        ("tracker-expected", mine, theirs, {"expects": 2}, ["H-14"]),
        ("peer-expected", mine, theirs | {"role": 2}, {}, ["H-14"]),
        ("tracker-found", mine, theirs | {"role": 2, "window": 0}, {"expects": 2}, ["H-14"]),
        ("token-equal", mine | {"tlvs": token}, theirs | {"tlvs": token}, {}, ["H-25"]),
        ("token-missing", mine | {"tlvs": token}, theirs, {}, ["H-25"]),
        ("token-wrong", mine | {"tlvs": token}, theirs | {"tlvs": wrong}, {}, ["H-25"]),
        ("token-unexpected", mine, theirs | {"tlvs": token}, {}, ["H-26"]),
        ("dialed-token-equal", mine | {"tlvs": token}, theirs | {"tlvs": token}, {"dialer": True}, ["H-28"]),
        ("dialed-token-missing", mine | {"tlvs": token}, theirs, {"dialer": True}, ["H-28"]),
        ("dialed-token-wrong", mine | {"tlvs": token}, theirs | {"tlvs": wrong}, {"dialer": True}, ["H-28"]),
        ("dialed-token-unexpected", mine, theirs | {"tlvs": token}, {"dialer": True}, ["H-26"]),
        ("tracker-token-missing", mine | {"tlvs": token}, theirs | {"role": 2}, {"expects": 2}, ["H-28"]),
        ("tracker-token-wrong", mine | {"tlvs": token}, theirs | {"role": 2, "tlvs": wrong}, {"expects": 2},
         ["H-28"]),
        ("critical-tag", mine, theirs | {"tlvs": [{"tag": 0x7FFF, "value": b""}]}, {}, ["H-22"]),
        ("skippable-tag", mine, theirs | {"tlvs": [{"tag": 0xEE77, "value": b"?"}]}, {}, ["H-21"]),
    ]
    return [_handshake(*case) for case in cases]


def _handshake(vid: str, mine: dict, theirs: dict, setting: dict, rules: list[str]) -> dict:
    expects = setting.get("expects", 1)
    dialer = setting.get("dialer", expects == 2)
    tags = {tlv["tag"]: tlv["value"] for tlv in theirs["tlvs"]}
    own = {tlv["tag"]: tlv["value"] for tlv in mine["tlvs"]}
    token = codec.TLVS["CLUSTER_TOKEN"]
    version, code = codec.negotiate(mine, theirs), None
    if any(tag not in codec.TLVS.values() and tag < 0x8000 for tag in tags):
        code = "UNKNOWN_TYPE"
    elif version is None:
        code = "VERSION"
    elif theirs["role"] != expects:
        code = "WRONG_ROLE"
    elif theirs["node"] == mine["node"]:
        code = "DUPLICATE"
    elif tags.get(token) != own.get(token) and not (expects == 2 and token not in tags):
        code = "DENIED"
    return {
        "id": vid, "mine": codec.encode("HELLO", **mine).hex(), "theirs": codec.encode("HELLO", **theirs).hex(),
        "dialer": dialer, "expects": expects, "version": None if code else version, "error": code, "requirements": rules,
    }


# ----------------------------------------------------------------------------------------------- manifests

EMPTY = mf.hashlib.sha256(b"").digest()
FILES = {b"a/one": b"1" * 4097, b"a/two": b"", b"b/": None, b"b.txt": b"bee", b"c/deep/er": b"c" * 8192}


def manifests() -> list[dict]:
    made = {
        "file-hello": (mf.build({b"": b"hello"}, 12), "a file object", ["M-1", "M-10"]),
        "file-empty": (mf.build({b"": b""}, 18), "an empty file: no pieces", ["M-1"]),
        "file-one-byte": (mf.build({b"": b"x"}, 24), "the largest piece size", ["M-3"]),
        "file-exact-piece": (mf.build({b"": b"p" * 4096}, 12), "exactly one piece", ["M-13"]),
        "file-piece-and-byte": (mf.build({b"": b"p" * 4097}, 12), "the last piece has one byte", ["M-13"]),
        "file-executable": (mf.build({b"": b"#!"}, 12, {b""}), "", ["M-8"]),
        "folder": (mf.build(FILES, 12), "files, an empty file, an empty folder", ["M-7", "M-12"]),
        "folder-of-one": (mf.build({b"only": b"x"}, 12), "a folder with one file is no file object", ["M-10"]),
        "folder-only-empty-folder": (mf.build({b"empty/": None}, 12), "", ["M-9"]),
        "folder-order-of-bytes": (mf.build({b"a-b": b"1", b"a/b": b"2", b"a0": b"3", "ä".encode(): b"4"}, 12),
                                  "- sorts before /, / before 0, and UTF-8 after ASCII", ["M-7"]),
        "folder-prefix-names": (mf.build({b"ab": b"1", b"ab.c/d": b"2", b"abc": b"3"}, 12),
                                "a path may begin with another as text", ["M-12"]),
    }
    one, head = mf.entry_bytes(b"", 0, 5, EMPTY), mf.header(12, 1)
    hello = made["file-hello"][0]
    pair = mf.header(12, 2)

    def entry(path: bytes, flags: int = 0, length: int = 0, digest: bytes = EMPTY) -> bytes:
        return mf.entry_bytes(path, flags, length, digest)

    folder = entry(b"d/", digest=bytes(32))
    bad = {
        "magic": (mf.header(12, 1, magic=mf.METAFILE_MAGIC) + hello[12:], "M-2"),
        "version-0": (mf.header(12, 1, version=0) + hello[12:], "M-2"),
        "version-2": (mf.header(12, 1, version=2) + hello[12:], "M-2"),
        "zero": (mf.header(12, 1, zero=1) + hello[12:], "M-2"),
        "log2-11": (mf.header(11, 1) + hello[12:], "M-3"),
        "log2-25": (mf.header(25, 1) + hello[12:], "M-3"),
        "log2-255": (mf.header(255, 1) + hello[12:], "M-3"),
        "no-entries": (mf.header(12, 0), "M-4"),
        "too-many-entries": (mf.header(12, 131_073), "M-4"),
        "entries-missing": (mf.header(12, 131_072), "M-6"),
        "hash-missing": (hello[:-32], "M-6"),
        "hash-short": (hello[:-1], "M-6"),
        "trailing": (hello + b"\0", "M-6"),
        "hash-too-many": (hello + bytes(32), "M-6"),
        "path-beyond-end": (head + b"\xff\xffabc", "M-6"),
        "order-equal": (pair + entry(b"a") * 2, "M-7"),
        "order-descending": (pair + entry(b"b") + entry(b"a"), "M-7"),
        "flags-2": (head + entry(b"", flags=2), "M-8"),
        "folder-flags": (head + entry(b"d/", flags=1, digest=bytes(32)), "M-9"),
        "folder-length": (head + entry(b"d/", length=1, digest=bytes(32)) + bytes(32), "M-9"),
        "folder-digest": (head + entry(b"d/"), "M-9"),
        "empty-path-among-two": (pair + entry(b"") + entry(b"a"), "M-10"),
        "path-dotdot": (head + entry(b"../x"), "M-11"),
        "path-absolute": (head + entry(b"/x"), "M-11"),
        "path-slash": (head + entry(b"/", digest=bytes(32)), "M-11"),
        "path-double-slash-end": (head + entry(b"d//", digest=bytes(32)), "M-11"),
        "path-backslash": (head + entry(b"a\\b"), "M-11"),
        "path-nul": (head + entry(b"a\0"), "M-11"),
        "path-not-utf8": (head + entry(b"\xff"), "M-11"),
        "path-too-long": (head + entry(b"/".join([b"x" * 204] * 5) + b"x"), "M-11"),
        "file-and-folder": (pair + entry(b"d") + folder, "M-12"),
        "file-below-file": (pair + entry(b"d") + entry(b"d/x"), "M-12"),
        "file-below-file-apart": (mf.header(12, 3) + entry(b"d") + entry(b"d-") + entry(b"d/x"), "M-12"),
        "file-below-empty-folder": (pair + folder + entry(b"d/x"), "M-12"),
        "folder-below-empty-folder": (pair + folder + entry(b"d/e/", digest=bytes(32)), "M-12"),
        "too-many-pieces": (head + entry(b"", length=(262_144 << 12) + 1), "M-13"),
        "too-many-pieces-of-two": (pair + entry(b"a", length=262_144 << 12) + entry(b"b", length=1), "M-13"),
        "length-overflow": (head + entry(b"", length=2**64 - 1), "M-13"),
        "length-sum-overflow": (pair + entry(b"a", length=2**63) + entry(b"b", length=2**63), "M-13"),
        "length-without-hashes": (head + one, "M-6"),
    }
    for size in range(len(hello)):
        bad[f"cut-{size}"] = (hello[:size], "M-6")
    out = [_manifest(vid, raw, comment, rules) for vid, (raw, comment, rules) in made.items()]
    for vid, (raw, rule) in bad.items():
        found = outcome(mf.parse, raw)
        assert found["rules"][0] == rule, (vid, rule, found)
        out.append({"id": f"bad-{vid}", "comment": "", "hex": raw.hex(), "valid": False,
                    "requirements": [*found["rules"], "M-14"]})
    return out


def _manifest(vid: str, raw: bytes, comment: str, rules: list[str]) -> dict:
    parsed = mf.parse(raw)
    return {
        "id": vid, "comment": comment, "hex": raw.hex(), "valid": True, "object": parsed.id().hex(),
        "piece_log2": parsed.piece_log2,
        "entries": [{"path": e.path, "executable": e.executable, "length": e.length, "digest": e.digest.hex()}
                    for e in parsed.entries],
        "pieces": [{"file": f, "offset": o, "length": n, "hash": h.hex()}
                   for (f, o, n), h in zip(parsed.pieces(), parsed.hashes, strict=True)],
        "requirements": rules,
    }


def piece_sizes() -> list[dict]:
    mib, gib = 1 << 20, 1 << 30
    cases = [[], [0], [1], [gib], [gib + 1], [4 * gib], [4 * gib + 1], [256 * gib], [256 * gib + 1], [1 << 42],
             [mib] * 1024, [1] * 100_000, [gib] * 300]
    shown = []
    for lengths in cases:
        groups = [[lengths[0], len(lengths)]] if lengths else []
        shown.append({"files": groups, "piece_log2": mf.default_piece_log2(lengths), "requirements": ["M-15"]})
    return shown


# ----------------------------------------------------------------------------------------------- the rest


def bitmaps() -> list[dict]:
    out = []
    for count in (0, 1, 7, 8, 9, 12, 16, 17, 64, 255):
        for label, members in (("none", []), ("all", list(range(count))), ("ends", sorted({0, count - 1} - {-1})),
                               ("odd", list(range(1, count, 2)))):
            raw = bytearray((count + 7) // 8)
            for piece in members if count else []:
                raw[piece // 8] |= 0x80 >> piece % 8
            members = members if count else []
            out.append({"id": f"{label}-of-{count}", "count": count, "hex": raw.hex(), "valid": True,
                        "pieces": members, "requirements": ["P-16"]})
    for count, raw, rule in ((0, "00", "P-16"), (1, "", "P-16"), (8, "0000", "P-16"), (9, "00", "P-16"),
                             (1, "40", "P-17"), (1, "01", "P-17"), (7, "01", "P-17"), (9, "0040", "P-17"),
                             (12, "0008", "P-17"), (12, "0001", "P-17"), (255, "00" * 31 + "01", "P-17")):
        out.append({"id": f"bad-{count}-{raw[-4:] or 'empty'}-{len(raw) // 2}", "count": count, "hex": raw,
                    "valid": False, "requirements": [rule]})
    return out


def names() -> list[dict]:
    texts = [
        b"a", b"a/b", b"a/b/c.txt", b".hidden", b"...", b"a..b", b"..a", b"a.", b"a b", b"~", b"a:b", b"CON",
        "größe/文件".encode(), b"@", b"x@", b"a@b", b"x@3a", b"x@sha256", b"x@sha256:", b"x@sha256:xyz", b"@3/x",
        b"x@sha1:00", b"x@3", b"@3", b"x@0", b"x@00000000000000000001", b"a@b@3", b"d/x@12", b"x@sha256:0",
        b"x@sha256:9F2c", b"x@sha256:" + b"0a" * 32, b"x@ 3", b"x@-3", "x@٣".encode(), b"x@3/", b"",
        b"/", b"/a", b"a/", b"a//b", b".", b"..", b"a/.", b"./a", b"a/../b", b"../a", b"a/..", b"a\\b", b"\\",
        b"a\0b", b"\0", b"\x1f", b"a\n", b"a\tb", b"\x7f", b"\x80", b"\xc0\xaf", b"\xed\xa0\x80", b"a\xff",
        "\u0085".encode(), "a\u202eb".encode(), b"\xf4\x90\x80\x80", b"s" * 255, b"s" * 256,
        ("ä" * 127 + "b").encode(), ("ä" * 128).encode(), b"/".join([b"s"] * 64), b"/".join([b"s"] * 65),
        b"/".join([b"s" * 255] * 4), b"/".join([b"s" * 255] * 4) + b"/", b"/".join([b"s" * 255] * 4) + b"/x",
        b"/".join([b"t" * 204] * 5), b"/".join([b"t" * 204] * 5) + b"x",
    ]
    out = []
    for index, raw in enumerate(texts):
        path, name = outcome(mf.check_path, raw), outcome(mf.check_name, raw)
        rules = path["rules"] + name["rules"] or ["M-16", "M-17", "M-21"]
        out.append({"id": f"name-{index:02}", "hex": raw.hex(), "path": path["valid"], "name": name["valid"],
                    "requirements": list(dict.fromkeys(rules))})
    return out


def metafiles() -> list[dict]:
    manifest = mf.build({b"": b"hello"}, 12)
    build = mf.build_metafile
    good = build(b"greeting", [b"tracker.example:7400", b"[2001:db8::1]:7400"], manifest)
    cases = {
        "two-trackers": (good, "", ["M-23", "M-26"]),
        "no-tracker": (build(b"greeting", [], manifest), "", ["M-24"]),
        "16-trackers": (build(b"greeting", [b"t%d:1" % i for i in range(16)], manifest), "", ["M-24"]),
        "folder": (build(b"a/b", [b"t:1"], mf.build(FILES, 12)), "", ["M-27"]),
        "longest-tracker": (build(b"n", [b"t" * 261], manifest), "", ["M-26"]),
        "bad-magic": (manifest, "a bare manifest", ["M-23"]),
        "bad-version": (good[:4] + b"\x02" + good[5:], "", ["M-23"]),
        "bad-zero": (good[:5] + b"\x01" + good[6:], "", ["M-23"]),
        "bad-17-trackers": (build(b"n", [b"t:1"] * 17, manifest), "", ["M-24"]),
        "bad-65535-trackers": (good[:6] + b"\xff\xff" + good[8:], "", ["M-24"]),
        "bad-name-empty": (build(b"", [], manifest), "", ["M-25"]),
        "bad-name-dotdot": (build(b"..", [], manifest), "", ["M-25"]),
        "bad-name-version": (build(b"x@3", [], manifest), "", ["M-25"]),
        "bad-name-not-utf8": (build(b"\xff", [], manifest), "", ["M-25"]),
        "bad-tracker-empty": (build(b"n", [b""], manifest), "", ["M-26"]),
        "bad-tracker-too-long": (build(b"n", [b"t" * 262], manifest), "", ["M-26"]),
        "bad-tracker-space": (build(b"n", [b"a b:1"], manifest), "", ["M-26"]),
        "bad-tracker-newline": (build(b"n", [b"a:1\n"], manifest), "", ["M-26"]),
        "bad-tracker-not-utf8": (build(b"n", [b"\xff:1"], manifest), "", ["M-26"]),
        "bad-manifest-cut": (good[:-1], "", ["M-27"]),
        "bad-manifest-trailing": (good + b"\0", "", ["M-27"]),
        "bad-manifest-missing": (build(b"n", [], b""), "", ["M-27"]),
    }
    for size in (0, 4, 7, 9, 15, 20, 58):
        cases[f"bad-cut-{size}"] = (good[:size], "", ["M-28"])
    out = []
    for vid, (raw, comment, rules) in cases.items():
        found = outcome(mf.parse_metafile, raw)
        assert found["valid"] or found["rules"][0] in rules, (vid, found)
        made = {"id": vid, "comment": comment, "hex": raw.hex(), "valid": found["valid"],
                "requirements": list(dict.fromkeys([*found["rules"], "M-28"])) if found["rules"] else rules}
        if found["valid"]:
            value = found["value"]
            made |= {"name": value.name, "trackers": list(value.trackers), "object": value.manifest.id().hex()}
        assert made["valid"] != vid.startswith("bad-"), vid
        out.append(made)
    return out


def digests() -> list[dict]:
    a, b, c = seq(0xA0, 32), seq(0x40, 32), bytes([0x80]) + bytes(31)
    sets = [[], [(a, 1)], [(a, 2)], [(a, 1), (b, 2)], [(b, 2), (a, 1)], [(c, 1)], [(c, 2), (b, 1), (a, 2)]]
    return [{"holdings": [{"object": o.hex(), "state": s} for o, s in held],
             "digest": codec.holdings_digest(held), "requirements": ["T-17"]} for held in sets]


def documents() -> dict[str, dict]:
    return {
        "frames": {"about": "one frame each; `first`: on a new connection, else after HELLO", "vectors": frames.frames()},
        "streams": {"about": "one direction of a connection; `splits`: offsets to cut at", "vectors": frames.streams()},
        "handshake": {"about": "two HELLOs, and what `mine` does with `theirs`", "vectors": handshakes()},
        "manifests": {"about": "manifests, and default piece sizes", "vectors": manifests(),
                      "piece_sizes": piece_sizes()},
        "bitmaps": {"about": "the bits of BITMAP", "vectors": bitmaps()},
        "names": {"about": "texts as a safe path and as a name", "vectors": names()},
        "metafiles": {"about": "metafiles", "vectors": metafiles()},
        "digests": {"about": "the digest in BEAT", "vectors": digests()},
    }


def render(document: dict) -> str:
    """JSON with one vector per line."""
    lines = ["{", f'"about": {json.dumps(document["about"])},', '"protocol": "SWP 1",']
    lists = [(k, v) for k, v in document.items() if k != "about"]
    for at, (key, rows) in enumerate(lists):
        lines.append(f'"{key}": [')
        lines.append(",\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
        lines.append("]," if at + 1 < len(lists) else "]")
    return "\n".join(lines) + "\n}\n"


def main() -> int:
    files = {SPEC_DIR / "vectors" / f"{name}.json": render(doc) for name, doc in documents().items()}
    return common.deliver(files, "--check" in sys.argv[1:], "spec/tools/vectors.py")


if __name__ == "__main__":
    sys.exit(main())
