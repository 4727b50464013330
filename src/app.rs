//! Rank 6: a stand-in with the shape of the real wiring: it listens and does nothing else.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::document::rules::Rules;

/// A running server.
#[derive(Debug)]
pub struct Server {
    listener: tokio::net::TcpListener,
    address: SocketAddr,
    data_dir: PathBuf,
}

/// What a server is made of.
#[derive(Default)]
pub struct Builder {
    config: Config,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is not to be had.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
}

impl StartError {
    /// What the process ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Listen(..) => 3,
        }
    }
}

impl Builder {
    /// Puts `rules` in charge of a collection.
    #[must_use]
    pub fn rules(self, collection: &str, rules: impl Rules) -> Self {
        let _ = (collection, rules);
        self
    }

    /// Sets the configuration.
    #[must_use]
    pub fn config(self, config: Config) -> Self {
        Self { config }
    }

    /// Starts.
    pub async fn start(self) -> Result<Server, StartError> {
        let wanted = self.config.listen;
        let failed = |e| StartError::Listen(wanted, e);
        let listener = tokio::net::TcpListener::bind(wanted).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Server { listener, address, data_dir: self.config.data_dir })
    }
}

impl Server {
    /// Begins a server.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Where its data is.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Stops.
    pub async fn stop(self) {
        drop(self.listener);
    }
}
