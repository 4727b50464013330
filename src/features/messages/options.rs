//! The option of messages.

use super::limits::{MESSAGES_PER_SECOND, MESSAGES_PER_SECOND_MAX};
use crate::base::options::{option_set, whole};

option_set! {
    /// How many messages somebody may send.
    pub(crate) struct MessageOptions {
        /// Let each user send this many messages without history a second
        "messages-per-second" "COUNT" per_second: u32 = MESSAGES_PER_SECOND, whole(1, MESSAGES_PER_SECOND_MAX.into());
    }
}
