//! What all files of the repository must keep to.

use std::fs;
use std::path::Path;
use std::process::Command;

/// What the top level holds besides files and folders that begin with a dot.
const TOP_LEVEL: &[&str] =
    &["Cargo.toml", "Cargo.lock", "LICENSE", "README.md", "schema.sql", "src", "tests", "examples", "benches"];
/// What may lie about in a working copy without belonging to it, where git cannot be asked.
const UNTRACKED: &[&str] = &["target", "rejoin-data", "node_modules", ".git"];

/// The repository's files: those that git knows, or without git all.
pub fn files(root: &Path) -> Vec<String> {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root).output();
    if let Some(output) = listed.ok().filter(|output| output.status.success() && !output.stdout.is_empty()) {
        let text = String::from_utf8(output.stdout).unwrap();
        let names = text.split('\0').filter(|name| !name.is_empty());
        // A file that was just deleted is still listed.
        return names.filter(|name| root.join(name).is_file()).map(str::to_owned).collect();
    }
    let mut found = Vec::new();
    walk(root, "", &mut found);
    found.sort();
    found
}

fn walk(folder: &Path, prefix: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if UNTRACKED.contains(&name.as_str()) {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), &format!("{prefix}{name}/"), found);
        } else {
            found.push(format!("{prefix}{name}"));
        }
    }
}

pub fn top_level(files: &[String]) -> Vec<String> {
    let mut entries: Vec<&str> = files.iter().filter_map(|path| path.split('/').next()).collect();
    entries.dedup();
    let stray = entries.into_iter().filter(|entry| !entry.starts_with('.') && !TOP_LEVEL.contains(entry));
    stray.map(|entry| format!("{entry}: does not belong to the top level")).collect()
}

/// The words are put together here, so that this file does not hold them.
fn marks() -> Vec<String> {
    [["TO", "DO"], ["FIX", "ME"], ["XX", "X"]].map(|parts| parts.concat()).to_vec()
}

fn unfinished() -> Vec<String> {
    [["todo", "!"], ["unimplemented", "!"], ["dbg", "!"], ["#[", "ignore"]].map(|parts| parts.concat()).to_vec()
}

/// Marks of unfinished work.
pub fn leftovers(path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect();
        let marks = marks().into_iter().filter(|mark| words.contains(&mark.as_str()));
        let code = unfinished().into_iter().filter(|code| path.ends_with(".rs") && line.contains(code));
        complaints.extend(marks.chain(code).map(|mark| format!("{path}:{}: {mark}", index + 1)));
    }
    complaints
}

/// Paths and hosts of the machine that somebody worked on.
pub fn places(path: &str, text: &str) -> Vec<String> {
    let mut forbidden = vec![
        ["/wo", "rk/"].concat(),
        ["/ho", "me/"].concat(),
        ["/ro", "ot/"].concat(),
        ["/Us", "ers/"].concat(),
        ["../sha", "red"].concat(),
        ["registry.", "npm"].concat(),
    ];
    if path.ends_with("package-lock.json") {
        // Where each package was fetched from.
        forbidden.push("\"resolved\"".to_owned());
    }
    let mut complaints = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let held = forbidden.iter().filter(|place| line.contains(place.as_str()));
        complaints.extend(held.map(|place| format!("{path}:{}: {place}", index + 1)));
        let foreign = line.starts_with("source = ") && !line.contains("github.com/rust-lang/crates.io-index");
        if path == "Cargo.lock" && foreign {
            complaints.push(format!("{path}:{}: not from crates.io", index + 1));
        }
    }
    complaints
}

/// Property tests that do not keep the seeds of their failures.
pub fn seeds(path: &str, text: &str) -> Vec<String> {
    let lines = || text.lines().map(str::trim);
    let blocks = lines().filter(|line| *line == ["proptest!", " {"].concat()).count();
    let kept = lines().filter(|line| line.starts_with("#![proptest_config(cases(")).count();
    if path.ends_with(".rs") && kept < blocks {
        return vec![format!(
            "{path}: {blocks} blocks of property tests, {kept} keep their seeds: see property_tests.rs"
        )];
    }
    Vec::new()
}

