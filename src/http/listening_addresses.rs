//! Where the server listens, for handlers.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// Where the server listens, as it changes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ListeningAddresses(Arc<dyn Fn() -> Vec<SocketAddr> + Send + Sync>);

impl ListeningAddresses {
    /// What `read` returns is where it listens now.
    pub(crate) fn new(read: impl Fn() -> Vec<SocketAddr> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The addresses that it listens on now.
    pub(crate) fn get(&self) -> Vec<SocketAddr> {
        (self.0)()
    }
}

impl fmt::Debug for ListeningAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ListeningAddresses").field(&self.get()).finish()
    }
}
