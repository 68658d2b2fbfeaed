//! People who ask, publish and compare while others fetch. Whatever they are told must be true; nobody
//! waits for them.

use std::time::Duration;

use peer::disk::IfExists;
use peer::job::{Job, Target};
use peer::notice::Notice;
use protocol::SafePath;

use super::{NAME, Plan, TROUBLE, profile};
use crate::content::Tree;
use crate::{Life, NodeKey, Stuck, jobs};

/// A name that gets several versions.
const NEWS: &str = "news";
/// Errands at most.
const MOST: u64 = 4;

impl Plan {
    /// A few errands, in half of the runs.
    pub(super) fn add_errands(&mut self) {
        if self.rng.below(2) == 0 {
            return;
        }
        for _ in 0..1 + self.rng.below(MOST) {
            match self.rng.below(6) {
                0 => self.publish_versions(),
                1 => self.share_twins(),
                _ => self.ask(),
            }
        }
    }

    fn add_other(&mut self, name: &str, jobs: Vec<Job>) -> NodeKey {
        let profile = profile(&mut self.rng);
        let name = format!("{name}{}", self.others.len());
        let key = self.world.add_peer(&name, jobs, &[self.tracker], profile);
        self.world.disk(key).allow_below(&["/in"]);
        self.others.push(key);
        key
    }

    /// Somebody publishes a name, and later something else under it; sometimes it is taken back, and
    /// sometimes somebody else tries that.
    fn publish_versions(&mut self) {
        let path = format!("/share/{NEWS}");
        let first = Tree::file(self.rng.next_u64(), 1 + self.rng.index(9_000));
        let second = Tree::file(self.rng.next_u64(), 1 + self.rng.index(9_000));
        let key = self.add_other("editor", jobs::seed(&[&path]));
        self.world.disk(key).put(&path, &first);
        let (at, then) = (self.moment() / 2, self.moment() / 2 + TROUBLE / 2);
        self.world.after(at, move |world| world.start(key));
        let fate = self.rng.below(4);
        self.world.after(then, move |world| {
            if world.life(key) != Life::Up {
                return;
            }
            world.kill(key);
            if fate == 0 {
                world.set_jobs(key, vec![Job::Unpublish { name: NEWS.to_owned() }]);
            } else {
                world.disk(key).put(&path, &second);
            }
            world.start(key);
        });
        if fate == 1 {
            let rival = self.add_other("rival", vec![Job::Unpublish { name: NEWS.to_owned() }]);
            let at = self.moment() / 2 + TROUBLE / 4;
            self.world.after(at, move |world| world.start(rival));
        }
        for _ in 0..2 {
            let find = Self::find(NEWS);
            let reader = self.add_other("reader", vec![find]);
            let at = self.moment() / 2 + TROUBLE / 2;
            self.world.after(at, move |world| world.start(reader));
        }
    }

    /// One content under two names, of which one goes away.
    fn share_twins(&mut self) {
        let (one, two) = ("/share/twin-a", "/share/twin-b");
        let tree = Tree::file(self.rng.next_u64(), 1 + self.rng.index(90_000));
        let key = self.add_other("twins", jobs::seed(&[one, two]));
        self.world.disk(key).put(one, &tree);
        self.world.disk(key).put(two, &tree);
        let (at, then) = (self.moment() / 3, self.moment() / 3 + TROUBLE / 3);
        self.world.after(at, move |world| world.start(key));
        self.world.may_blame(key);
        self.world.after(then, move |world| world.disk(key).delete(one));
        let name = if self.rng.below(2) == 0 { "twin-a" } else { "twin-b" };
        let fetch = jobs::fetch_with(name, "/in", |job| {
            job.wait = Duration::from_secs(20);
            job.stall_timeout = Some(Duration::from_secs(20));
        });
        let reader = self.add_other("reader", fetch);
        let at = self.moment() / 2 + TROUBLE / 3;
        self.world.after(at, move |world| world.start(reader));
    }

    fn find(name: &str) -> Job {
        let name = SafePath::new(name).expect("a valid name");
        Job::Find { target: Target::Name { name, version: 0 }, want: 10 }
    }

    /// Somebody asks for something once.
    fn ask(&mut self) {
        let inner = self.tree.files.keys().next().cloned().unwrap_or_default();
        let target = |name: &str, version| Target::Name {
            name: SafePath::new(name).expect("a valid name"),
            version,
        };
        let quick = |name: &str| {
            jobs::fetch_with(name, "/in", |job| {
                job.stall_timeout = Some(Duration::from_secs(8));
                job.wait = Duration::from_secs(3);
            })
        };
        let jobs = match self.rng.below(9) {
            0 => vec![Self::find(NAME)],
            1 => vec![Job::List { prefix: String::new() }],
            // A slip of the finger: there is a name much like it.
            2 => quick("thinng"),
            3 if !inner.is_empty() => quick(&format!("{NAME}/{inner}")),
            4 => vec![Job::Manifest(target(NAME, 0))],
            5 => vec![Job::Fetch({
                let mut jobs = quick(NAME);
                let Some(Job::Fetch(mut job)) = jobs.pop() else { return };
                job.target = target(NAME, 7);
                job
            })],
            6 => vec![Job::Verify { target: target(NAME, 0), path: "/in/thing".into() }],
            7 => match self.record() {
                Some(record) => quick_exact(record.object),
                None => return,
            },
            _ => jobs::fetch_with(NAME, "/in", |job| {
                job.if_exists = IfExists::Fail;
                job.timeout = Some(Duration::from_secs(20));
                job.sync = false;
            }),
        };
        let key = self.add_other("asker", jobs);
        let at = self.moment();
        self.world.after(at, move |world| world.start(key));
    }

    /// Long after, somebody asks who is still there: of those who are gone, nobody.
    pub(super) fn look_again(&mut self) -> Result<(), Stuck> {
        if self.rng.below(4) != 0 {
            return Ok(());
        }
        self.world.run_for(Duration::from_secs(90))?;
        self.supervise();
        self.world.run_for(Duration::from_secs(45))?;
        let find = Self::find(NAME);
        let key = self.add_other("latecomer", vec![find]);
        self.world.start(key);
        self.world.run_for(Duration::from_secs(10))?;
        let found = |notice: &Notice| matches!(notice, Notice::Found { .. });
        if self.world.notices(key).iter().any(|(_, notice)| found(notice)) {
            return Ok(());
        }
        Err(self.world.stuck(format!("long after all healed, nobody can tell what '{NAME}' is")))
    }
}

fn quick_exact(object: protocol::ObjectId) -> Vec<Job> {
    let mut jobs = jobs::fetch_with(NAME, "/in", |job| {
        job.stall_timeout = Some(Duration::from_secs(8));
    });
    if let Some(Job::Fetch(job)) = jobs.first_mut() {
        job.target = Target::Exact { name: SafePath::new(NAME).expect("a valid name"), object };
    }
    jobs
}
