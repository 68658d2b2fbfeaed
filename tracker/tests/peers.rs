//! Who holds what: leases, digests, samples, pushes, and a tracker that slept or restarted.

mod common;

use std::time::Duration;

use common::{World, hello, object, quiet, raw_hello};
use protocol::message::{Bye, FindKey, Hello, Tlv};
use protocol::{Code, Holding, Message, ObjectId, PeerAddr};
use reactor::{ConnId, Event};
use tracker::Config;

const WHOLE: Holding = Holding::Complete;
const PART: Holding = Holding::Partial;

fn bye(code: Code) -> Message {
    Message::Bye(Bye { code, text: String::new() })
}

fn holders(world: &mut World, asker: ConnId, id: ObjectId) -> Vec<String> {
    let found = world.find(asker, 200, FindKey::Object(id));
    let mut addrs: Vec<_> = found.map_or_else(
        |_| Vec::new(),
        |swarm| swarm.peers.iter().map(|peer| peer.addr.to_string()).collect(),
    );
    addrs.sort();
    addrs
}

#[test]
fn leases_end_holdings_connections_do_not() {
    let mut world = World::new(quiet());
    let seed = world.holder(1, &[(object(1), WHOLE)]);
    let asker = world.peer(2);
    world.event(Event::Closed { conn: seed, cause: reactor::CloseCause::Reset });
    assert_eq!(holders(&mut world, asker, object(1)).len(), 1, "a reset proves nothing");
    world.pass(Duration::from_secs(54));
    assert_eq!(holders(&mut world, asker, object(1)).len(), 1);
    world.pass(Duration::from_secs(1));
    let left = holders(&mut world, asker, object(1));
    assert_eq!(left.len(), 0, "[T-15], after three beats and ten seconds");
    assert_eq!(world.tracker.summary(world.now).peers, 0);
}

#[test]
fn beats_keep_a_lease_and_tell_the_interval() {
    let mut world = World::new(Config { beat_min_s: 2, ..quiet() });
    let seed = world.holder(1, &[(object(1), WHOLE)]);
    for _ in 0..30 {
        world.pass(Duration::from_secs(2));
        let lease = world.beat(seed, &[(object(1), WHOLE)]);
        assert_eq!((lease.interval_s, lease.lease_s, lease.sync), (2, 16, false));
        assert_eq!(lease.you.addr, "192.0.2.1:9001".parse().unwrap());
    }
    // The session lives on without beats, the lease does not.
    world.pass(Duration::from_secs(17));
    assert_eq!(world.tracker.summary(world.now).peers, 0);
    world.take(seed);
    assert_eq!(world.announce(seed, false, &[(object(1), WHOLE)]), Code::BAD_STATE);
    assert!(world.beat(seed, &[(object(1), WHOLE)]).sync);
    assert_eq!(world.announce(seed, true, &[(object(1), WHOLE)]), Code::OK);
    assert_eq!(world.tracker.summary(world.now).holdings, 1);
}

#[test]
fn leaving_politely_drops_holdings_at_once_other_goodbyes_do_not() {
    let mut world = World::new(quiet());
    let polite = world.holder(1, &[(object(1), WHOLE)]);
    let shaken = world.holder(2, &[(object(1), WHOLE)]);
    world.say(polite, &bye(Code::OK));
    world.say(shaken, &bye(Code::TIMEOUT));
    assert!(world.wires[&polite].closed && world.wires[&shaken].closed);
    let asker = world.peer(3);
    assert_eq!(holders(&mut world, asker, object(1)), ["192.0.2.2:9001"]);
}

#[test]
fn announces_are_deltas_until_they_reset() {
    let mut world = World::new(quiet());
    let conn = world.holder(1, &[(object(1), WHOLE), (object(2), PART)]);
    assert_eq!(world.announce(conn, false, &[(object(2), WHOLE), (object(3), PART)]), Code::OK);
    assert!(!world.beat(conn, &[(object(1), WHOLE), (object(2), WHOLE), (object(3), PART)]).sync);
    // Twice the same, and dropping what is not held, change nothing.
    let again = [(object(3), PART), (object(9), Holding::Dropped), (object(1), Holding::Dropped)];
    assert_eq!(world.announce(conn, false, &again), Code::OK);
    assert!(!world.beat(conn, &[(object(2), WHOLE), (object(3), PART)]).sync);
    assert!(world.beat(conn, &[(object(2), WHOLE), (object(3), WHOLE)]).sync, "state counts");
    assert_eq!(world.announce(conn, true, &[(object(5), WHOLE)]), Code::OK);
    assert_eq!(world.announce(conn, false, &[(object(6), WHOLE)]), Code::OK, "a second frame");
    assert!(!world.beat(conn, &[(object(5), WHOLE), (object(6), WHOLE)]).sync);
    let summary = world.tracker.summary(world.now);
    assert_eq!((summary.objects, summary.holdings), (2, 2));
}

