//! What the product's files must keep to. Each rule returns its complaints.

use std::path::Path;

use crate::source::{Name, Source, item_end};

/// Higher ones import lower ones.
const RANKS: &[(&str, u8)] = &[
    ("base", 0),
    ("guide", 0),
    ("document", 1),
    ("net", 1),
    ("store", 2),
    ("live", 2),
    ("tailnet", 2),
    ("engine", 3),
    ("http", 4),
    ("jobs", 4),
    ("consumers", 4),
    ("feature", 5),
    ("features", 6),
    ("config", 7),
    ("app", 7),
    ("cli", 8),
];
/// The one import between equals: the wiring is given the configuration.
const EQUALS: &[(&str, &str)] = &[("app", "config")];
const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

fn rank(folder: &str) -> Option<u8> {
    RANKS.iter().find(|(name, _)| *name == folder).map(|(_, rank)| *rank)
}

/// Whether a path leads to a feature, or to something in it.
fn is_feature(segments: &[String]) -> bool {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/features");
    segments.get(1).is_some_and(|name| folder.join(name).is_dir())
}

/// A folder imports lower ranks only; a feature no other feature, and nothing else one of them.
pub fn ranks(source: &Source) -> Vec<String> {
    // The crate's roots know everything.
    let Some(from) = source.module.first() else { return Vec::new() };
    let Some(from_rank) = rank(from) else { return vec![format!("{}: '{from}' has no rank", source.path)] };
    let mut complaints = Vec::new();
    for name in source.names.iter().filter(|name| name.ours) {
        let Some(to) = name.segments.first() else { continue };
        let lower = rank(to).is_some_and(|to_rank| to_rank < from_rank);
        let allowed = lower || from == to || EQUALS.contains(&(from.as_str(), to.as_str()));
        let siblings = from == "features" && to == "features" && source.module.len() > 1;
        // What others need of a feature is in the value that it hands over.
        let from_outside = from != "features" && to == "features" && is_feature(&name.segments);
        if !allowed || from_outside || (siblings && source.module.get(1) != name.segments.get(1)) {
            complaints.push(format!("{}: must not know {}", source.path, name.segments.join("::")));
        }
    }
    complaints
}

/// Whether `name` reaches `place`, or imports something that it stands in.
fn reaches(name: &Name, place: &[&str]) -> bool {
    let segments: Vec<&str> =
        name.segments.iter().map(String::as_str).filter(|s| !matches!(*s, "*" | "self")).collect();
    !name.ours && (segments.starts_with(place) || (name.imported && place.starts_with(&segments)))
}

fn complain(source: &Source, places: &[&[&str]]) -> Vec<String> {
    let outside = source.names.iter().filter(|name| places.iter().any(|place| reaches(name, place)));
    outside.map(|name| format!("{}: must not use {}", source.path, name.segments.join("::"))).collect()
}

/// Whether `path` is a file of that name, or in a folder of that name, within a feature.
fn in_feature(path: &str, part: &str) -> bool {
    let mut parts = path.trim_end_matches(".rs").split('/').skip(1);
    parts.next() == Some("features") && parts.nth(1) == Some(part)
}

/// Where a library may be used.
pub fn fences(source: &Source) -> Vec<String> {
    let path = source.path.as_str();
    if source.module.is_empty() {
        // The crate's root hands on what features of other crates are written with.
        return Vec::new();
    }
    let within = |folder: &str| path.starts_with(folder);
    let mut complaints = Vec::new();
    // Jobs and consumers have records of their own, which are no feature's and nothing that the store knows.
    let record = matches!(path, "src/jobs/sql.rs" | "src/consumers/sql.rs");
    if !(within("src/store/") || in_feature(path, "sql") || record) {
        complaints.extend(complain(source, &[&["rusqlite"], &["r2d2"]]));
    }
    if !within("src/jobs/") {
        complaints.extend(complain(source, &[&["clokwerk"]]));
    }
    if !(within("src/http/") || within("src/net/") || in_feature(path, "routes")) {
        let http = complain(source, &[&["hyper"], &["hyper_util"], &["axum"], &["utoipa"], &["utoipa_axum"]]);
        // The wiring joins the features' routers and knows no more of them than the type.
        let join = |complaint: &String| path.starts_with("src/app") && complaint.ends_with(" axum::Router");
        complaints.extend(http.into_iter().filter(|complaint| !join(complaint)));
    }
    // `http::response` says which answer has which status.
    if !within("src/http/") {
        complaints.extend(complain(source, &[&["http", "StatusCode"], &["hyper", "StatusCode"], &["axum", "http"]]));
    }
    // `routes!` makes a route together with its description; made by hand it would have none.
    complaints.extend(complain(source, &[&["axum", "routing"]]));
    if path != "src/config.rs" {
        complaints.extend(complain(source, &[&["std", "env"]]));
    }
    complaints
}

