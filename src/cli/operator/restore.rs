//! `rejoin restore`: puts a backup in the place of the database of a server that does not run.

use std::path::Path;

use super::CommandFailure;
use super::backup::{progress_bar, update_progress};
use crate::base::clock::{Clock as _, SystemClock};
use crate::cli::{EXIT_DATA, print};
use crate::config::Config;
use crate::features::commands;
use crate::store::Connection;
use crate::store::file::restore::{Restored, restore};

pub(super) fn run(config: &Config, file: &Path) -> Result<u8, CommandFailure> {
    if !file.is_file() {
        return Err(CommandFailure { why: format!("there is no file {}", file.display()), code: EXIT_DATA });
    }
    let now = SystemClock.now();
    let carry_ends = |restored: &Connection, replaced: Option<&Connection>| {
        commands().filter_map(|parts| parts.end_as_in).map(|end| end(restored, replaced, now)).sum()
    };
    let bar = progress_bar();
    let done = restore(file, &config.data_dir, now, &carry_ends, |progress| update_progress(&bar, &progress))?;
    bar.finish_and_clear();
    let Restored { replaced, ended, replaced_readable, seq } = done;
    print(&format!("restored {}: the log ends at {seq}\n", config.data_dir.display()));
    if let Some(folder) = replaced {
        print(&format!("what was there is in {}\n", folder.display()));
    }
    if !replaced_readable {
        print("the database that was there cannot be read: all sessions and tokens have ended\n");
    } else if ended > 0 {
        print(&format!("sessions and tokens that were ended since the backup stay ended: {ended}\n"));
    }
    Ok(0)
}