#[test]
fn after_a_restart_peers_tell_it_all_again() {
    let mut world = World::new(quiet());
    let seed = world.holder(1, &[(object(1), WHOLE)]);
    world.publish(seed, 1, "a", 1);
    let mut world = World::with_store(quiet(), world.store.clone());
    let (seed, asker) = (world.peer(1), world.peer(2));
    assert_eq!(world.find_name(asker, "a", 0).unwrap().complete, 0, "the name is known already");
    assert!(world.beat(seed, &[(object(1), WHOLE)]).sync);
    world.announce(seed, true, &[(object(1), WHOLE)]);
    assert_eq!(world.find_name(asker, "a", 0).unwrap().peers.len(), 1);
}

#[test]
fn a_pause_of_ours_expires_nobody_and_the_dead_go_soon_after() {
    let mut world = World::new(quiet());
    let alive = world.holder(1, &[(object(1), WHOLE)]);
    let dead = world.holder(2, &[(object(1), WHOLE)]);
    world.event(Event::Closed { conn: dead, cause: reactor::CloseCause::Reset });
    let asker = world.peer(3);
    // Stopped for six hours; what happened meanwhile is still in the sockets.
    world.now = world.now + Duration::from_secs(6 * 3600);
    world.event(Event::Deadline);
    assert!(!world.wires[&alive].closed, "silence while we slept is not the remote's");
    world.take(asker);
    assert_eq!(holders(&mut world, asker, object(1)).len(), 2);
    for _ in 0..6 {
        world.pass(Duration::from_secs(14));
        world.take(alive);
        world.beat(alive, &[(object(1), WHOLE)]);
    }
    world.take(asker);
    assert_eq!(holders(&mut world, asker, object(1)), ["192.0.2.1:9001"]);
}

#[test]
fn a_quiet_tracker_is_not_a_sleeping_one() {
    // No connection, so nothing happens but the tracker's own deadlines: the lease must still end.
    let mut world = World::new(quiet());
    let gone = world.holder(1, &[(object(1), WHOLE)]);
    world.event(Event::Closed { conn: gone, cause: reactor::CloseCause::TimedOut });
    world.pass(Duration::from_secs(56));
    assert_eq!(world.tracker.summary(world.now).peers, 0);
}

#[test]
fn a_node_that_reconnects_replaces_its_old_session_but_not_from_elsewhere() {
    let mut world = World::new(quiet());
    let old = world.holder(1, &[(object(1), WHOLE)]);
    let new = world.peer_from(1, "192.0.2.1:40001");
    assert!(!world.wires[&old].finished);
    assert!(!world.beat(new, &[(object(1), WHOLE)]).sync, "what it holds is still known");
    assert_eq!(world.bye_code(old), Some(Code::DUPLICATE));
    assert!(world.wires[&old].finished);
    // Somebody who saw the node's id can't take its place.
    let thief = world.peer_from(1, "203.0.113.9:40000");
    assert_eq!(world.announce(thief, true, &[]), Code::BAD_STATE, "no announcing before a beat");
    world.say(thief, &beat_of_nothing());
    assert_eq!(world.bye_code(thief), Some(Code::DUPLICATE), "[T-51]");
    world.say(thief, &bye(Code::OK));
    assert_eq!(world.tracker.summary(world.now).holdings, 1);
    // The old connection's end does not touch the lease of the new one.
    world.event(Event::Closed { conn: old, cause: reactor::CloseCause::Finished });
    world.say(new, &bye(Code::OK));
    assert_eq!(world.tracker.summary(world.now).peers, 0);
}

fn beat_of_nothing() -> Message {
    Message::Beat(protocol::message::Beat {
        rid: protocol::RequestId(1),
        objects: 0,
        digest: 0,
        free: 0,
        sent: 0,
        received: 0,
    })
}

