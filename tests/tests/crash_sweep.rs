//! A fetch survives a power cut at every operation of its disk, whatever is lost. `cargo sim --sweep`
//! tries more of it.

use tests::sweep::{Plan, Shape, sweep, sweep_on};

fn check(shape: &Shape) {
    match sweep(shape, &Plan::quick()) {
        Ok(figures) => eprintln!("{}: {figures}", shape.name),
        Err(problem) => panic!("{problem}"),
    }
}

#[test]
fn a_file_survives_a_cut_at_any_operation() {
    check(&Shape::file());
}

#[test]
fn a_folder_survives_a_cut_at_any_operation() {
    check(&Shape::folder());
}

#[test]
fn the_rest_of_a_fetch_survives_a_cut_at_any_operation() {
    check(&Shape::resume());
    check(&Shape::resumed_folder());
}

#[test]
fn a_new_version_survives_a_cut_at_any_operation() {
    check(&Shape::version());
    check(&Shape::version_by_steps());
}

/// A sweep that never fails shows nothing.
#[test]
fn disks_that_lie_about_syncs_are_found_out() {
    let found = |shape: &Shape, files, folders| {
        let spoiled = sweep_on(shape, &Plan::quick(), |disk| disk.lie_about(files, folders));
        spoiled.expect_err("something is wrong")
    };
    let problem = found(&Shape::file(), true, false);
    assert!(problem.contains("S2: the journal calls piece"), "{problem}");
    let problem = found(&Shape::folder(), false, true);
    assert!(problem.contains("S2: ") || problem.contains("S3: "), "{problem}");
    let problem = found(&Shape::version(), true, true);
    assert!(problem.contains("S2: ") || problem.contains("S3: "), "{problem}");
}