const COLUMNS_MAX: usize = 120;
/// Files of which all lines are short, by the end of their names. Tables in Markdown cannot be wrapped.
const SHORT_LINES: &[&str] = &[".rs", ".sql", ".js", ".c", ".toml", ".css", ".html"];

/// Lines that are longer than a screen is wide, comments included.
pub fn long_lines(path: &str, text: &str) -> Vec<String> {
    if !SHORT_LINES.iter().any(|end| path.ends_with(end)) {
        return Vec::new();
    }
    let long = |(_, line): &(usize, &str)| line.chars().count() > COLUMNS_MAX;
    let complain = |(index, line): (usize, &str)| {
        let columns = line.chars().count();
        format!("{path}:{}: {columns} columns, the most is {COLUMNS_MAX}", index + 1)
    };
    text.lines().enumerate().filter(long).map(complain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strays_at_the_top_level_are_found() {
        let check = |files: &[&str], expect: usize| {
            let files: Vec<String> = files.iter().map(|path| (*path).to_owned()).collect();
            assert_eq!(top_level(&files).len(), expect, "{files:?}");
        };
        check(&["Cargo.toml", "src/lib.rs", "src/main.rs", ".ci/run", ".gitignore", "schema.sql"], 0);
        check(&["src/lib.rs", "notes.md"], 1);
        check(&["scripts/a", "scripts/b", "docs/c"], 2);
    }

    #[test]
    fn marks_of_unfinished_work_are_found() {
        for mark in marks() {
            assert_eq!(leftovers("a.js", &format!("a\n// {mark}: later\n")), [format!("a.js:2: {mark}")]);
            assert_eq!(leftovers("a.js", &format!("{mark}S and MY_{mark}")), [""; 0]);
        }
        for code in unfinished() {
            assert_eq!(leftovers("a.rs", &format!("    {code}")).len(), 1, "{code}");
            assert_eq!(leftovers("a.md", &format!("    {code}")).len(), 0, "{code}");
        }
    }

    #[test]
    fn property_tests_that_forget_their_seeds_are_found() {
        let begins = ["proptest!", " {"].concat();
        assert_eq!(seeds("src/a.rs", &format!("{begins}\n    #![proptest_config(cases(9))]\n}}\n")), [""; 0]);
        assert_eq!(seeds("src/a.rs", &format!("    {begins}\n    #[test]\n}}\n")).len(), 1);
        assert_eq!(seeds("src/a.rs", &format!("{begins}\n#![proptest_config(Config::with_cases(9))]\n")).len(), 1);
    }

    #[test]
    fn lines_that_are_too_long_are_found() {
        let line = |columns: usize| format!("fn a() {{}}\n// {}\n", "\u{e4}".repeat(columns - 3));
        assert_eq!(long_lines("src/a.rs", &line(120)), [""; 0]);
        assert_eq!(long_lines("src/a.rs", &line(121)), ["src/a.rs:2: 121 columns, the most is 120"]);
        assert_eq!(long_lines("schema.sql", &line(121)).len(), 1);
        assert_eq!(long_lines("README.md", &line(500)).len(), 0);
    }

    #[test]
    fn places_of_a_machine_are_found() {
        assert_eq!(places("a.md", &["see /ho", "me/me/x and /ro", "ot/y"].concat()).len(), 2);
        assert_eq!(places("a.md", "see /api/v1/games and ./rejoin-data").len(), 0);
        assert_eq!(places("tests/browser/package-lock.json", "  \"resolved\": \"https://a\"").len(), 1);
        assert_eq!(places("a.js", "\"resolved\"").len(), 0);
        assert_eq!(places("Cargo.lock", "source = \"git+https://example.org\"").len(), 1);
        assert_eq!(places("Cargo.lock", "source = \"registry+https://github.com/rust-lang/crates.io-index\"").len(), 0);
    }

    #[test]
    fn without_git_the_folder_is_walked() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["src", "target"] {
            fs::create_dir(folder.path().join(path)).unwrap();
            fs::write(folder.path().join(path).join("a.rs"), "").unwrap();
        }
        let mut found = Vec::new();
        walk(folder.path(), "", &mut found);
        assert_eq!(found, ["src/a.rs"]);
    }
}
