//! What a failed run says: why, when, how everybody stands, and the command that replays it.

use std::fmt;
use std::time::Duration;

use crate::world::World;

/// A run that did not get where it should.
#[derive(Clone)]
pub struct Stuck {
    pub(crate) why: String,
    pub(crate) seed: u64,
    pub(crate) at: Duration,
    pub(crate) nodes: Vec<String>,
    pub(crate) replay: Option<String>,
    /// What kind of run it was.
    pub(crate) about: String,
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.why)?;
        writeln!(f, "seed {} at {:.6} s of virtual time", self.seed, self.at.as_secs_f64())?;
        if !self.about.is_empty() {
            writeln!(f, "  with {}", self.about)?;
        }
        for node in &self.nodes {
            writeln!(f, "  {node}")?;
        }
        if let Some(replay) = &self.replay {
            return write!(f, "replay with a trace: {replay}");
        }
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        write!(
            f,
            "replay with a trace: SIM_SEED={} SIM_TRACE=1 cargo test -p tests {name} -- --nocapture",
            self.seed
        )
    }
}

impl fmt::Debug for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{self}")
    }
}

impl World {
    /// A run that failed for a reason of the test's own.
    pub fn stuck(&self, why: String) -> Stuck {
        let nodes = (0..self.nodes.len()).map(|index| self.line(index)).collect();
        let replay = self.replay.clone();
        let about = self.about.clone();
        Stuck { why, seed: self.seed(), at: self.elapsed(), nodes, replay, about }
    }

    fn line(&self, index: usize) -> String {
        let node = &self.nodes[index];
        let conns = node.conns.len();
        let mut line = format!("{index} {} {:?} conns={conns}", node.name, node.life);
        if let Some(status) = node.program.as_ref().and_then(|program| program.status()) {
            let phase = status.phase;
            line += &format!(
                " {phase:?} {}/{} peers={} tracker={} sent={}",
                status.done, status.total, status.peers, status.tracker_up, status.sent
            );
        }
        for (_, notice) in node.notices.iter().rev().take(3) {
            let mut text = format!("{notice:?}");
            if let Some((at, _)) = text.char_indices().nth(160) {
                text.truncate(at);
            }
            line += &format!("\n      {text}");
        }
        line
    }
}