/// What has an effect, waits, or differs from call to call.
const MACHINE: &[&[&str]] = &[
    &["std", "env"],
    &["std", "fs"],
    &["std", "io"],
    &["std", "net"],
    &["std", "os"],
    &["std", "process"],
    &["std", "thread"],
    &["std", "sync", "Mutex"],
    &["std", "sync", "RwLock"],
    &["std", "sync", "Condvar"],
    &["std", "sync", "Barrier"],
    &["std", "sync", "mpsc"],
    &["std", "time", "Instant"],
    &["std", "time", "SystemTime"],
    &["chrono", "Local"],
    &["parking_lot"],
    &["rand"],
    &["tokio"],
    &["tokio_util"],
    &["tracing"],
    &["tracing_subscriber"],
];
/// Where the machine's clock and randomness are turned into values.
const SOURCES: &[(&str, &[&[&str]])] = &[
    ("src/base/clock.rs", &[&["std", "time", "SystemTime"], &["std", "time", "Instant"]]),
    ("src/base/clock_trust.rs", &[&["parking_lot"]]),
    ("src/base/entropy.rs", &[&["parking_lot"], &["rand"]]),
];

/// No I/O, clock, lock, task or log where values are made from values.
pub fn purity(source: &Source) -> Vec<String> {
    let path = source.path.as_str();
    if !(path.starts_with("src/base/") || path.starts_with("src/document/") || in_feature(path, "rules")) {
        return Vec::new();
    }
    let excepted = SOURCES.iter().find(|(file, _)| *file == path).map_or(&[][..], |(_, places)| places);
    let places: Vec<&[&str]> = MACHINE.iter().copied().filter(|place| !excepted.contains(place)).collect();
    let mut complaints = complain(source, &places);
    for name in &source.names {
        if let [.., kind, now] = name.segments.as_slice()
            && matches!(kind.as_str(), "Utc" | "Local" | "SystemTime" | "Instant")
            && now == "now"
            && path != "src/base/clock.rs"
        {
            complaints.push(format!("{path}: must not ask for the time ({kind}::now)"));
        }
    }
    complaints
}

