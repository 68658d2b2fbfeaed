//! What a simulator may hook into a machine: marks, which count the paths that a run took, and
//! canaries, bugs planted to see whether the simulator finds them.
//!
//! Both are nothing at all unless the feature `hooks` is on: no code, no data. Only the package of the
//! simulator can turn it on, and even then nothing happens on a thread that has not asked for it.

/// Counts that this place was reached. The name is one of the table in the simulator's `marks`, which
/// says what it proves that a run came by.
#[macro_export]
macro_rules! mark {
    ($name:literal) => {
        $crate::hooks::hit($name)
    };
}

/// Whether the planted bug of this name is to show itself: always `false` in a program. The names are
/// those of the table in the simulator's `canaries`.
#[macro_export]
macro_rules! canary {
    ($name:literal) => {
        $crate::hooks::is_armed($name)
    };
}

#[cfg(not(feature = "hooks"))]
mod hooked {
    /// Nothing.
    #[inline(always)]
    pub const fn hit(_name: &'static str) {}

    /// Never.
    #[inline(always)]
    pub const fn is_armed(_name: &'static str) -> bool {
        false
    }
}

#[cfg(feature = "hooks")]
mod hooked {
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeMap;

    thread_local! {
        static MARKS: RefCell<BTreeMap<&'static str, u64>> = const { RefCell::new(BTreeMap::new()) };
        static ARMED: Cell<Option<&'static str>> = const { Cell::new(None) };
    }

    /// Counts a mark of this thread.
    pub fn hit(name: &'static str) {
        MARKS.with_borrow_mut(|marks| *marks.entry(name).or_insert(0) += 1);
    }

    /// How often each mark was hit on this thread since the last call.
    pub fn take_marks() -> BTreeMap<&'static str, u64> {
        MARKS.take()
    }

    /// Whether this thread plants the bug of this name.
    pub fn is_armed(name: &'static str) -> bool {
        ARMED.get().is_some_and(|armed| armed == name)
    }

    /// Plants the bug of this name on this thread, or none.
    pub fn arm(name: Option<&'static str>) {
        ARMED.set(name);
    }
}

pub use hooked::*;
