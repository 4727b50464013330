//! Circles: files of one folder that import each other.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::Source;

/// Folders that have a circle today. None is added: a folder leaves this list when its circle is gone.
pub const LEFT: &[&str] = &[];

/// Which file of a folder names which others: a folder below it counts as one file, with the file of the same name.
type Graph = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// The modules that a path can lead to, and what each module imports under which name.
struct Modules<'a> {
    all: BTreeSet<&'a [String]>,
    imports: BTreeMap<(&'a [String], &'a str), Vec<String>>,
}

impl<'a> Modules<'a> {
    fn of(sources: &'a [Source]) -> Self {
        let above = |source: &'a Source| (0..=source.module.len()).map(|end| &source.module[..end]);
        let all: BTreeSet<&[String]> = sources.iter().flat_map(above).collect();
        let mut imports = BTreeMap::new();
        for source in sources {
            for name in source.names.iter().filter(|name| name.imported) {
                let Some((first, last)) = name.segments.first().zip(name.segments.last()) else { continue };
                let below = [source.module.as_slice(), std::slice::from_ref(first)].concat();
                let path = match name.ours {
                    true => name.segments.clone(),
                    false if all.contains(below.as_slice()) => [&source.module[..], &name.segments].concat(),
                    false => continue,
                };
                imports.insert((source.module.as_slice(), last.as_str()), path);
            }
        }
        Self { all, imports }
    }

    /// The module that the item of this path is in, through whatever imports the path goes.
    fn owner(&self, path: &[String]) -> Vec<String> {
        let mut path = path.to_vec();
        // An import that leads to itself would be followed for ever.
        for _ in 0..8 {
            let end = (0..=path.len()).rev().find(|end| self.all.contains(&path[..*end])).unwrap_or(0);
            let (module, item) = path.split_at(end);
            let Some(first) = item.first() else { break };
            let Some(imported) = self.imports.get(&(module, first.as_str())) else { return module.to_vec() };
            let next = [imported.as_slice(), &item[1..]].concat();
            if next == path {
                return module.to_vec();
            }
            path = next;
        }
        path
    }
}

fn graph(sources: &[Source]) -> Graph {
    let modules = Modules::of(sources);
    let mut graph = Graph::new();
    for source in sources {
        for name in source.names.iter().filter(|name| name.ours) {
            let to = modules.owner(&name.segments);
            let shared = source.module.iter().zip(&to).take_while(|(from, to)| from == to).count();
            if let (Some(from), Some(to)) = (source.module.get(shared), to.get(shared)) {
                let folder = graph.entry(source.module[..shared].join("::")).or_default();
                folder.entry(from.clone()).or_default().insert(to.clone());
            }
        }
    }
    graph
}

/// Everything that `from` leads to.
fn reach<'a>(files: &'a BTreeMap<String, BTreeSet<String>>, from: &str) -> BTreeSet<&'a str> {
    let (mut found, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(file) = next.pop() {
        for to in files.get(file).into_iter().flatten() {
            if found.insert(to.as_str()) {
                next.push(to);
            }
        }
    }
    found
}

/// The folders with a circle, each with the files that are in one.
fn circles(sources: &[Source]) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    for (folder, files) in graph(sources) {
        let circle = |file: &&String| reach(&files, file).contains(file.as_str());
        let inside: Vec<String> = files.keys().filter(circle).cloned().collect();
        if !inside.is_empty() {
            found.insert(folder, inside);
        }
    }
    found
}

/// Files of one folder that import each other in a circle, but for the folders of `left`, which must have one.
pub fn check(sources: &[Source], left: &[&str]) -> Vec<String> {
    let circles = circles(sources);
    let bad = circles.iter().filter(|(folder, _)| !left.contains(&folder.as_str()));
    let mut complaints: Vec<String> =
        bad.map(|(folder, files)| format!("{folder}: a circle between {}", files.join(", "))).collect();
    let clean = left.iter().filter(|folder| !circles.contains_key(**folder));
    complaints.extend(clean.map(|folder| format!("{folder}: has no circle any more; take it off the list")));
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn expect(files: &[(&str, &str)], left: &[&str], expect: &[&str]) {
        let sources: Vec<Source> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
        assert_eq!(check(&sources, left), expect, "{files:?}");
    }

    #[test]
    fn circles_are_found_however_long_they_are() {
        let one_way = [("src/x/a.rs", "use super::b::B;"), ("src/x/b.rs", "struct B;")];
        expect(&one_way, &[], &[]);
        let two = [("src/x/a.rs", "use super::b::B;"), ("src/x/b.rs", "fn f() { crate::x::a::g() }")];
        expect(&two, &[], &["x: a circle between a, b"]);
        let three = [
            ("src/x/a.rs", "use super::b;"),
            ("src/x/b.rs", "use crate::x::c::C;"),
            ("src/x/c.rs", "use super::a::A;"),
        ];
        expect(&three, &[], &["x: a circle between a, b, c"]);
        let deep = [("src/x/a/b.rs", "use crate::x::c::C;"), ("src/x/c.rs", "use crate::x::a::d;")];
        expect(&deep, &[], &["x: a circle between a, c"]);
    }

    #[test]
    fn a_circle_through_an_import_of_the_folder_is_found() {
        let files = [
            ("src/x/mod.rs", "pub use a::A; pub use b::{B, C};"),
            ("src/x/a.rs", "use super::B;"),
            ("src/x/b.rs", "use crate::x::A;"),
        ];
        expect(&files, &[], &["x: a circle between a, b"]);
        let own = [("src/x/mod.rs", "pub use a::A; pub struct O;"), ("src/x/a.rs", "use super::O;")];
        expect(&own, &[], &[]);
    }

    #[test]
    fn tests_and_what_belongs_to_a_file_make_no_circle() {
        let tests = [("src/x/a.rs", "#[cfg(test)]\nmod tests { use crate::x::b; }"), ("src/x/b.rs", "use super::a;")];
        expect(&tests, &[], &[]);
        let parts = [("src/x/a.rs", "mod b; use b::B;"), ("src/x/a/b.rs", "use super::A;")];
        expect(&parts, &[], &[]);
    }

    #[test]
    fn a_folder_that_is_clean_leaves_the_list() {
        let two = [("src/x/a.rs", "use super::b::B;"), ("src/x/b.rs", "use super::a::A;")];
        expect(&two, &["x"], &[]);
        expect(&two, &["x", "y"], &["y: has no circle any more; take it off the list"]);
    }
}
