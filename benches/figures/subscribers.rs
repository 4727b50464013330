//! Many streams in one thread, which counts what arrives and keeps nothing.

use std::cell::Cell;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use memchr::memmem;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::{JoinSet, LocalSet};

/// What marks one change in a stream.
const MARK: &[u8] = b"event: change\n";

/// What all streams together have received.
#[derive(Default)]
pub struct Tally {
    /// Streams that have received something.
    pub begun: Cell<usize>,
    /// Changes, or what else is counted.
    pub changes: Cell<u64>,
    /// Bytes, framing included.
    pub bytes: Cell<u64>,
    /// Streams that ended.
    pub ended: Cell<usize>,
    progress: Notify,
}

/// Open streams. They end when dropped.
pub struct Subscribers {
    pub tally: Rc<Tally>,
    _tasks: JoinSet<()>,
}

impl Subscribers {
    /// Opens a stream per request and waits until each has received its first bytes. To be called within a `LocalSet`.
    pub async fn open(address: SocketAddr, requests: impl IntoIterator<Item = Vec<u8>>) -> Result<Self> {
        Self::open_for(MARK, address, requests).await
    }

    /// The same for streams of which another mark is counted.
    pub async fn open_for(
        mark: &'static [u8],
        address: SocketAddr,
        requests: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<Self> {
        let mut this = Self { tally: Rc::default(), _tasks: JoinSet::new() };
        let mut count = 0;
        for request in requests {
            let tally = Rc::clone(&this.tally);
            this._tasks.spawn_local(async move {
                // A stream that ends is counted; whoever waits for it sees that.
                let _ = follow(address, request, mark, &tally).await;
                tally.ended.set(tally.ended.get() + 1);
                tally.progress.notify_one();
            });
            count += 1;
            // A listen queue has an end too.
            if count % 100 == 0 {
                this.wait(Duration::from_secs(10), |tally| tally.begun.get() == count).await?;
            }
        }
        this.wait(Duration::from_secs(20), |tally| tally.begun.get() == count).await?;
        Ok(this)
    }

    /// Waits until `done`. Error: it takes longer than `limit`, or a stream ends.
    pub async fn wait(&self, limit: Duration, done: impl Fn(&Tally) -> bool) -> Result<()> {
        let end = Instant::now() + limit;
        while !done(&self.tally) {
            if self.tally.ended.get() > 0 {
                bail!("a stream ended");
            }
            let left = end.saturating_duration_since(Instant::now());
            if tokio::time::timeout(left, self.tally.progress.notified()).await.is_err() {
                let (begun, changes) = (self.tally.begun.get(), self.tally.changes.get());
                bail!("the streams took too long: {begun} have begun, {changes} changes have come");
            }
        }
        Ok(())
    }
}

async fn follow(address: SocketAddr, request: Vec<u8>, mark: &[u8], tally: &Tally) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&request).await?;
    // The end of what came before: a mark may come in two pieces.
    let mut carry = Vec::with_capacity(2 * mark.len());
    let mut first = true;
    loop {
        stream.readable().await?;
        // Within no await, so that all streams share one buffer on the stack.
        let mut buffer = [0; 16 << 10];
        let read = match stream.try_read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error.into()),
        };
        let bytes = buffer.get(..read).unwrap_or_default();
        let changes = count(mark, &mut carry, bytes);
        if first {
            first = false;
            tally.begun.set(tally.begun.get() + 1);
        }
        tally.changes.set(tally.changes.get() + changes);
        tally.bytes.set(tally.bytes.get() + u64::try_from(read)?);
        tally.progress.notify_one();
    }
}

/// Counts marks in `bytes` and across its start.
fn count(mark: &[u8], carry: &mut Vec<u8>, bytes: &[u8]) -> u64 {
    let head = bytes.get(..bytes.len().min(mark.len() - 1)).unwrap_or_default();
    carry.extend_from_slice(head);
    let across = memmem::find_iter(carry, mark).count();
    let within = memmem::find_iter(bytes, mark).count();
    if bytes.len() >= mark.len() {
        carry.clear();
        carry.extend_from_slice(bytes.get(bytes.len() - (mark.len() - 1)..).unwrap_or_default());
    } else {
        let surplus = carry.len().saturating_sub(mark.len() - 1);
        carry.drain(..surplus);
    }
    u64::try_from(across + within).unwrap_or(0)
}

/// Runs what opens streams.
pub async fn with_streams<T>(work: impl Future<Output = T>) -> T {
    LocalSet::new().run_until(work).await
}
