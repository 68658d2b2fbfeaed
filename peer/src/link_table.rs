//! All links of a peer, and which of them has to be looked at first.
//!
//! Invariant L1: after [`LinkTable::settle`], the deadline is the earliest one of all sessions. Thousands of
//! silent links must not cost anything at each event, so it is never searched for.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use reactor::{ConnId, Time};

use crate::link::Link;

/// Links by their connections; read through [`Deref`].
#[derive(Debug, Default)]
pub(crate) struct LinkTable {
    links: BTreeMap<ConnId, Link>,
    /// The deadline of each link, as it was when it was last settled.
    noted: BTreeMap<ConnId, Time>,
    /// The same, the earliest first.
    due: BTreeSet<(Time, ConnId)>,
    /// Who may have another deadline since.
    touched: Vec<ConnId>,
}

impl LinkTable {
    /// The link, to be changed.
    pub(crate) fn get_mut(&mut self, conn: &ConnId) -> Option<&mut Link> {
        self.touch(*conn);
        self.links.get_mut(conn)
    }

    /// All of them, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&ConnId, &mut Link)> {
        self.touched.clear();
        self.touched.extend(self.noted.keys().chain(self.links.keys()));
        self.links.iter_mut()
    }

    pub(crate) fn insert(&mut self, conn: ConnId, link: Link) {
        self.touch(conn);
        self.links.insert(conn, link);
    }

    pub(crate) fn remove(&mut self, conn: &ConnId) -> Option<Link> {
        self.touch(*conn);
        self.links.remove(conn)
    }

    fn touch(&mut self, conn: ConnId) {
        if self.touched.last() != Some(&conn) {
            self.touched.push(conn);
        }
    }

    /// Takes note of all changes; to be called before [`LinkTable::deadline`] is asked.
    pub(crate) fn settle(&mut self) {
        for conn in self.touched.drain(..) {
            let now = self.links.get(&conn).map(|link| link.session.deadline());
            let before = match now {
                Some(at) => self.noted.insert(conn, at),
                None => self.noted.remove(&conn),
            };
            if before == now {
                continue;
            }
            if let Some(at) = before {
                self.due.remove(&(at, conn));
            }
            if let Some(at) = now {
                self.due.insert((at, conn));
            }
        }
    }

    /// When the first session wants to be looked at. Of what was settled.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }
}

impl Deref for LinkTable {
    type Target = BTreeMap<ConnId, Link>;

    fn deref(&self) -> &Self::Target {
        &self.links
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::Duration;

    use proptest::prelude::*;
    use protocol::{Code, NodeId};
    use reactor::Rng;

    use super::*;
    use crate::session::{Local, Session, Side};

    #[derive(Clone, Copy, Debug)]
    enum Change {
        Join,
        SayBye,
        Leave,
        Settle,
    }

    fn link(seconds: u64) -> Link {
        let (node, agent) = (NodeId([1; 16]), String::new());
        let local = Local { node, listen: 0, window: 1, token: None, agent, advertise: None };
        let now = Time::ZERO + Duration::from_secs(seconds);
        let session = Session::new(Side::Acceptor, &local, &mut Rng::new(1), now);
        Link::new(session, SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), None, now)
    }

    fn change() -> impl Strategy<Value = (Change, u64, u64)> {
        let kind = prop_oneof![
            Just(Change::Join),
            Just(Change::SayBye),
            Just(Change::Leave),
            Just(Change::Settle)
        ];
        (kind, 0..5_u64, 0..100_u64)
    }

    proptest! {
        #[test]
        fn the_deadline_is_the_earliest_of_all(changes in prop::collection::vec(change(), 0..60)) {
            let mut table = LinkTable::default();
            for (kind, conn, seconds) in changes {
                let conn = ConnId(conn);
                match kind {
                    Change::Join => table.insert(conn, link(seconds)),
                    Change::SayBye => {
                        if let Some(link) = table.get_mut(&conn) {
                            link.session.bye(Code::OK, "");
                        }
                    }
                    Change::Leave => drop(table.remove(&conn)),
                    Change::Settle => table.settle(),
                }
            }
            table.settle();
            let earliest = table.values().map(|link| link.session.deadline()).min();
            prop_assert_eq!(table.deadline(), earliest);
            prop_assert_eq!(table.due.len(), table.len());
        }
    }
}
