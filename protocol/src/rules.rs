//! Requirement ids of `spec/PROTOCOL.md` that errors name. One constant per rule, so that spec and
//! errors can be held together in one place.

/// Every field is there, and nothing follows the last one.
pub(crate) const EXACT: &str = "F-7";
/// Text is UTF-8.
pub(crate) const UTF8: &str = "F-9";
/// A value lies in the bounds or the enumeration of its field.
pub(crate) const RANGE: &str = "F-10";
/// Bits and bytes without a meaning are zero.
pub(crate) const SPARE: &str = "F-11";

/// The magic of a HELLO.
pub(crate) const HELLO_MAGIC: &str = "H-3";
/// The range of versions.
pub(crate) const HELLO_VERSIONS: &str = "H-8";
/// The role.
pub(crate) const HELLO_ROLE: &str = "H-9";
/// Tags ascend.
pub(crate) const TAG_ORDER: &str = "H-19";
/// A TLV lies inside the payload.
pub(crate) const TLV_EXACT: &str = "H-20";

/// A BITMAP has the right number of bits.
pub(crate) const BITMAP_LEN: &str = "P-16";
/// The bits behind the last piece are zero.
pub(crate) const BITMAP_SPARE: &str = "P-17";
/// No pieces without a manifest.
pub(crate) const BITMAP_EMPTY: &str = "P-18";
/// A HAVE has whole piece numbers, at least one.
pub(crate) const HAVE_LEN: &str = "P-21";
/// Piece numbers in a HAVE are below the limit.
pub(crate) const HAVE_PIECE: &str = "P-22";
/// Bytes that a REQUEST may ask for.
pub(crate) const REQUEST_LEN: &str = "P-29";

/// Magic, version and zero of a manifest.
pub(crate) const MANIFEST_HEADER: &str = "M-2";
/// Piece sizes.
pub(crate) const PIECE_LOG2: &str = "M-3";
/// Number of entries.
pub(crate) const FILE_COUNT: &str = "M-4";
/// Length of a manifest.
pub(crate) const MANIFEST_LEN: &str = "M-5";
/// A manifest is neither shorter nor longer than its fields.
pub(crate) const MANIFEST_EXACT: &str = "M-6";
/// Order of a manifest's entries.
pub(crate) const ORDER: &str = "M-7";
/// Undefined flags of an entry.
pub(crate) const ENTRY_FLAGS: &str = "M-8";
/// An empty folder has nothing but its path.
pub(crate) const FOLDER: &str = "M-9";
/// Who may have an empty path.
pub(crate) const EMPTY_PATH: &str = "M-10";
/// Nothing has the path of, or lies below, a file or an empty folder.
pub(crate) const CONFLICT: &str = "M-12";
/// Number of pieces.
pub(crate) const PIECE_COUNT: &str = "M-13";

/// A path is 1 to 1,024 bytes of UTF-8.
pub(crate) const PATH_LEN: &str = "M-16";
/// A path is 1 to 64 segments.
pub(crate) const PATH_SEGMENTS: &str = "M-17";
/// Bytes of a segment.
pub(crate) const SEGMENT_LEN: &str = "M-18";
/// No segment is `.` or `..`.
pub(crate) const SEGMENT_DOTS: &str = "M-19";
/// Bytes that no path has.
pub(crate) const PATH_BYTES: &str = "M-20";
/// No name ends like a version.
pub(crate) const NAME_VERSION: &str = "M-22";

/// Magic, version and zero of a metafile.
pub(crate) const METAFILE_HEADER: &str = "M-23";
/// Number of trackers in a metafile.
pub(crate) const TRACKER_COUNT: &str = "M-24";
/// A tracker in a metafile.
pub(crate) const TRACKER: &str = "M-26";
/// A metafile is right as a whole.
pub(crate) const METAFILE: &str = "M-28";
