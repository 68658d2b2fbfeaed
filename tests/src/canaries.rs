//! Bugs that can be planted in the cores, to see that the simulator finds them. A simulator that finds
//! none of its planted bugs proves nothing when it finds no others.
//!
//! Each is one line in a core behind `canary!`, which no program is ever built with.

/// A planted bug.
#[derive(Clone, Copy, Debug)]
pub struct Canary {
    /// As in `canary!`.
    pub name: &'static str,
    /// What goes wrong.
    pub what: &'static str,
    /// Seeds that CI grants to find it; well above what it takes.
    pub budget: u64,
}

const fn bug(name: &'static str, what: &'static str, budget: u64) -> Canary {
    Canary { name, what, budget }
}

/// All of them.
pub const CANARIES: &[Canary] = &[
    bug("skip-the-hash", "a piece is stored without being checked", 1_000),
    bug("believe-any-manifest", "a manifest is taken without being checked", 1_000),
    bug("last-byte", "the last piece of a file is written one byte short", 1_000),
    bug("forget-to-ban", "a peer that sent wrong bytes is asked again", 1_000),
    bug("have-before-stored", "a piece is offered before it is on the disk", 1_000),
    bug("journal-before-sync", "the journal calls pieces durable before they are", 1_000),
    bug("rename-before-sync", "a file gets its name before it is durable", 1_000),
    bug("leases-never-end", "the tracker keeps naming the dead", 1_000),
    bug("older-version", "the tracker hands out a name's oldest version", 1_000),
    bug("lost-wakeup", "a peer without connections does not wake up again", 1_000),
    bug("leak-on-close", "requests of a connection are kept when it closes", 1_000),
    bug("unbounded-queue", "data is queued without looking how much there is", 1_000),
    bug("answer-twice", "a request is answered twice", 1_000),
    bug("overrun-window", "more is asked than the other side's window allows", 1_000),
    bug("dial-anybody", "an address is dialed that nobody can have", 1_000),
];
