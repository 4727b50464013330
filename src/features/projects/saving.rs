//! Saves the progress that waits for the end of its minute. Readers do so too, so nothing depends on how late this is.

use std::time::Duration;

use tokio::time::sleep;

use super::sql;
use crate::http::api::Api;

/// How often it is looked.
const INTERVAL: Duration = Duration::from_secs(5);

/// Runs for as long as the server does.
pub(crate) async fn run(api: Api) {
    loop {
        sleep(INTERVAL).await;
        let next = api.read_rows(sql::progress::next_due).await.ok().flatten();
        if next.is_some_and(|next| next <= api.now())
            && let Err(error) = api.write_rows(sql::progress::save_all_due).await
        {
            tracing::debug!(%error, "the progress of projects is not saved yet");
        }
    }
}
