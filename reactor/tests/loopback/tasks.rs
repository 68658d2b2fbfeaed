//! Blocking work on other threads.

use std::sync::mpsc;
use std::time::Duration;

use reactor::{Options, TaskId};

use crate::rig::{Rig, Seen};

#[test]
fn each_task_gives_one_result() {
    let mut rig = Rig::with(Options { results_budget: 7, ..Options::default() });
    rig.act(|out| {
        for id in 0..1000 {
            out.run(TaskId(id), Box::new(move || id * 3));
        }
    });
    rig.until(|probe| probe.count(|seen| matches!(seen, Seen::TaskDone(..))) == 1000);
    rig.settle();
    let mut done: Vec<_> = rig
        .probe()
        .seen
        .iter()
        .filter_map(|seen| match seen {
            Seen::TaskDone(id, result) => Some((id.0, *result)),
            _ => None,
        })
        .collect();
    done.sort_unstable();
    assert!(done.into_iter().eq((0..1000).map(|id| (id, id * 3))));
}

#[test]
fn tasks_run_side_by_side_and_wake_the_loop() {
    let mut rig = Rig::new();
    // Each waits for the other, which only two workers can satisfy.
    let (to_a, from_b) = mpsc::channel();
    let (to_b, from_a) = mpsc::channel();
    rig.act(move |out| {
        out.run(
            TaskId(1),
            Box::new(move || {
                to_b.send(()).unwrap();
                from_b.recv().map_or(0, |()| 1)
            }),
        );
        out.run(
            TaskId(2),
            Box::new(move || {
                to_a.send(()).unwrap();
                from_a.recv().map_or(0, |()| 2)
            }),
        );
    });
    while !(rig.probe().has(Seen::TaskDone(TaskId(1), 1))
        && rig.probe().has(Seen::TaskDone(TaskId(2), 2)))
    {
        // Without a limit: only the waker can end the wait.
        rig.reactor.turn(None).unwrap();
    }
}

#[test]
fn a_panic_in_a_task_ends_the_loop_with_an_error() {
    let mut rig = Rig::new();
    rig.act(|out| out.run(TaskId(7), Box::new(|| panic!("a bug, on purpose"))));
    let error = loop {
        if let Err(error) = rig.reactor.turn(None) {
            break error;
        }
    };
    assert!(error.to_string().contains("task 7"), "{error}");
}

#[test]
fn a_task_that_never_ends_does_not_keep_the_process() {
    let options =
        Options { workers: 1, exit_tasks: Duration::from_millis(30), ..Options::default() };
    let mut rig = Rig::with(options);
    let (begun, has_begun) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    rig.act(move |out| {
        let stuck = move || {
            begun.send(()).unwrap();
            released.recv().map_or(0, |()| 1)
        };
        out.run(TaskId(1), Box::new(stuck));
        out.run(TaskId(2), Box::new(|| panic!("was not to begin")));
    });
    rig.turn();
    rig.drive(|_| has_begun.try_recv().is_ok());
    rig.act(|out| out.push(reactor::Action::Exit));
    rig.reactor.run().unwrap();
    assert!(rig.reactor.exited());
    drop(release);
}
