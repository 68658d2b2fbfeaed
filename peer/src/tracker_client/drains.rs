//! Connections on which BYE was the last word: they stay until the tracker has closed its side, so that
//! the BYE is not lost, but not for long. [F-22]

use protocol::limits::BYE_LINGER;
use reactor::{Actions, CloseReason, ConnId, Time};

use crate::disk::Task;

/// More are not kept waiting.
const MAX_DRAINS: usize = 4;

#[derive(Debug)]
struct Drain {
    conn: ConnId,
    until: Time,
    reason: CloseReason,
}

#[derive(Debug, Default)]
pub(super) struct Drains(Vec<Drain>);

impl Drains {
    pub(super) fn add(
        &mut self,
        now: Time,
        conn: ConnId,
        reason: CloseReason,
        out: &mut Actions<Task>,
    ) {
        if self.0.len() == MAX_DRAINS {
            let oldest = self.0.remove(0);
            out.close(oldest.conn, oldest.reason);
        }
        self.0.push(Drain { conn, until: now + BYE_LINGER, reason });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains(&self, conn: ConnId) -> bool {
        self.0.iter().any(|drain| drain.conn == conn)
    }

    /// The connection is gone.
    pub(super) fn gone(&mut self, conn: ConnId) {
        self.0.retain(|drain| drain.conn != conn);
    }

    /// The tracker has closed its side.
    pub(super) fn finished(&mut self, conn: ConnId, out: &mut Actions<Task>) {
        self.close_if(out, |drain| drain.conn == conn);
    }

    pub(super) fn on_deadline(&mut self, now: Time, out: &mut Actions<Task>) {
        self.close_if(out, |drain| drain.until <= now);
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.0.iter().map(|drain| drain.until).min()
    }

    fn close_if(&mut self, out: &mut Actions<Task>, over: impl Fn(&Drain) -> bool) {
        self.0.retain(|drain| {
            let over = over(drain);
            if over {
                out.close(drain.conn, drain.reason);
            }
            !over
        });
    }
}
