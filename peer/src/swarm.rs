//! One object, and the links on which we share it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use protocol::message::Holdings;
use protocol::{ChannelId, Manifest, ObjectId, PieceIndex, PieceSet};
use reactor::{ConnId, FileStamp, Source, Time};

use crate::candidates::Candidates;
use crate::disk::{FetchKey, FileKey, ShareKey};
use crate::manifest_fetch::ManifestFetch;
use crate::transfer::Transfer;

/// Names a swarm inside this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SwarmKey(pub(crate) u32);

/// Where our copy of an object lives.
#[derive(Clone, Debug)]
pub(crate) enum Home {
    /// In the user's files, seeded in place.
    Shared(Arc<SharedFiles>),
    /// In the part of a fetch, or where the fetch has put it.
    Fetched(FetchKey),
}

/// The user's files that make up an object.
#[derive(Debug)]
pub(crate) struct SharedFiles {
    /// The share that they belong to.
    pub(crate) share: ShareKey,
    /// Which object of the share.
    pub(crate) object: usize,
    /// Each file with what it was when it was hashed, ascending by path.
    pub(crate) files: Arc<[(PathBuf, FileStamp)]>,
    /// For each entry of the manifest, its place in `files`.
    pub(crate) of_entry: Vec<Option<usize>>,
}

/// One object.
#[derive(Debug)]
pub(crate) struct Swarm {
    /// Which.
    pub(crate) object: ObjectId,
    /// Its manifest, once known.
    pub(crate) manifest: Option<Arc<Manifest>>,
    /// Its bytes, to serve them from.
    pub(crate) manifest_source: Option<Source>,
    /// The manifest on its way in, while it is not known.
    pub(crate) manifest_fetch: ManifestFetch,
    /// Pieces that are stored, and served.
    pub(crate) have: PieceSet,
    /// Where they are.
    pub(crate) home: Home,
    /// Pieces on their way in.
    pub(crate) transfer: Option<Transfer>,
    /// Pieces that the disk is storing, with who sent them.
    pub(crate) storing: BTreeMap<u32, (ConnId, std::net::SocketAddr)>,
    /// Pieces for which the disk had no room.
    pub(crate) unstored: Vec<(PieceIndex, Vec<u8>)>,
    /// Links with a channel for it.
    pub(crate) members: BTreeMap<ConnId, Member>,
    /// Where more peers may be.
    pub(crate) candidates: Candidates,
    /// We look for peers on our own.
    pub(crate) dialing: bool,
    /// Links that sent at least one right piece.
    pub(crate) sources: BTreeSet<std::net::SocketAddr>,
    /// Payload bytes that came.
    pub(crate) received: u64,
    /// Payload bytes that came, unwanted or wrong, and were thrown away.
    pub(crate) wasted: u64,
    /// Payload bytes that went out.
    pub(crate) sent: u64,
}

/// A link with a channel for the object.
#[derive(Debug)]
pub(crate) struct Member {
    /// The channel.
    pub(crate) channel: ChannelId,
    /// Length of the manifest to ask them for, 0 if they can't serve it or would not.
    pub(crate) manifest_len: u32,
    /// That length is the tracker's: they did not tell it themselves. [P-26]
    pub(crate) len_is_hint: bool,
    /// What they sent before we knew how many pieces there are.
    pub(crate) early: EarlyHoldings,
    /// What they hold, once both the manifest and their BITMAP are here.
    pub(crate) theirs: Option<PieceSet>,
    /// They are counted in the picker as having everything.
    pub(crate) counted_as_seed: bool,
    /// They were asked for the manifest, and refused it.
    pub(crate) refused_manifest: bool,
    /// Pieces to announce to them.
    pub(crate) haves: Vec<u32>,
    /// Ask nothing of them before this.
    pub(crate) not_before: Time,
}

/// Holdings that can't be checked yet, because the manifest is not here.
#[derive(Clone, Debug, Default)]
pub(crate) struct EarlyHoldings {
    /// Their BITMAP, if it came: claimed length of the manifest, piece count, and holdings.
    pub(crate) bitmap: Option<(u32, u32, Holdings)>,
    /// HAVEs that came after it.
    pub(crate) haves: Vec<u32>,
}

