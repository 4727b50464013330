//! What the disk can do: 4 KiB written and synced.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;

use crate::stats::{median, micros};

/// Writes per probe.
const WRITES: usize = 400;
/// Pages of the file, which are written over and over, as the pages of a WAL are.
const PAGES: usize = 1000;
/// How far two probes may lie apart before what was measured between them means nothing.
const AGREE: f64 = 1.5;

/// The p50 of 4 KiB written over and `fdatasync`, microseconds, in a file in `directory`.
pub fn sync_p50(directory: &Path) -> Result<f64> {
    let file = File::create(directory.join("probe"))?;
    let page = [0x5a_u8; 4096];
    for number in 0..PAGES {
        file.write_all_at(&page, u64::try_from(number * page.len())?)?;
    }
    file.sync_all()?;
    let mut times = Vec::with_capacity(WRITES);
    for number in 0..WRITES {
        let started = Instant::now();
        file.write_all_at(&page, u64::try_from(number % PAGES * page.len())?)?;
        file.sync_data()?;
        times.push(micros(started.elapsed()));
    }
    Ok(median(&times))
}

/// Whether two probes agree.
pub fn agree(before: f64, after: f64) -> bool {
    before.max(after) <= before.min(after) * AGREE
}
