//! A tracker, seeders and fetchers, and how a run ended.

use std::path::Path;
use std::time::Duration;

use peer::notice::Notice;
use tests::{Life, NodeKey, Profile, Stuck, Tree, World, jobs};

/// A world with a tracker that is up.
pub(crate) struct Rig {
    pub(crate) world: World,
    pub(crate) tracker: NodeKey,
}

impl Rig {
    pub(crate) fn new(seed: u64) -> Self {
        let mut world = World::new(seed);
        let tracker = world.add_tracker();
        world.start(tracker);
        Self { world, tracker }
    }

    /// A running seeder of `/share/NAME`.
    pub(crate) fn seeder(&mut self, name: &str, tree: &Tree) -> NodeKey {
        self.seeder_with(name, tree, Profile::default())
    }

    /// The same with another connection.
    pub(crate) fn seeder_with(&mut self, name: &str, tree: &Tree, profile: Profile) -> NodeKey {
        let path = format!("/share/{name}");
        let key = self.world.add_peer("seeder", jobs::seed(&[&path]), &[self.tracker], profile);
        self.world.disk(key).put(&path, tree);
        self.world.start(key);
        key
    }

    /// A fetcher into `/in`, not yet started.
    pub(crate) fn fetcher_with(&mut self, jobs: Vec<peer::job::Job>) -> NodeKey {
        let key = self.world.add_peer("fetcher", jobs, &[self.tracker], Profile::default());
        self.world.disk(key).allow_below(&["/in"]);
        key
    }

    /// A running fetcher of `name` into `/in`.
    pub(crate) fn fetcher(&mut self, name: &str) -> NodeKey {
        let key = self.fetcher_with(jobs::fetch(name, "/in"));
        self.world.start(key);
        key
    }

    /// Until the tracker knows so many names.
    pub(crate) fn published(&mut self, count: usize) {
        let names = |world: &World| {
            (0..world.len()).map(|index| count_published(world, world.key(index))).sum::<usize>()
        };
        self.run(30, |world| names(world) >= count);
    }

    /// Runs until `done`, within so many virtual seconds.
    pub(crate) fn run(&mut self, seconds: u64, done: impl FnMut(&World) -> bool) -> Duration {
        or_panic(self.world.run_until(Duration::from_secs(seconds), done))
    }

    /// Runs until all of these have ended by themselves, having completed.
    pub(crate) fn run_to_end(&mut self, keys: &[NodeKey], seconds: u64) -> Duration {
        let end =
            self.run(seconds, |world| keys.iter().all(|key| world.life(*key) == Life::Exited));
        for key in keys {
            assert!(is_done(&self.world, *key), "{}", self.world.stuck("not complete".to_owned()));
        }
        end
    }

    /// Compares what a fetcher has with what was shared.
    pub(crate) fn assert_has(&self, key: NodeKey, name: &str, tree: &Tree) {
        let path = format!("/in/{name}");
        let there = self.world.disk(key).durable_tree(Path::new(&path)).expect("it is there");
        assert_eq!(tree.difference(&there), None, "{name}");
        let leftover = self
            .world
            .disk(key)
            .paths()
            .into_iter()
            .find(|path| path.to_string_lossy().contains(".starling"));
        assert_eq!(leftover, None, "nothing else is left");
    }
}

pub(crate) fn or_panic<T>(result: Result<T, Stuck>) -> T {
    match result {
        Ok(value) => value,
        Err(stuck) => panic!("{stuck}"),
    }
}

fn count_published(world: &World, key: NodeKey) -> usize {
    let published = |notice: &Notice| matches!(notice, Notice::Published { .. });
    world.notices(key).iter().filter(|(_, notice)| published(notice)).count()
}

pub(crate) fn is_done(world: &World, key: NodeKey) -> bool {
    world.notices(key).iter().any(|(_, notice)| matches!(notice, Notice::FetchDone { .. }))
}
