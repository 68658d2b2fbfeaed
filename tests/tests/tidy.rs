//! Rules of the house that neither compiler nor clippy can check: which room may name what, how long a
//! file may be, that every file says what it is. See ARCHITECTURE.md.

use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a source file, tests at its bottom apart.
const FILE_LINES_MAX: usize = 500;

/// A word that only some files may use.
struct Ban {
    word: &'static str,
    /// Where the ban holds.
    below: &'static [&'static str],
    /// Where it does not.
    except: &'static [&'static str],
    instead: &'static str,
}

const CRATES: &[&str] = &["protocol/src", "reactor/src", "tracker/src", "peer/src"];

const BANS: &[Ban] = &[
    Ban {
        word: "mio::",
        below: CRATES,
        except: &["reactor/src"],
        instead: "actions of the reactor's contract",
    },
    Ban {
        word: "TcpStream",
        below: CRATES,
        except: &["reactor/src"],
        instead: "actions of the reactor's contract",
    },
    Ban {
        word: "Instant::now",
        below: CRATES,
        except: &["reactor/src/clock.rs"],
        instead: "the `now` of the event",
    },
    Ban {
        word: "SystemTime::now",
        below: CRATES,
        except: &["reactor/src/clock.rs"],
        instead: "reactor::clock::unix_time, on a worker or in the command line",
    },
    Ban {
        word: "getrandom",
        below: CRATES,
        except: &["reactor/src/seed.rs"],
        instead: "a seeded reactor::Rng, or reactor::seed in the command line",
    },
    Ban {
        word: "thread::spawn",
        below: CRATES,
        except: &["reactor/src/tasks.rs"],
        instead: "a task of the machine",
    },
    Ban {
        word: "std::fs",
        below: CRATES,
        except: &[
            "reactor/src/source.rs",
            "reactor/src/descriptors.rs",
            "tracker/src/store",
            "tracker/src/main.rs",
            "tracker/src/cli",
            "peer/src/storage",
            "peer/src/main.rs",
            "peer/src/cli",
        ],
        instead: "a task of the machine",
    },
    Ban { word: "HashMap<", below: CRATES, except: &[], instead: "BTreeMap" },
    Ban { word: "HashSet<", below: CRATES, except: &[], instead: "BTreeSet" },
    Ban {
        word: "unsafe {",
        below: CRATES,
        except: &["reactor/src/source.rs", "peer/src/storage/sha256/x86.rs"],
        instead: "a well-kept crate",
    },
    Ban { word: "todo!(", below: CRATES, except: &[], instead: "the code itself" },
    Ban { word: "unimplemented!(", below: CRATES, except: &[], instead: "the code itself" },
    Ban {
        word: "use peer::",
        below: &["tracker/src"],
        except: &[],
        instead: "nothing: tracker and peer do not know each other",
    },
    Ban {
        word: "use tracker::",
        below: &["peer/src"],
        except: &["peer/src/main.rs"],
        instead: "nothing: tracker and peer do not know each other",
    },
    Ban {
        word: "protocol::",
        below: &["reactor/src"],
        except: &[],
        instead: "nothing: the reactor knows no message",
    },
    Ban {
        word: "reactor::",
        below: &["protocol/src"],
        except: &[],
        instead: "nothing: the protocol knows no event loop",
    },
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
}

/// Every source file of the four crates: its path below the workspace, and its text without the tests
/// at its bottom.
fn files() -> Vec<(String, String)> {
    let mut paths = Vec::new();
    for name in CRATES {
        sources(&root().join(name), &mut paths);
    }
    paths.sort();
    assert!(paths.len() > 50, "the crates moved, and this test reads nothing");
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a source file");
        let name = path.strip_prefix(root()).expect("below the workspace").display().to_string();
        let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
        (name, code)
    };
    paths.into_iter().map(read).filter(|(name, _)| !is_test_file(name)).collect()
}

fn is_test_file(name: &str) -> bool {
    name.ends_with("/tests.rs") || name.contains("/tests/") || name.ends_with("_tests.rs")
}

fn code_of(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

#[test]
fn no_room_uses_what_belongs_to_another() {
    let mut broken = Vec::new();
    for (name, text) in files() {
        let here = |places: &[&str]| places.iter().any(|place| name.starts_with(place));
        for ban in BANS.iter().filter(|ban| here(ban.below) && !here(ban.except)) {
            for (number, line) in text.lines().enumerate() {
                if code_of(line).contains(ban.word) {
                    let place = format!("{name}:{}", number + 1);
                    broken.push(format!("{place}: `{}`; use {}", ban.word, ban.instead));
                }
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn every_file_says_what_it_is_and_fits_in_a_head() {
    let mut broken = Vec::new();
    for (name, text) in files() {
        if !text.starts_with("//!") {
            broken.push(format!("{name}: does not begin with `//!` saying what it is"));
        }
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            broken.push(format!("{name}: {lines} lines, {FILE_LINES_MAX} at most"));
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn the_cores_never_unwrap() {
    let mut broken = Vec::new();
    for (name, text) in files() {
        for (number, line) in text.lines().enumerate() {
            if code_of(line).contains(".unwrap()") {
                broken.push(format!("{name}:{}: say with `expect` why it holds", number + 1));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}
