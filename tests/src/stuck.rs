//! What a failed run says: why, when, how everybody stands, and the command that replays it.

use std::fmt;
use std::time::Duration;

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
