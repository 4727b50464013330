//! Where it may be waited for the file system.

use std::io;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Threads that wait for the file system at once, so that a network drive that hangs takes no more of the runtime's.
/// Further operations wait.
const OPERATIONS_MAX: usize = 32;

/// Bounds the operations on files of one folder. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct FileOperations(Arc<Semaphore>);

impl Default for FileOperations {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(OPERATIONS_MAX)))
    }
}

impl FileOperations {
    /// Runs `operation` on a thread that may wait. When the future is dropped, one that has begun goes on to its end.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        operation: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let permit = Arc::clone(&self.0).acquire_owned().await.map_err(io::Error::other)?;
        let run = move || {
            let _permit = permit;
            operation()
        };
        spawn_blocking(run).await.map_err(io::Error::other)?
    }
}
