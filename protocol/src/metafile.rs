//! A manifest saved to a file, with a name and trackers: enough to fetch without asking for the name.

use std::sync::Arc;

use crate::limits::{MAX_MANIFEST, MAX_PATH, MAX_TRACKER, MAX_TRACKERS};
use crate::wire::{Reader, Writer};
use crate::{DecodeError, Manifest, ManifestError, check_name, rules};

/// First four bytes: `SWPF`.
const MAGIC: u32 = 0x5357_5046;
const VERSION: u8 = 1;

/// What a `.swarm` file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metafile {
    /// The name to save under; rules as for names.
    pub name: String,
    /// Trackers to ask, as `host:port`; may be empty.
    pub trackers: Vec<String>,
    /// The object.
    pub manifest: Arc<Manifest>,
}

impl Metafile {
    /// Bytes of the largest metafile: do not read more.
    pub const MAX_LEN: usize = MAX_MANIFEST as usize + (64 << 10);

    /// Checks bytes that came from outside.
    ///
    /// # Errors
    /// [`ManifestError`] names the rule that is broken.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > Self::MAX_LEN {
            return Err(ManifestError::new("more than 16 MiB + 64 KiB", rules::METAFILE));
        }
        let mut r = Reader::new(bytes);
        let (name, trackers) = read_head(&mut r).map_err(of_metafile)?;
        check_name(&name)?;
        let manifest = r.bytes("manifest", r.remaining())?;
        let manifest = Arc::new(Manifest::parse(manifest.into())?);
        Ok(Self { name, trackers, manifest })
    }

    /// The canonical bytes. Trackers beyond the limit are left out.
    pub fn to_bytes(&self) -> Vec<u8> {
        debug_assert!(check_name(&self.name).is_ok(), "{:?}", self.name);
        debug_assert!(self.trackers.iter().all(|tracker| is_tracker(tracker)));
        let trackers = self.trackers.iter().take(MAX_TRACKERS);
        let mut bytes = Vec::new();
        let mut w = Writer::plain(&mut bytes, Self::MAX_LEN);
        w.u32(MAGIC);
        w.u8(VERSION);
        w.u8(0);
        w.u16(u16::try_from(trackers.len()).expect("at most MAX_TRACKERS"));
        w.str16(&self.name, MAX_PATH);
        for tracker in trackers {
            w.str16(tracker, MAX_TRACKER);
        }
        w.bytes(self.manifest.bytes());
        bytes
    }
}

/// Everything before the manifest; the name is not yet checked.
fn read_head(r: &mut Reader<'_>) -> Result<(String, Vec<String>), DecodeError> {
    let magic = r.u32("magic")?;
    r.check(magic == MAGIC, 0, "magic", "expected 'SWPF'", rules::METAFILE_HEADER)?;
    r.u8_in("version", VERSION..=VERSION, rules::METAFILE_HEADER)?;
    r.u8_in("zero", 0..=0, rules::METAFILE_HEADER)?;
    let count = usize::from(r.u16("tracker_count")?);
    r.check(count <= MAX_TRACKERS, 6, "tracker_count", "more than 16", rules::TRACKER_COUNT)?;
    let name = r.str16("name", MAX_PATH)?.to_owned();
    let mut trackers = Vec::with_capacity(count);
    for _ in 0..count {
        let at = r.offset();
        let tracker = r.str16("tracker", MAX_TRACKER)?;
        let problem = "expected host:port without spaces";
        r.check(is_tracker(tracker), at, "tracker", problem, rules::TRACKER)?;
        trackers.push(tracker.to_owned());
    }
    Ok((name, trackers))
}

/// The rules for frames and manifests have no ids for metafiles: these are right as a whole, or not.
fn of_metafile(error: DecodeError) -> ManifestError {
    let mut error = ManifestError::from(error);
    if !matches!(error.rule, rules::METAFILE_HEADER | rules::TRACKER_COUNT | rules::TRACKER) {
        error.rule = rules::METAFILE;
    }
    error
}

/// Not empty, not too long, without control bytes and spaces; whether it can be resolved is another
/// question.
fn is_tracker(tracker: &str) -> bool {
    let plain = tracker.bytes().all(|byte| byte > 0x20 && byte != 0x7F);
    (1..=MAX_TRACKER).contains(&tracker.len()) && plain
}
