//! What the program is built from: under which licences, and each package once.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Licences that permit what ours does.
const LICENCES: &[&str] = &[
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-3-Clause",
    "BSL-1.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Packages of which there are two versions, and why. One that is there once leaves this list.
const TWICE: &[(&str, &str)] = &[
    ("lock_api", "comes with parking_lot"),
    ("parking_lot", "r2d2 0.8.10 takes 0.12 itself and 0.13 through scheduled-thread-pool"),
    ("parking_lot_core", "comes with parking_lot"),
    ("syn", "tracing-attributes 0.1 takes 2; at build time only"),
    ("tower-http", "reqwest takes 0.6; in tests only"),
];

/// A package that is built, tests included.
#[derive(Debug)]
pub struct Package {
    pub name: String,
    pub version: String,
    /// An SPDX expression; empty: none is given.
    pub licence: String,
}

/// All packages of the program for Linux, wherever this runs.
pub fn all(root: &str) -> Vec<Package> {
    let arguments = ["metadata", "--locked", "--format-version=1", "--filter-platform=x86_64-unknown-linux-gnu"];
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let built: BTreeSet<&str> = nodes.iter().map(|node| node["id"].as_str().unwrap()).collect();
    let packages = metadata["packages"].as_array().unwrap().iter();
    let text = |package: &Value, key: &str| package[key].as_str().unwrap_or_default().to_owned();
    packages
        .filter(|package| built.contains(package["id"].as_str().unwrap()))
        .map(|package| Package {
            name: text(package, "name"),
            version: text(package, "version"),
            licence: text(package, "license"),
        })
        .collect()
}

/// Whether one of the choices that an expression leaves consists of licences of the list.
fn permitted(expression: &str) -> bool {
    // An `OR` in brackets binds closer than the `AND` around it; older packages write `/`.
    let parts = expression.split(" AND ").map(|part| part.trim_matches(['(', ')']));
    parts.into_iter().all(|part| part.split(" OR ").flat_map(|part| part.split('/')).any(|one| LICENCES.contains(&one)))
}

pub fn licences(packages: &[Package]) -> Vec<String> {
    let bad = packages.iter().filter(|package| !permitted(&package.licence));
    bad.map(|Package { name, version, licence }| format!("{name} {version}: licence '{licence}'")).collect()
}

pub fn duplicates(packages: &[Package]) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages {
        versions.entry(&package.name).or_default().insert(&package.version);
    }
    let twice = versions.iter().filter(|(_, versions)| versions.len() > 1);
    let known = |name: &str| TWICE.iter().any(|(known, _)| *known == name);
    let mut complaints: Vec<String> =
        twice.clone().filter(|(name, _)| !known(name)).map(|(name, all)| format!("{name}: versions {all:?}")).collect();
    let once = TWICE.iter().filter(|(name, _)| !twice.clone().any(|(found, _)| found == name));
    complaints.extend(once.map(|(name, _)| format!("{name}: is there once; take it off the list")));
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str, licence: &str) -> Package {
        Package { name: name.to_owned(), version: version.to_owned(), licence: licence.to_owned() }
    }

    #[test]
    fn licences_that_are_not_on_the_list_are_found() {
        for (licence, bad) in [
            ("MIT OR Apache-2.0", 0),
            ("MIT/Apache-2.0", 0),
            ("GPL-3.0 OR MIT", 0),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", 0),
            ("Apache-2.0 WITH LLVM-exception OR Apache-2.0", 0),
            ("GPL-3.0", 1),
            ("MIT AND GPL-3.0", 1),
            ("(GPL-3.0 OR AGPL-3.0) AND MIT", 1),
            ("", 1),
        ] {
            assert_eq!(licences(&[package("a", "1.0.0", licence)]).len(), bad, "{licence}");
        }
    }

    #[test]
    fn packages_that_are_there_twice_are_found() {
        let listed = |version| TWICE.iter().map(move |(name, _)| package(name, version, "MIT"));
        let mut packages: Vec<Package> = listed("1.0.0").chain(listed("2.0.0")).collect();
        packages.push(package("a", "1.0.0", "MIT"));
        assert_eq!(duplicates(&packages), [""; 0]);
        packages.push(package("a", "2.0.0", "MIT"));
        assert_eq!(duplicates(&packages), ["a: versions {\"1.0.0\", \"2.0.0\"}"]);
        let once: Vec<Package> = listed("1.0.0").collect();
        assert_eq!(duplicates(&once).len(), TWICE.len());
    }
}