#[test]
fn samples_are_random_bounded_and_never_the_asker() {
    let mut world = World::new(quiet());
    for node in 1..=200 {
        let holding = if node <= 10 { WHOLE } else { PART };
        world.holder(node, &[(object(1), holding)]);
    }
    let asker = world.holder(201, &[(object(1), PART)]);
    let mut seen = std::collections::BTreeMap::<String, u32>::new();
    for _ in 0..400 {
        world.take(asker);
        let swarm = world.find(asker, 20, FindKey::Object(object(1))).unwrap();
        assert_eq!((swarm.complete, swarm.partial, swarm.peers.len()), (10, 191, 20));
        let whole = swarm.peers.iter().filter(|peer| peer.holding == WHOLE).count();
        assert_eq!(whole, 5, "a quarter of them are seeders");
        let mut addrs: Vec<_> = swarm.peers.iter().map(|peer| peer.addr.to_string()).collect();
        addrs.sort();
        addrs.dedup();
        assert_eq!(addrs.len(), 20, "nobody twice");
        addrs.into_iter().for_each(|addr| *seen.entry(addr).or_default() += 1);
    }
    assert!(!seen.contains_key("192.0.2.201:9001"));
    assert_eq!(seen.len(), 200, "[T-45]: everybody has a turn");
    // 400 draws of 15 out of 190: 31 expected for each, deviation about 5.
    assert!(seen.values().all(|times| *times >= 10), "{seen:?}");
}

#[test]
fn addresses_are_only_handed_to_those_who_can_use_them() {
    let mut world = World::new(quiet());
    let hello_with = |node: u8, listen, advertised: Option<&str>| {
        let addr = |text: &str| PeerAddr { holding: Holding::Dropped, addr: text.parse().unwrap() };
        let tlvs = advertised.map(|text| Tlv::advertised(addr(text))).into_iter().collect();
        Message::Hello(Hello { listen, tlvs, ..raw_hello(node) })
    };
    let mut join = |remote: &str, hello: Message| {
        let conn = world.accept(remote);
        world.say(conn, &hello);
        world.take(conn);
        world.beat(conn, &[]);
        world.announce(conn, true, &[(object(1), WHOLE)]);
    };
    join("192.0.2.1:50000", hello_with(1, 9001, None));
    join("[::ffff:192.0.2.2]:50000", hello_with(2, 9001, None));
    join("127.0.0.1:50000", hello_with(3, 9003, None));
    join("192.0.2.4:50000", hello_with(4, 0, None));
    join("192.0.2.5:50000", hello_with(5, 9001, Some("198.51.100.5:7000")));
    join("192.0.2.6:50000", hello_with(6, 9001, Some("224.0.0.1:7000")));
    join("192.0.2.7:50000", hello_with(7, 0, Some("127.0.0.1:7000")));
    // [T-22] [T-57]: none on loopback for somebody who is not.
    let far = world.peer(100);
    assert_eq!(
        holders(&mut world, far, object(1)),
        ["192.0.2.1:9001", "192.0.2.2:9001", "192.0.2.6:9001", "198.51.100.5:7000"]
    );
    let near = world.peer_from(101, "127.0.0.1:50001");
    assert_eq!(holders(&mut world, near, object(1)).len(), 5);
    // Whoever has the asker's own address is the asker, session or not.
    let itself = world.peer_from(102, "192.0.2.1:50007");
    assert!(!holders(&mut world, itself, object(1)).contains(&"192.0.2.1:9001".to_owned()));
}

#[test]
fn an_object_that_comes_back_is_not_pushed_sooner() {
    let mut world = World::new(quiet());
    let fetcher = world.holder(1, &[(object(1), PART)]);
    let seeder = world.holder(2, &[(object(1), WHOLE)]);
    assert_eq!(world.take(fetcher).len(), 1, "the seeder is pushed");
    // Nobody holds it, and it is forgotten; another object takes its place.
    world.announce(fetcher, true, &[]);
    world.announce(seeder, true, &[]);
    world.announce(seeder, false, &[(object(2), WHOLE)]);
    world.announce(fetcher, false, &[(object(1), PART)]);
    world.announce(seeder, false, &[(object(1), WHOLE)]);
    let pushed = world.take(fetcher);
    assert!(!pushed.iter().any(|message| matches!(message, Message::Swarm(_))), "[T-46]");
}

