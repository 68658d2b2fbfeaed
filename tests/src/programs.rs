//! The built programs, for tests that run them as processes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The folder with `tracker` and `peer`. Builds them once per test run, in the profile of the test
/// that calls it.
///
/// # Panics
/// If they do not build.
pub fn programs() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let test = std::env::current_exe().expect("a running test has a path");
        let folder = test.parent().and_then(Path::parent).expect("target/profile/deps/test");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--locked", "--bins", "-p", "tracker", "-p", "peer"]);
        if folder.ends_with("release") {
            build.arg("--release");
        }
        let target = folder.parent().expect("the target folder");
        build.arg("--target-dir").arg(target).current_dir(env!("CARGO_MANIFEST_DIR"));
        let status = build.status().expect("cargo runs");
        assert!(status.success(), "{build:?}: {status}");
        folder.to_owned()
    })
}
