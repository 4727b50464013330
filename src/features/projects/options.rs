//! The options of projects.

use std::time::Duration;

use crate::base::options::{option_set, seconds};

option_set! {
    /// How often projects are checked.
    pub(crate) struct ProjectOptions {
        /// Check the consistency of a project at most once in this time
        "projects-check-interval" "SECONDS" check_interval: Duration = Duration::from_secs(30), seconds(1, 3_600);
    }
}
