//! Signals, in child processes because they are for the whole process.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "loopback/rig.rs"]
mod rig;

use std::io::{BufRead, BufReader, Read, Write, stdout};
use std::process::{Child, ChildStdout, Command, Stdio};

use reactor::Action;
use rustix::process::{Pid, Signal, kill_process};

use rig::{Rig, Seen};

/// Set in a child: whether it exits on the first signal or goes on.
const ROLE: &str = "REACTOR_SIGNALS_ROLE";

/// Not a test by itself: what the children run.
#[test]
#[ignore = "run by the other tests in a process of its own"]
fn child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let mut rig = Rig::new();
    rig.reactor.handle_signals().unwrap();
    rig.react(move |seen, _, out| {
        if seen == Seen::ShutdownRequested {
            tell("shutdown requested");
            if role == "obeys" {
                out.push(Action::Exit);
            }
        }
    });
    tell("ready");
    rig.reactor.run().unwrap();
    tell(&format!("ended by {:?}", rig.reactor.signal()));
}

fn tell(text: &str) {
    // On a line of its own, whatever the test harness has begun to write.
    let mut out = stdout().lock();
    write!(out, "\nchild: {text}\n").unwrap();
    out.flush().unwrap();
}

struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Running {
    fn start(role: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .env(ROLE, role)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut running = Self { child, output };
        assert!(running.says("ready"));
        running
    }

    /// Whether it says this next; a child that is gone says nothing.
    fn says(&mut self, text: &str) -> bool {
        let mut lines = self.output.by_ref().lines().map_while(Result::ok);
        lines.find_map(|line| line.strip_prefix("child: ").map(|told| told == text)) == Some(true)
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Does nothing to a child that has ended as it should.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_first_signal_asks() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut child = Running::start("obeys");
        child.signal(signal);
        assert!(child.says("shutdown requested"));
        assert!(child.says(&format!("ended by {:?}", Some(signal.as_raw()))));
        assert!(child.child.wait().unwrap().success());
    }
}

#[test]
fn the_second_signal_ends_the_process() {
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut child = Running::start("goes on");
        child.signal(Signal::TERM);
        assert!(child.says("shutdown requested"));
        child.signal(signal);
        assert_eq!(child.child.wait().unwrap().code(), Some(status));
    }
}
