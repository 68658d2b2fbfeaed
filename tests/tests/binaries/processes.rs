//! Real processes for tests: built once, on free ports, watched through their output, and ended with
//! the test. Nothing waits by sleeping: every wait is for a line, an exit, or the end of a stream.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tests::programs;

/// Longer than anything here takes on a busy machine; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process and its output so far.
pub(crate) struct Process {
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
    /// Everything read, for failures.
    seen: String,
}

impl Process {
    fn start(name: &str, args: &[&str]) -> Self {
        let mut command = Command::new(programs().join(name));
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for variable in ["PEER_TRACKER", "TRACKER_LISTEN", "PEER_STATE_DIR"] {
            command.env_remove(variable);
        }
        let mut child = command.spawn().expect("the program starts");
        let out = lines(child.stdout.take().expect("piped"));
        let err = lines(child.stderr.take().expect("piped"));
        Self { child, out, err, seen: format!("$ {name} {}\n", args.join(" ")) }
    }

    /// Waits for a line on standard error that contains `text`.
    pub(crate) fn await_line(&mut self, text: &str) -> String {
        await_line(&self.err, &mut self.seen, text)
    }

    /// Waits for a line on standard output that contains `text`.
    pub(crate) fn await_output(&mut self, text: &str) -> String {
        await_line(&self.out, &mut self.seen, text)
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status().expect("kill runs");
        assert!(status.success(), "kill -s {name} {pid}");
    }

    /// Ends it as a power cut would, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("our own child");
        self.child.wait().expect("our own child");
    }

    /// Waits for its end; status, standard output, standard error.
    pub(crate) fn finish(mut self) -> (ExitStatus, String, String) {
        let out: Vec<_> = self.out.iter().collect();
        let err: Vec<_> = self.err.iter().collect();
        let status = self.child.wait().expect("our own child");
        (status, out.join("\n"), err.join("\n"))
    }

    /// Waits for its end, which must be success; standard output.
    pub(crate) fn succeed(self) -> String {
        let seen = self.seen.clone();
        let (status, out, err) = self.finish();
        assert!(status.success(), "{status}\n{seen}{out}\n{err}");
        out
    }

    /// Waits for its end, which must have this code; standard error.
    pub(crate) fn fail_with(self, code: i32) -> String {
        let seen = self.seen.clone();
        let (status, out, err) = self.finish();
        assert_eq!(status.code(), Some(code), "{seen}{out}\n{err}");
        err
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[allow(clippy::disallowed_methods, reason = "a test may wait for two pipes at once")]
fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn await_line(stream: &Receiver<String>, seen: &mut String, text: &str) -> String {
    loop {
        match stream.recv_timeout(PATIENCE) {
            Ok(line) => {
                seen.push_str(&line);
                seen.push('\n');
                if line.contains(text) {
                    return line;
                }
            }
            Err(error) => panic!("no line with {text:?} ({error}) after:\n{seen}"),
        }
    }
}

/// A tracker and folders of its own for everybody, gone with the test.
pub(crate) struct Stage {
    folder: tempfile::TempDir,
    tracker: Option<Process>,
    pub(crate) address: String,
}

impl Stage {
    /// A running tracker on a free port.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut stage = Self { folder, tracker: None, address: "127.0.0.1:0".into() };
        stage.start_tracker();
        stage
    }

    /// A path below the stage's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts the tracker, on the port that it had before if it had one.
    pub(crate) fn start_tracker(&mut self) {
        let data = self.path("tracker").display().to_string();
        let args = ["--listen", &self.address, "--data-dir", &data];
        let mut tracker = Process::start("tracker", &args);
        let line = tracker.await_line("listening on 127.0.0.1:");
        let at = line.find("127.0.0.1:").expect("it is in the line");
        let address = line[at..].split(|c: char| c.is_whitespace() || c == ',').next();
        self.address = address.expect("an address").to_owned();
        self.tracker = Some(tracker);
    }

    /// Kills the tracker with SIGKILL.
    pub(crate) fn kill_tracker(&mut self) {
        self.tracker.take().expect("a running tracker").kill();
    }

    /// Starts `peer` with a state folder named `who`.
    pub(crate) fn peer(&self, who: &str, args: &[&str]) -> Process {
        let state = self.path(&format!("state-{who}")).display().to_string();
        let command = args[0];
        let common = ["--tracker", &self.address, "--state-dir", &state];
        let listen: &[&str] = match command {
            "seed" | "fetch" => &["--listen", "127.0.0.1:0"],
            _ => &[],
        };
        Process::start("peer", &[args, &common, listen].concat())
    }

    /// Starts seeding `path` under `name`, and waits until it is published.
    pub(crate) fn seed(&self, who: &str, path: &Path, name: &str) -> Process {
        let path = path.display().to_string();
        let mut seeder = self.peer(who, &["seed", &path, "--name", name]);
        seeder.await_line(&format!("published {name}@"));
        seeder
    }

    /// Starts fetching `name` into the folder `to` of the stage.
    pub(crate) fn fetch(&self, who: &str, name: &str, to: &str, more: &[&str]) -> Process {
        let to = self.path(to).display().to_string();
        self.peer(who, &[&["fetch", name, "--output", &to], more].concat())
    }
}

/// `len` bytes that look random and depend on `seed` alone.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut rng = reactor::Rng::new(seed);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&rng.next_u64().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