impl Swarm {
    /// A piece by its number, and the transfer that it is a part of, if there is one.
    pub(crate) fn piece_on_its_way(&mut self, piece: u32) -> Option<(PieceIndex, &mut Transfer)> {
        let piece = self.manifest.as_ref()?.geometry().piece(piece)?;
        Some((piece, self.transfer.as_mut()?))
    }

    /// Whether somebody else is to be asked for the manifest before this link: one whose manifest has the
    /// length that the tracker names, which is more likely to be right, and whose link takes requests.
    pub(crate) fn has_likelier_manifest(
        &self,
        now: Time,
        conn: ConnId,
        takes: impl Fn(&ConnId) -> bool,
    ) -> bool {
        let hint = self.manifest_fetch.expected_len();
        let likely = |member: &Member| hint != 0 && member.manifest_len == hint;
        let mut others = self.members.iter().filter(|(other, _)| **other != conn);
        !self.members.get(&conn).is_some_and(likely)
            && others.any(|(other, m)| likely(m) && m.not_before <= now && takes(other))
    }

    /// An object of which nothing is known but its id.
    pub(crate) fn new(object: ObjectId, home: Home, manifest_len_hint: Option<u32>) -> Self {
        Self {
            object,
            manifest: None,
            manifest_source: None,
            manifest_fetch: ManifestFetch::new(manifest_len_hint),
            have: PieceSet::empty(0),
            home,
            transfer: None,
            storing: BTreeMap::new(),
            unstored: Vec::new(),
            members: BTreeMap::new(),
            candidates: Candidates::default(),
            dialing: false,
            sources: BTreeSet::new(),
            received: 0,
            wasted: 0,
            sent: 0,
        }
    }

    /// The manifest is known.
    pub(crate) fn set_manifest(&mut self, manifest: Arc<Manifest>) {
        self.have = PieceSet::empty(manifest.geometry().piece_count());
        self.manifest_source = Some(Source::from_bytes(manifest.bytes().to_vec()));
        self.manifest = Some(manifest);
    }

    /// The BITMAP that tells what we hold.
    pub(crate) fn our_holdings(&self) -> (u32, u32, Holdings) {
        let Some(manifest) = &self.manifest else { return (0, 0, Holdings::None) };
        let manifest_len = u32::try_from(manifest.bytes().len()).expect("limited when parsed");
        let holdings = if self.have.is_full() {
            Holdings::All
        } else if self.have.is_empty() {
            Holdings::None
        } else {
            Holdings::Bits(self.have.as_bytes().to_vec())
        };
        (manifest_len, self.have.len(), holdings)
    }

    /// The key of the file that a piece lies in.
    pub(crate) fn file_key(&self, file: usize) -> FileKey {
        match self.home {
            Home::Shared(_) => FileKey::Shared { object: self.object, file },
            Home::Fetched(fetch) => FileKey::Fetched { fetch, file },
        }
    }

    /// Takes what a member holds into account, now that the manifest is known. `false` if it can't be
    /// true of this object.
    pub(crate) fn settle(&mut self, conn: ConnId) -> bool {
        let Some(manifest) = &self.manifest else { return true };
        let count = manifest.geometry().piece_count();
        let Some(member) = self.members.get_mut(&conn) else { return true };
        let Some((manifest_len, claimed, holdings)) = member.early.bitmap.take() else {
            return true;
        };
        let early = std::mem::take(&mut member.early.haves);
        if manifest_len != 0
            && (claimed != count || manifest_len as usize != manifest.bytes().len())
        {
            return false;
        }
        let theirs = match holdings {
            Holdings::None => Some(PieceSet::empty(count)),
            Holdings::All => Some(PieceSet::full(count)),
            Holdings::Bits(bits) => PieceSet::from_bytes(count, &bits),
        };
        let Some(theirs) = theirs else { return false };
        if let Some(transfer) = &mut self.transfer {
            member.counted_as_seed = theirs.is_full();
            if theirs.is_full() {
                transfer.picker.seed_joined();
            } else {
                transfer.picker.peer_joined(&theirs);
            }
        }
        member.theirs = Some(theirs);
        self.add_haves(conn, &early)
    }

