//! A server with a job of its own: each night it counts the documents of the collection `stock`, one by one and without
//! hurry, as one counts things on shelves. Killed in the middle, it counts again when it is started.
//!
//!     cargo run --example chores -- --listen 127.0.0.1:7766 --data-dir chores-data
//!     curl -X POST http://127.0.0.1:7766/api/v1/admin/jobs/stock-take/run

use std::process::ExitCode;
use std::time::Duration;

use rejoin::{Job, JobContext, Result, Schedule, Server, Summary};

/// How long it looks at each thing.
const LOOK: Duration = Duration::from_secs(1);
/// Most things that there can be.
const THINGS_MAX: usize = 500;

fn main() -> ExitCode {
    let nightly = Schedule::EveryDay { hour: 3, minute: 30 };
    let stock_take = Job::new("stock-take", nightly, Duration::from_secs(3600), take_stock);
    rejoin::run(Server::builder().job(stock_take))
}

async fn take_stock(context: JobContext) -> Result<Summary> {
    let things = context.document_names("stock", None, THINGS_MAX).await?;
    let mut found = Summary::default();
    for thing in &things {
        tokio::time::sleep(LOOK).await;
        found.count("things", 1);
        found.name(thing.to_string());
    }
    Ok(found)
}
