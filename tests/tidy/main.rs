//! Keeps the house in order: ranks, fences, sizes, leftovers. Each rule is a function from text to complaints, shown
//! able to fail on made-up text, and then applied to every file of this repository.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]

mod circles;
mod packages;
mod repository;
mod rules;
mod source;
mod words;

use std::fs;
use std::path::Path;

use source::Source;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The product's files: all of `src/` but the tests in it.
fn sources() -> Vec<Source> {
    let files = repository::files(Path::new(ROOT));
    let rust = files.iter().filter(|path| path.starts_with("src/") && path.ends_with(".rs"));
    let read = |path: &String| Source::new(path, &fs::read_to_string(Path::new(ROOT).join(path)).unwrap());
    let sources: Vec<Source> = rust.filter(|path| !source::is_test_file(path)).map(read).collect();
    assert!(sources.len() > 10, "the files were not found");
    sources
}

#[track_caller]
fn expect_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

fn check(rule: impl Fn(&Source) -> Vec<String>) {
    expect_none(&sources().iter().flat_map(rule).collect::<Vec<String>>());
}

#[test]
fn folders_import_only_lower_ranks_and_features_not_each_other() {
    check(rules::ranks);
}

#[test]
fn files_of_one_folder_import_each_other_in_no_circle() {
    expect_none(&circles::check(&sources(), circles::LEFT));
}

#[test]
fn nothing_below_features_knows_a_word_of_one() {
    let paths = repository::files(Path::new(ROOT));
    let product = paths.iter().filter(|path| path.ends_with(".rs") && !source::is_test_file(path));
    let texts: Vec<(&str, String)> =
        product.map(|path| (path.as_str(), fs::read_to_string(Path::new(ROOT).join(path)).unwrap())).collect();
    expect_none(&words::check(texts.iter().map(|(path, text)| (*path, text.as_str()))));
}

#[test]
fn packages_have_licences_of_the_list_and_are_there_once() {
    let packages = packages::all(ROOT);
    assert!(packages.len() > 100, "the packages were not found");
    expect_none(&packages::licences(&packages));
    expect_none(&packages::duplicates(&packages));
}

#[test]
fn libraries_stay_behind_their_fences() {
    check(rules::fences);
}

#[test]
fn what_is_pure_reaches_no_machine() {
    check(rules::purity);
}

#[test]
fn files_and_functions_are_small() {
    check(rules::sizes);
}

/// Applies a rule to the text of every file of the repository.
fn check_texts(rule: impl Fn(&str, &str) -> Vec<String>) {
    let mut complaints = Vec::new();
    for path in repository::files(Path::new(ROOT)) {
        // What is not text is not ours to read; other people's data is as it is.
        let Ok(text) = fs::read_to_string(Path::new(ROOT).join(&path)) else { continue };
        if !path.starts_with("tests/fixtures/") {
            complaints.extend(rule(&path, &text));
        }
    }
    expect_none(&complaints);
}

#[test]
fn nothing_is_left_over() {
    check_texts(repository::leftovers);
}

#[test]
fn no_machine_shows() {
    check_texts(repository::places);
}

#[test]
fn property_tests_keep_the_seeds_of_their_failures() {
    check_texts(repository::seeds);
}

#[test]
fn lines_are_no_longer_than_a_screen_is_wide() {
    check_texts(repository::long_lines);
}

#[test]
fn the_top_level_holds_only_what_belongs_there() {
    expect_none(&repository::top_level(&repository::files(Path::new(ROOT))));
}