    /// A member announced pieces. `false` if there are no such pieces.
    pub(crate) fn add_haves(&mut self, conn: ConnId, pieces: &[u32]) -> bool {
        let Some(member) = self.members.get_mut(&conn) else { return true };
        let (Some(manifest), Some(theirs)) = (&self.manifest, &mut member.theirs) else {
            // [P-26] Who gets pieces has got the manifest.
            if member.manifest_len == 0 && !member.refused_manifest {
                member.manifest_len = self.manifest_fetch.expected_len();
                member.len_is_hint = true;
            }
            // Bounded: a HAVE counts once per piece, and there are at most MAX_PIECES of them.
            if member.early.haves.len() + pieces.len() <= protocol::limits::MAX_PIECES as usize {
                member.early.haves.extend_from_slice(pieces);
            }
            return true;
        };
        for raw in pieces {
            let Some(piece) = manifest.geometry().piece(*raw) else { return false };
            let counts = theirs.insert(piece) && !member.counted_as_seed;
            if let Some(transfer) = self.transfer.as_mut().filter(|_| counts) {
                transfer.picker.peer_have(piece);
            }
        }
        true
    }

    /// Whether this member has the manifest that we miss, and has not said how long it is.
    pub(crate) fn lacks_manifest_len(&self, conn: ConnId) -> bool {
        let member = self.members.get(&conn);
        self.manifest.is_none() && member.is_some_and(|member| member.manifest_len == 0)
    }

    /// A member does not have this piece after all.
    pub(crate) fn lacks(&mut self, conn: ConnId, piece: PieceIndex) {
        let Some(member) = self.members.get_mut(&conn) else { return };
        let Some(theirs) = &mut member.theirs else { return };
        let Some(transfer) = &mut self.transfer else { return };
        if member.counted_as_seed {
            transfer.picker.seed_left();
            transfer.picker.peer_joined(theirs);
            member.counted_as_seed = false;
        }
        if theirs.contains(piece) {
            // The picker knows no "has it no longer", so the whole set is counted anew.
            transfer.picker.peer_left(theirs);
            theirs.remove(piece);
            transfer.picker.peer_joined(theirs);
        }
    }

    /// A link has left, or closed its channel. Pieces that it was sending.
    pub(crate) fn remove_member(&mut self, conn: ConnId) -> Vec<PieceIndex> {
        let Some(member) = self.members.remove(&conn) else { return Vec::new() };
        self.manifest_fetch.drop_link(conn);
        let Some(transfer) = &mut self.transfer else { return Vec::new() };
        if let Some(theirs) = &member.theirs {
            if member.counted_as_seed {
                transfer.picker.seed_left();
            } else {
                transfer.picker.peer_left(theirs);
            }
        }
        transfer.drop_link(conn)
    }

    /// Begins to fetch through `transfer`: everything that members hold is told to its picker.
    pub(crate) fn begin_transfer(&mut self, mut transfer: Transfer) {
        for member in self.members.values_mut() {
            if let Some(theirs) = &member.theirs {
                member.counted_as_seed = theirs.is_full();
                if theirs.is_full() {
                    transfer.picker.seed_joined();
                } else {
                    transfer.picker.peer_joined(theirs);
                }
            }
        }
        self.transfer = Some(transfer);
    }

    /// A piece is stored: serve it, and queue its announcement to members that lack it.
    pub(crate) fn stored(&mut self, piece: PieceIndex) {
        if !self.have.insert(piece) {
            return;
        }
        for member in self.members.values_mut() {
            if !member.theirs.as_ref().is_some_and(|theirs| theirs.contains(piece)) {
                member.haves.push(piece.get());
            }
        }
    }

    /// Payload bytes that came and were thrown away, those of pieces that never became whole included.
    pub(crate) fn wasted(&self) -> u64 {
        self.wasted + self.transfer.as_ref().map_or(0, |transfer| transfer.discarded)
    }

    /// Something may have to be asked of members.
    pub(crate) fn is_fetching(&self) -> bool {
        let unfinished = |transfer: &Transfer| !transfer.picker.is_done();
        self.manifest.is_none() || self.transfer.as_ref().is_some_and(unfinished)
    }

    /// There are pieces, and we can serve none.
    pub(crate) fn holds_nothing(&self) -> bool {
        self.have.is_empty() && !self.have.is_full()
    }

    /// Members that hold all of it.
    pub(crate) fn seeders(&self) -> usize {
        let full = |member: &&Member| member.theirs.as_ref().is_some_and(PieceSet::is_full);
        self.members.values().filter(full).count()
    }
}
