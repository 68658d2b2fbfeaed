//! The tables of marks and planted bugs name exactly those that the cores have.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tests::canaries::CANARIES;
use tests::marks::MARKS;

/// Every `hook!("name")` below a folder.
fn collect(folder: &Path, hook: &str, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder of this repository") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, hook, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            let call = format!("{hook}!(\"");
            let names = text.split(&call).skip(1);
            found.extend(names.filter_map(|rest| rest.split('"').next()).map(str::to_owned));
        }
    }
}

fn in_the_cores(hook: &str) -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let mut found = BTreeSet::new();
    for core in ["peer", "tracker"] {
        collect(&root.join(core).join("src"), hook, &mut found);
    }
    found
}

#[test]
fn the_table_of_marks_is_complete() {
    let table: Vec<String> = MARKS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert!(table.is_sorted(), "they are in order");
    assert_eq!(table.iter().cloned().collect::<BTreeSet<_>>(), in_the_cores("mark"));
}

#[test]
fn the_table_of_canaries_is_complete() {
    let table: BTreeSet<_> = CANARIES.iter().map(|canary| canary.name.to_owned()).collect();
    assert_eq!((table.len(), table), (CANARIES.len(), in_the_cores("canary")));
}
