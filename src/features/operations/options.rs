//! The options of backups.

use std::path::PathBuf;
use std::time::Duration;

use crate::base::options::{Shape, ValueType, option_set, whole};
use crate::jobs::Schedule;

/// Hours of a year.
const HOURS_MAX: u64 = 365 * 24;
/// When the backup of a day is made.
const DAILY: Schedule = Schedule::EveryDay { hour: 3, minute: 30 };

option_set! {
    /// When the server makes backups, where, and how many it keeps.
    pub(crate) struct BackupOptions {
        /// Make a backup this often, a daily one at 03:30 UTC
        "backup-every-hours" "HOURS" every_hours: u32 = 24, whole(1, HOURS_MAX);
        /// Keep this many backups
        "backups-kept" "COUNT" kept: usize = 7, whole(1, 1000);
        /// Keep them in this folder instead of backups in the data directory
        "backup-dir" "FOLDER" directory: Option<PathBuf> = None, folder().optional();
    }
}

fn folder() -> ValueType<PathBuf> {
    let parse = |values: &[String]| match values {
        [text] if !text.is_empty() => Ok(PathBuf::from(text)),
        _ => Err("must name a folder".to_owned()),
    };
    ValueType::new(Shape::Text, parse, |path: &PathBuf| vec![path.display().to_string()])
}

impl BackupOptions {
    /// When the job runs.
    pub(crate) fn schedule(&self) -> Schedule {
        match self.every_hours {
            24 => DAILY,
            hours => Schedule::Every(Duration::from_secs(u64::from(hours) * 3600)),
        }
    }
}
