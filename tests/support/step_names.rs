//! The instants at which the code can be killed, by the source that names them: so that a test
//! fails when there is a new one at which nothing is killed.

use std::collections::BTreeSet;

/// The names of all fail points of a room's `steps.rs`.
pub fn named_in(source: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for line in source.lines().filter(|line| !line.trim_start().starts_with("//")) {
        for quoted in line.split('"').skip(1).step_by(2) {
            if line.contains("write_steps!(") {
                let of_a_write = ["begin", "written", "synced", "renamed", "durable"];
                names.extend(of_a_write.map(|step| format!("{quoted}.{step}")));
            } else {
                names.insert(quoted.to_owned());
            }
        }
    }
    names
}

/// The names in settings of fail points such as `archive.file_linked=3*off->return`.
pub fn killed_at(failpoints: &[String]) -> BTreeSet<String> {
    let name = |failpoint: &String| failpoint.split('=').next().map(str::to_owned);
    failpoints.iter().filter_map(name).collect()
}
