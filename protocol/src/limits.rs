//! Every maximum of the wire, each with its reason. `spec/messages.toml` states them a second time, and
//! a test holds the two together.

use std::time::Duration;

/// Protocol version that this crate speaks.
pub const VERSION: u8 = 1;
/// First four bytes of every HELLO.
pub const MAGIC: u32 = 0xD353_5750;
/// Bytes of a frame header.
pub const FRAME_HEADER: usize = 4;
/// Payload of every frame but DATA: bounds the receive buffer of a connection.
pub const MAX_CONTROL: u32 = 65_536;
/// Data bytes in one DATA.
pub const MAX_BLOCK: u32 = 1 << 20;
/// Payload of HELLO: before trust exists.
pub const MAX_HELLO: u32 = 1_024;
/// Payload of BYE.
pub const MAX_BYE: u32 = 256;
/// Smallest piece, as a power of two: 4 KiB, for tests and captures.
pub const MIN_PIECE_LOG2: u8 = 12;
/// Largest piece, as a power of two: 16 MiB.
pub const MAX_PIECE_LOG2: u8 = 24;
/// Pieces of one object: a bitmap always fits one control frame.
pub const MAX_PIECES: u32 = 262_144;
/// Bytes of one object: the most pieces of the largest size, 4 TiB.
pub const MAX_OBJECT: u64 = (MAX_PIECES as u64) << MAX_PIECE_LOG2;
/// Stands in a REQUEST for the bytes of the manifest.
pub const MANIFEST_PIECE: u32 = u32::MAX;
/// Bytes of one manifest.
pub const MAX_MANIFEST: u32 = 16 << 20;
/// Files of one object.
pub const MAX_FILES: u32 = 131_072;
/// Bytes of a path inside an object, or of a name.
pub const MAX_PATH: usize = 1_024;
/// Segments of a path: deeper ones are attacks, and break other programs.
pub const MAX_DEPTH: usize = 64;
/// Bytes of one segment of a path: more than that no common file system stores.
pub const MAX_SEGMENT: usize = 255;
/// Trackers in one metafile.
pub const MAX_TRACKERS: usize = 16;
/// Bytes of one tracker in a metafile: a host name of 253 bytes, a colon, a port, and some room.
pub const MAX_TRACKER: usize = 261;
/// Bytes of the AGENT in a HELLO.
pub const MAX_AGENT: usize = 64;
/// Open channels of one connection.
pub const MAX_CHANNELS: usize = 1_024;
/// Open REQUESTs that a receiver grants unless told otherwise.
pub const DEFAULT_WINDOW: u16 = 512;
/// Open REQUESTs at one receiver; more is a violation.
pub const MAX_WINDOW: u16 = 4_096;
/// Rejected out-of-range requests on one connection; more is a violation.
pub const MAX_BAD_RANGES: u32 = 16;
/// Time from connect to the other's HELLO.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Send NOOP after so long without sending.
pub const NOOP_AFTER: Duration = Duration::from_secs(30);
/// A connection is dead after so long without a byte.
pub const DEAD_AFTER: Duration = Duration::from_secs(90);
/// A connection is dead after so long without progress inside a frame.
pub const FRAME_STALL: Duration = Duration::from_secs(30);
/// After sending BYE, wait so long for the remote to close.
pub const BYE_LINGER: Duration = Duration::from_secs(2);
/// From storing a piece to its HAVE, at most, milliseconds: so many go into one frame.
pub const HAVE_DELAY_MS: u16 = 100;
/// For how long a node that sent wrong bytes is avoided.
pub const BAD_DATA_BAN: Duration = Duration::from_secs(600);
/// Shortest interval between BEATs, seconds.
pub const MIN_BEAT_S: u16 = 15;
/// Longest interval between BEATs, seconds.
pub const MAX_BEAT_S: u16 = 300;
/// Longest wait before connecting to a lost tracker again, seconds.
pub const RECONNECT_MAX_S: u16 = 30;
/// Peers that one FIND may ask for.
pub const MAX_FIND_WANT: u16 = 200;
/// Records that one LIST may ask for.
pub const MAX_LIST_LIMIT: u16 = 500;
/// Entries of one ANNOUNCE: as many as fit a control frame.
pub const MAX_ANNOUNCE_ENTRIES: usize = 1_985;
/// Peers in one unsolicited SWARM.
pub const MAX_PUSH: usize = 32;
/// Between unsolicited SWARMs for one object to one peer, at least, seconds.
pub const PUSH_INTERVAL_S: u16 = 5;
