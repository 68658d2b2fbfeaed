//! Seeds that once failed, with what they found. They run as tests for ever; each also has a smallest
//! test of its own, since what a seed means changes with the plan that is drawn from it.

/// A seed that failed once.
#[derive(Clone, Copy, Debug)]
pub struct Failed {
    /// The seed.
    pub seed: u64,
    /// What was wrong, and what became of it.
    pub found: &'static str,
}

/// All of them.
pub const FAILED: &[Failed] = &[];