#[test]
fn newcomers_are_pushed_to_fetchers_gently() {
    let mut world = World::new(quiet());
    let fetcher = world.holder(1, &[(object(1), PART)]);
    let seeder = world.holder(2, &[(object(1), WHOLE)]);
    let pushed = |world: &mut World, conn| -> Vec<Vec<String>> {
        let pushes = world.take(conn).into_iter().filter_map(|message| match message {
            Message::Swarm(swarm) => {
                assert_eq!(swarm.rid.0, 0);
                Some(swarm.peers.iter().map(|peer| peer.addr.to_string()).collect())
            }
            _ => None,
        });
        pushes.collect()
    };
    assert_eq!(pushed(&mut world, fetcher), [["192.0.2.2:9001"]], "the seeder came later");
    assert_eq!(pushed(&mut world, seeder).len(), 0, "seeders need nobody");
    // Within five seconds nothing more; then all of them at once, but for those who left.
    for node in 3..=60 {
        let conn = world.peer(node);
        world.beat(conn, &[]);
        world.announce(conn, false, &[(object(1), WHOLE)]);
        if node == 3 {
            world.say(conn, &bye(Code::OK));
        }
    }
    assert_eq!(pushed(&mut world, fetcher).len(), 0);
    world.pass(Duration::from_secs(5));
    let late = pushed(&mut world, fetcher);
    assert_eq!(late.len(), 1);
    let mut addrs = late[0].clone();
    addrs.sort();
    addrs.dedup();
    assert_eq!((late[0].len(), addrs.len()), (32, 32));
    assert!(!addrs.contains(&"192.0.2.3:9001".to_owned()), "it left");
    // Becoming complete is no news, and who is complete gets no pushes any more.
    world.announce(fetcher, false, &[(object(1), WHOLE)]);
    world.pass(Duration::from_secs(10));
    world.holder(70, &[(object(1), WHOLE)]);
    world.pass(Duration::from_secs(10));
    assert_eq!(pushed(&mut world, fetcher).len(), 0);
}

#[test]
fn one_join_costs_a_few_pushes_whatever_the_size_of_the_swarm() {
    let mut world = World::new(quiet());
    for node in 1..=200 {
        world.holder(node, &[(object(1), PART)]);
    }
    world.pass(Duration::from_secs(20));
    let conns: Vec<_> = world.wires.keys().copied().collect();
    conns.iter().for_each(|conn| drop(world.take(*conn)));
    world.holder(201, &[(object(1), WHOLE)]);
    let pushes: usize = conns.iter().map(|conn| world.take(*conn).len()).sum();
    assert!((1..=4).contains(&pushes), "{pushes}");
}

#[test]
fn one_peer_can_not_fill_the_tracker() {
    let mut world = World::new(Config { max_holdings_per_peer: 2, ..quiet() });
    let conn = world.peer(1);
    world.beat(conn, &[]);
    let all = [(object(1), WHOLE), (object(2), WHOLE), (object(3), WHOLE)];
    assert_eq!(world.announce(conn, true, &all[..2]), Code::OK);
    assert_eq!(world.announce(conn, true, &all), Code::FULL);
    assert_eq!(world.announce(conn, false, &all[2..]), Code::FULL);
    let holdings = world.tracker.summary(world.now).holdings;
    assert_eq!(holdings, 2, "[T-28]: none of a refused ANNOUNCE counts");
    assert!(!world.beat(conn, &all).sync, "asking for all of it again would not help");
    assert_eq!(world.announce(conn, false, &[(object(2), PART), all[0]]), Code::OK);
    assert!(world.beat(conn, &all).sync);
}

#[test]
fn the_same_events_lead_to_the_same_bytes() {
    let run = || {
        let mut world = World::new(Config::default());
        for node in 1..=50 {
            let conn = world.peer(node);
            world.beat(conn, &[]);
            world.announce(conn, true, &[(object(1), PART)]);
        }
        let asker = world.accept("192.0.2.99:1");
        world.say(asker, &hello(99));
        world.take(asker);
        world.find(asker, 10, FindKey::Object(object(1)))
    };
    assert_eq!(run(), run());
}
