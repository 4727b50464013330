//! The options of reconciliation.

use std::time::Duration;

use crate::base::options::{option_set, seconds, whole};
use crate::features::reconciliation::limits;

option_set! {
    /// How often is compared, and what is kept of it.
    pub(crate) struct ReconciliationOptions {
        /// Compare memory with the disk this often; 0: only when asked
        "reconciliation-seconds" "SECONDS" interval: Duration = limits::RECONCILIATION_INTERVAL, seconds(0, 3600);
        /// Read and hash again this many KiB a second of what is on disk; 0: none
        "reconciliation-scrub-kib" "KIB" scrub_kib: u64 = limits::RECONCILIATION_SCRUB_KIB, whole(0, 1 << 20);
        /// Keep the audit of reconciliation for this long
        "reconciliation-days" "DAYS" days: u32 = limits::RECONCILIATION_AUDIT_DAYS, whole(1, 36_500);
        /// Keep at most this many rows of that audit
        "reconciliation-rows" "COUNT" rows_max: u64 = limits::RECONCILIATION_AUDIT_ROWS, whole(1, 100_000_000);
    }
}
