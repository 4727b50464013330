//! Where log lines go, and what they look like.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::LogFormat;

/// Sends log lines to stderr from now on. An embedding program that has its own receiver of traces keeps it.
pub(super) fn init(filter: &str, format: LogFormat) {
    let terminal = std::io::stderr().is_terminal();
    // The configuration was checked, so the filter is one.
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let human = match format {
        LogFormat::Human => true,
        LogFormat::Json => false,
        LogFormat::Auto => terminal,
    };
    let set = if !human {
        registry.with(lines.json().flatten_event(true)).try_init()
    } else if terminal {
        // Colours, unless the terminal's user asked for none.
        registry.with(lines).try_init()
    } else {
        registry.with(lines.with_ansi(false)).try_init()
    };
    if let Err(e) = set {
        tracing::debug!("the embedding program receives the log: {e}");
    }
}