/// Files and functions that can be read in one go.
pub fn sizes(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    if source.lines > FILE_LINES_MAX {
        complaints.push(format!("{}: {} lines, the most is {FILE_LINES_MAX}", source.path, source.lines));
    }
    let code = source.code.as_str();
    for (start, _) in code.match_indices("fn ") {
        if code[..start].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let lines = code[start..item_end(code, start)].lines().count();
        let name = code[start + 3..].split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default();
        if lines > FUNCTION_LINES_MAX && !name.is_empty() {
            complaints.push(format!("{}: fn {name} has {lines} lines, the most is {FUNCTION_LINES_MAX}", source.path));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many complaints `rule` has about a file.
    fn check(rule: fn(&Source) -> Vec<String>, path: &str, text: &str, expect: usize) {
        let complaints = rule(&Source::new(path, text));
        assert_eq!(complaints.len(), expect, "{path}: {text}: {complaints:?}");
    }

    #[test]
    fn upward_and_sideways_imports_are_found() {
        check(ranks, "src/http/a.rs", "use crate::{base::x, engine::y}; fn f() { crate::live::z() }", 0);
        check(ranks, "src/engine/a.rs", "use crate::http::x;", 1);
        check(ranks, "src/engine/a.rs", "fn f() { crate::http::x() }", 1);
        check(ranks, "src/store/a.rs", "use crate::{base::x, live::y};", 1);
        check(ranks, "src/base/a.rs", "use super::super::document::x;", 1);
        check(ranks, "src/base/a.rs", "use super::error::x; // crate::cli::y", 0);
        check(ranks, "src/app.rs", "use crate::config::x;", 0);
        check(ranks, "src/config.rs", "use crate::app::x;", 1);
        check(ranks, "src/store/a.rs", "#[cfg(test)]\nmod tests { use crate::cli::x; }", 0);
        check(ranks, "src/attic/a.rs", "", 1);
        check(ranks, "src/cli/a.rs", "use crate::attic::x;", 1);
        check(ranks, "src/main.rs", "use rejoin::cli::x;", 0);
    }

    #[test]
    fn features_that_know_each_other_are_found() {
        check(ranks, "src/features/games/service.rs", "use crate::features::games::rules; use super::sql;", 0);
        check(ranks, "src/features/games/service.rs", "use crate::features::flags::rules;", 1);
        check(ranks, "src/features/games/service.rs", "use super::super::flags;", 1);
        check(ranks, "src/features/games/service.rs", "use crate::features::{flags::a, games::b};", 1);
    }

    #[test]
    fn libraries_outside_their_fence_are_found() {
        check(fences, "src/store/a.rs", "use rusqlite::Connection;", 0);
        check(fences, "src/features/games/sql.rs", "use rusqlite::Connection;", 0);
        check(fences, "src/features/games/service.rs", "use rusqlite::Connection;", 1);
        check(fences, "src/engine/a.rs", "fn f(x: &rusqlite::Connection) {}", 1);
        check(fences, "src/jobs/sql.rs", "use rusqlite::Connection; use clokwerk::x;", 0);
        check(fences, "src/jobs/runner.rs", "use rusqlite::Connection;", 1);
        check(fences, "src/features/games/cleanup.rs", "use clokwerk::x;", 1);
        check(ranks, "src/jobs/a.rs", "use crate::http::x;", 1);
        check(ranks, "src/features/games/cleanup.rs", "use crate::jobs::x;", 0);
        check(ranks, "src/cli/a.rs", "use crate::features::{DEFINITIONS, option_sets};", 0);
        check(ranks, "src/cli/a.rs", "use crate::features::games; use crate::features::games::limits;", 2);
        check(ranks, "src/app/a.rs", "fn f() { crate::features::flags::routes::router() }", 1);
        check(fences, "src/features/games/routes.rs", "use axum::Router; use hyper::x;", 0);
        check(fences, "src/cli/a.rs", "use hyper::x; use hyper_util::{y, z};", 3);
        check(fences, "src/app.rs", "use axum::Router;", 0);
        check(fences, "src/app.rs", "use axum::{Router, body::Body};", 1);
        check(fences, "src/features/games/routes.rs", "use axum::routing::get;", 1);
        check(fences, "src/features/games/routes.rs", "use http::{HeaderMap, StatusCode};", 1);
        check(fences, "src/features/games/routes.rs", "fn f() { axum::http::StatusCode::OK }", 1);
        check(fences, "src/http/a.rs", "use http::StatusCode; use axum::http::StatusCode;", 0);
        check(fences, "src/features/games/routes/description.rs", "use utoipa::ToSchema;", 0);
        check(fences, "src/document/a.rs", "use utoipa::ToSchema; use utoipa_axum::routes;", 2);
        check(fences, "src/config.rs", "fn f() { std::env::args() }", 0);
        check(fences, "src/config/rows.rs", "fn f() { std::env::args() }", 1);
        check(fences, "src/lib.rs", "pub use axum;", 0);
        check(fences, "src/cli/a.rs", "use std::{env, io};", 1);
        check(fences, "src/cli/a.rs", "use std::*;", 1);
        check(fences, "src/cli/a.rs", "fn f() { env!(\"CARGO_PKG_VERSION\") } // std::env::var", 0);
    }

    #[test]
    fn effects_in_what_is_pure_are_found() {
        for text in [
            "use std::fs;",
            "use std::sync::{Arc, Mutex};",
            "use std::sync::*;",
            "use std::time::{Duration, Instant};",
            "use std::time::SystemTime;",
            "use std::time;",
            "use tokio::sync::oneshot;",
            "fn f() { tracing::info!() }",
            "fn f() { parking_lot::Mutex::new(0) }",
            "fn f() { Utc::now() }",
            "use rand::rng;",
        ] {
            for path in ["src/base/a.rs", "src/document/a/b.rs", "src/features/games/rules.rs"] {
                check(purity, path, text, 1);
            }
            check(purity, "src/features/games/service.rs", text, 0);
        }
        check(purity, "src/base/a.rs", "use std::sync::Arc; use std::time::Duration; use chrono::{DateTime, Utc};", 0);
        check(purity, "src/base/clock.rs", "use std::time::SystemTime; use std::time::Instant; use std::fs;", 1);
        check(purity, "src/base/entropy.rs", "use parking_lot::Mutex; use rand::rng; use std::fs;", 1);
    }

    #[test]
    fn what_is_too_long_is_found() {
        let lines = |count: usize| "    x();\n".repeat(count);
        check(sizes, "src/a.rs", &"const A: u8 = 0;\n".repeat(600), 0);
        check(sizes, "src/a.rs", &"const A: u8 = 0;\n".repeat(601), 1);
        check(sizes, "src/a.rs", &format!("fn f(x: [u8; 2]) {{\n{}}}\n", lines(68)), 0);
        check(sizes, "src/a.rs", &format!("fn f(x: [u8; 2]) {{\n{}}}\n", lines(69)), 1);
        check(sizes, "src/a.rs", &format!("#[cfg(test)]\nmod tests {{\nfn f() {{\n{}}}\n}}\n", lines(700)), 0);
        check(sizes, "src/a.rs", &format!("trait T {{\n    fn f();\n{}}}\n", lines(80)), 0);
    }
}
