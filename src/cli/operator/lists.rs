//! `rejoin status`, `sessions`, `jobs`, `games` and `documents`: what a running server says of itself, as a table for
//! people or as one JSON value for scripts.

use std::path::Path;

use serde_json::{Value, json};

use super::CommandFailure;
use super::server::{EXIT_REFUSED, OperatorClient, ServerChoice, find};
use crate::base::ids::Collection;
use crate::cli::print;
use crate::config::Listed;

/// Items that are asked for at a time: the most that there may be.
const PAGE: usize = 500;
/// The exit code when the server takes no changes, or has none to say so.
const EXIT_NOT_READY: u8 = 1;

/// The server of a data directory. Error: none runs.
pub(super) fn running(asked: ServerChoice, data_dir: &Path) -> Result<OperatorClient, CommandFailure> {
    find(asked, data_dir)?.ok_or_else(|| {
        let why = format!("no server has {}; --data-dir or --server names one", data_dir.display());
        CommandFailure { why, code: EXIT_REFUSED }
    })
}

/// All items of a list, page after page.
fn all(server: &OperatorClient, path: &str) -> Result<Vec<Value>, CommandFailure> {
    let (mut items, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let more = cursor.map_or_else(String::new, |cursor| format!("&cursor={}", escape(&cursor)));
        let mut page = server.get(&format!("{path}?limit={PAGE}{more}"))?;
        if let Some(found) = page.get_mut("items").and_then(Value::as_array_mut) {
            items.append(found);
        }
        match page.get("nextCursor").and_then(Value::as_str) {
            Some(next) => cursor = Some(next.to_owned()),
            None => return Ok(items),
        }
    }
}

/// A value as it may stand in a query.
fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// The text at a place of an item; `-` where there is none.
pub(super) fn text(item: &Value, place: &str) -> String {
    match item.pointer(place) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// A column of a table: its head, and what it has of an item.
pub(super) type Column = (&'static str, fn(&Value) -> String);

pub(super) fn print_items(items: Vec<Value>, json: bool, columns: &[Column]) -> u8 {
    if json {
        print(&format!("{}\n", json!({ "items": items })));
    } else {
        let head: Vec<String> = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let rows =
            items.iter().map(|item| columns.iter().map(|(_, cell)| escape_control_characters(&cell(item))).collect());
        print(&table(std::iter::once(head).chain(rows).collect()));
    }
    0
}

/// Rows with their columns below each other.
fn table(rows: Vec<Vec<String>>) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// Text that cannot steer the terminal: names are anybody's.
pub(super) fn escape_control_characters(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

/// Shows the items of a list.
pub(super) fn list(server: &OperatorClient, what: &Listed, json: bool) -> Result<u8, CommandFailure> {
    match what {
        Listed::Sessions => sessions(server, json),
        Listed::Jobs => jobs(server, json),
        Listed::Documents(collection) => documents(server, collection, json),
    }
}

fn sessions(server: &OperatorClient, json: bool) -> Result<u8, CommandFailure> {
    let columns: [Column; 5] = [
        ("SESSION", |item| text(item, "/id")),
        ("USER", |item| text(item, "/user")),
        ("DEVICE", |item| text(item, "/device/name")),
        ("ADDRESS", |item| text(item, "/address")),
        ("LAST SEEN", |item| text(item, "/lastSeenAt")),
    ];
    Ok(print_items(all(server, "/api/v1/admin/sessions")?, json, &columns))
}

fn jobs(server: &OperatorClient, json: bool) -> Result<u8, CommandFailure> {
    let columns: [Column; 5] = [
        ("JOB", |item| text(item, "/name")),
        ("SCHEDULE", |item| text(item, "/schedule")),
        ("NEXT RUN", |item| text(item, "/nextRun")),
        ("LAST RUN", |item| text(item, "/runs/0/startedAt")),
        ("OUTCOME", |item| text(item, "/runs/0/outcome")),
    ];
    let mut list = server.get("/api/v1/admin/jobs")?;
    let items = list.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take);
    Ok(print_items(items.unwrap_or_default(), json, &columns))
}

fn documents(server: &OperatorClient, collection: &Collection, json: bool) -> Result<u8, CommandFailure> {
    let columns: [Column; 5] = [
        ("DOCUMENT", |item| format!("{}/{}", text(item, "/collection"), text(item, "/id"))),
        ("VERSION", |item| text(item, "/version")),
        ("HASH", |item| text(item, "/hash").chars().take(12).collect()),
        ("UPDATED", |item| text(item, "/updatedAt")),
        ("MOVED TO", |item| text(item, "/movedTo")),
    ];
    Ok(print_items(all(server, &format!("/api/v1/{collection}"))?, json, &columns))
}

/// Says how the server is. Its exit code is 0 while it takes changes.
pub(super) fn status(server: &OperatorClient, json: bool) -> Result<u8, CommandFailure> {
    let (code, report) = server.get_with_status("/readyz")?;
    let exit = if code == 200 { 0 } else { EXIT_NOT_READY };
    if json {
        print(&format!("{report}\n"));
        return Ok(exit);
    }
    let age = report.pointer("/lastBackup/ageSeconds").and_then(Value::as_u64);
    let backup = match age {
        Some(seconds) => format!("{} ({:.1} hours ago)", text(&report, "/lastBackup/at"), hours(seconds)),
        None => "none yet; rejoin backup makes one".to_owned(),
    };
    let storage = match report.pointer("/storage/reason").or_else(|| report.pointer("/storage/warning")) {
        Some(Value::String(why)) => format!("{}: {why}", text(&report, "/storage/state")),
        _ => text(&report, "/storage/state"),
    };
    let clock = match report.pointer("/clock/doubt") {
        Some(Value::String(doubt)) => format!("doubted: {doubt}"),
        _ => "trusted".to_owned(),
    };
    let waiting = format!("{} events, {} bytes", text(&report, "/backlog/events"), text(&report, "/backlog/bytes"));
    let rows = [
        ("server", server.address()),
        ("status", text(&report, "/status")),
        ("storage", storage),
        ("waiting for the disk", waiting),
        ("newest event", text(&report, "/seq")),
        ("last commit", text(&report, "/lastCommit")),
        ("documents in memory", text(&report, "/documentsInMemory")),
        ("WAL bytes", text(&report, "/walBytes")),
        ("last backup", backup),
        ("clock", clock),
    ];
    print(&table(
        rows.into_iter().map(|(name, value)| vec![name.to_owned(), escape_control_characters(&value)]).collect(),
    ));
    Ok(exit)
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn hours(seconds: u64) -> f64 {
    seconds as f64 / 3600.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        assert_eq!(table(vec![row(["A", "B"]), row(["longer", "x"])]), "A       B\nlonger  x\n");
        assert_eq!(table(Vec::new()), "");
    }

    #[test]
    fn a_cursor_is_escaped() {
        assert_eq!(escape("a b&c=ä-1"), "a%20b%26c%3D%C3%A4-1");
    }
}
