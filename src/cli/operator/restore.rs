//! `rejoin restore`: puts a backup in the place of the database of a server that does not run.

use std::path::Path;

use super::Refusal;
use super::backup::{progress_bar, show};
use crate::base::clock::{Clock as _, SystemClock};
use crate::cli::{EXIT_DATA, print};
use crate::config::Config;
use crate::features::{games, sessions};
use crate::store::Connection;
use crate::store::file::restore::{Restored, restore};

pub(super) fn run(config: &Config, file: &Path) -> Result<u8, Refusal> {
    if !file.is_file() {
        return Err(Refusal { why: format!("there is no file {}", file.display()), code: EXIT_DATA });
    }
    let now = SystemClock.now();
    let carry_ends = |restored: &Connection, replaced: Option<&Connection>| {
        let sessions = sessions::sql::end_as_in(restored, replaced)?;
        Ok(sessions + games::sql::tokens::end_as_in(restored, replaced, now)?)
    };
    let bar = progress_bar();
    let done = restore(file, &config.data_dir, now, &carry_ends, |progress| show(&bar, &progress))?;
    bar.finish_and_clear();
    let Restored { replaced, ended, replaced_readable, seq } = done;
    print(&format!("restored {}: the log ends at {seq}\n", config.data_dir.display()));
    if let Some(folder) = replaced {
        print(&format!("what was there is in {}\n", folder.display()));
    }
    if !replaced_readable {
        print("the database that was there cannot be read: all sessions and reconnect tokens have ended\n");
    } else if ended > 0 {
        print(&format!("sessions and reconnect tokens that were ended since the backup stay ended: {ended}\n"));
    }
    Ok(0)
}
