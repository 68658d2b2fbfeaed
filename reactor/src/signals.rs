//! SIGINT and SIGTERM, brought into the loop through a socket pair.
//!
//! The first one asks the machine to end; a second one ends the process at once with the status that a
//! shell would report, 128 plus the signal's number.

use std::io::{self, Read};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{SigId, flag, low_level};

use crate::token::Target;

/// Handlers of this process's signals, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Signals {
    woken: UnixStream,
    came: Arc<AtomicBool>,
    /// The number of the one that came.
    which: Arc<AtomicUsize>,
    told: bool,
    /// What writes to the socket pair.
    wakers: Vec<SigId>,
}

impl Signals {
    /// Takes over both signals.
    pub(crate) fn install(registry: &Registry) -> io::Result<Self> {
        let (woken, waker) = StdUnixStream::pair()?;
        woken.set_nonblocking(true)?;
        let mut signals = Self {
            woken: UnixStream::from_std(woken),
            came: Arc::new(AtomicBool::new(false)),
            which: Arc::new(AtomicUsize::new(0)),
            told: false,
            wakers: Vec::new(),
        };
        for signal in [SIGINT, SIGTERM] {
            // They run in this order: the first signal passes the first and sets what it looks at.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&signals.came))?;
            let number = usize::try_from(signal).map_err(io::Error::other)?;
            flag::register_usize(signal, Arc::clone(&signals.which), number)?;
            flag::register(signal, Arc::clone(&signals.came))?;
            signals.wakers.push(low_level::pipe::register(signal, waker.try_clone()?)?);
        }
        registry.register(&mut signals.woken, Token::from(Target::Signals), Interest::READABLE)?;
        Ok(signals)
    }

    /// Whether the first signal came since the last call.
    pub(crate) fn take(&mut self) -> bool {
        let mut wakes = [0; 64];
        while self.woken.read(&mut wakes).is_ok_and(|count| count > 0) {}
        let first = self.came.load(Ordering::SeqCst) && !self.told;
        self.told |= first;
        first
    }
}

impl Signals {
    /// The number of the signal that [`Signals::take`] told of.
    pub(crate) fn number(&self) -> Option<i32> {
        let number = i32::try_from(self.which.load(Ordering::SeqCst)).ok();
        number.filter(|_| self.told)
    }
}

impl Drop for Signals {
    /// Without a loop that listens, the next signal ends the process.
    fn drop(&mut self) {
        self.came.store(true, Ordering::SeqCst);
        for waker in self.wakers.drain(..) {
            low_level::unregister(waker);
        }
    }
}
