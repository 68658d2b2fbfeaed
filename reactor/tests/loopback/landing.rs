//! Reading straight to where the machine says that the bytes belong.

use std::io::Write;

use reactor::Action;

use crate::rig::{Rig, Seen, noise};

const PLACE: usize = 1 << 20;

/// Writes all of it while the loop turns.
fn write(rig: &mut Rig, remote: &mut std::net::TcpStream, mut bytes: &[u8]) {
    rig.drive(|_| {
        if let Ok(count) = remote.write(bytes) {
            bytes = &bytes[count..];
        }
        bytes.is_empty()
    });
}

fn is_landed(seen: &Seen) -> bool {
    matches!(seen, Seen::Landed(..))
}

#[test]
fn a_place_is_filled_and_what_follows_is_received() {
    let mut rig = Rig::new();
    let (mut remote, conn) = rig.accept();
    let (before, data) = (noise(1000), noise(2 * PLACE));
    write(&mut rig, &mut remote, &before);
    rig.until(|probe| probe.received(conn).len() == before.len());
    // Twice, with something else in between.
    for n in 1..=2 {
        rig.probe().places.insert(conn, (vec![0; PLACE], 0));
        write(&mut rig, &mut remote, &data);
        rig.until(|probe| probe.received(conn).len() == before.len() + n * data.len());
        let (place, filled) = rig.probe().places.remove(&conn).unwrap();
        // The last bytes of a place may be too few to be worth a read of their own.
        assert!(filled > PLACE - (64 << 10) && place[..filled] == data[..filled]);
        assert!(rig.probe().received(conn).ends_with(&data), "in order");
    }
    let landed = rig.reactor.stats().bytes_landed;
    assert!(landed > 2 * (PLACE - (64 << 10)) as u64 && landed <= 2 * PLACE as u64);
}

#[test]
fn a_small_place_is_left_to_the_machine() {
    let mut rig = Rig::new();
    let (mut remote, conn) = rig.accept();
    rig.probe().places.insert(conn, (vec![0; 100], 0));
    let data = noise(5000);
    write(&mut rig, &mut remote, &data);
    rig.until(|probe| probe.received(conn) == data);
    assert_eq!(rig.probe().count(is_landed), 0);
}

#[test]
fn a_pause_holds_between_two_reads_into_a_place() {
    let mut rig = Rig::new();
    let (mut remote, conn) = rig.accept();
    rig.probe().places.insert(conn, (vec![0; PLACE], 0));
    rig.react(move |seen, _, out| {
        if is_landed(&seen) {
            out.push(Action::PauseReading { conn });
        }
    });
    let data = noise(100_000);
    for n in 1..4 {
        write(&mut rig, &mut remote, &data);
        rig.until(|probe| probe.count(is_landed) >= n);
        let so_far = rig.probe().count(is_landed);
        rig.settle();
        assert_eq!(rig.probe().count(is_landed), so_far);
        rig.act(move |out| out.push(Action::ResumeReading { conn }));
    }
    rig.react(|_, _, _| {});
    rig.act(move |out| out.push(Action::ResumeReading { conn }));
    rig.until(|probe| probe.received(conn).len() == 3 * data.len());
    assert!(rig.probe().received(conn) == [&data[..], &data, &data].concat());
}
