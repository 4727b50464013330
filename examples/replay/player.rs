//! A player at a table: follows the game on a stream of their own, whatever happens to the connection.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::StreamExt as _;
use serde_json::Value;
use sse_stream::SseByteStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::client::{Client, PATIENCE, add};
use crate::copy::Copy;

/// How far a player has followed the game.
#[derive(Clone, Debug, Default)]
struct View {
    version: u64,
    state: Arc<Value>,
}

/// A player who follows a game. Dropping it ends the stream.
pub struct Player {
    /// The player's id.
    pub id: String,
    /// Holds the newest view only: whoever waits for a version needs no other.
    view: watch::Receiver<View>,
    task: Option<JoinHandle<anyhow::Result<Copy>>>,
    done: CancellationToken,
}

impl Player {
    /// Begins to follow a game.
    pub fn follow(client: Arc<Client>, id: String, copy: Copy, game: String) -> Self {
        let (sender, view) = watch::channel(View::default());
        let done = CancellationToken::new();
        let follower = Follower { client, player: id.clone(), game, copy, view: sender, done: done.clone() };
        Self { id, view, task: Some(tokio::spawn(follower.run())), done }
    }

    /// Waits until this player has seen `version`; the state that they see then. Error: the stream broke a promise, or
    /// the version does not come.
    pub async fn sees(&mut self, version: u64) -> anyhow::Result<Arc<Value>> {
        let seen = self.view.wait_for(|view| view.version >= version);
        let seen = tokio::time::timeout(PATIENCE, async { seen.await.ok().map(|view| view.state.clone()) }).await;
        match seen {
            Ok(Some(state)) => return Ok(state),
            Ok(None) => {}
            Err(_elapsed) => anyhow::bail!("{} has not seen version {version} after {PATIENCE:?}", self.id),
        }
        // The follower ended by itself, which it does only to tell what is wrong.
        self.finish().await?;
        anyhow::bail!("the stream of {} ended", self.id)
    }

    /// Stops following; what was received.
    pub async fn finish(&mut self) -> anyhow::Result<Copy> {
        self.done.cancel();
        let task = self.task.take().context("the player has left")?;
        let copy = task.await?.with_context(|| format!("the stream of {}", self.id))?;
        copy.check_complete().with_context(|| format!("the stream of {}", self.id))?;
        Ok(copy)
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.done.cancel();
    }
}

struct Follower {
    client: Arc<Client>,
    player: String,
    game: String,
    copy: Copy,
    view: watch::Sender<View>,
    done: CancellationToken,
}

impl Follower {
    async fn run(mut self) -> anyhow::Result<Copy> {
        let done = self.done.clone();
        // Cancelling between two events loses nothing: only whole events change the copy.
        let followed = done.run_until_cancelled(self.follow()).await;
        followed.unwrap_or(Ok(()))?;
        let received = self.copy.received;
        add(&self.client.counts.changes, received.changes);
        add(&self.client.counts.replayed, received.replayed);
        add(&self.client.counts.snapshots, received.snapshots);
        Ok(self.copy)
    }

    /// Follows the game from connection to connection. Returns only with what is wrong.
    async fn follow(&mut self) -> anyhow::Result<()> {
        loop {
            self.copy.reconnected();
            let response = self.client.stream(&self.game, &self.player, self.copy.position()).await?;
            let mut events = SseByteStream::new(response.bytes_stream());
            loop {
                match events.next().await {
                    Some(Ok(event)) => self.take(&event)?,
                    Some(Err(sse_stream::Error::Body(_lost))) => break,
                    Some(Err(e)) => return Err(e).context("not a stream of events"),
                    None => break,
                }
            }
            add(&self.client.counts.reconnects, 1);
            // Enough to let a server that ends its streams on purpose be gone before it is asked again.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn take(&mut self, event: &sse_stream::Sse) -> anyhow::Result<()> {
        // A block with nothing but `retry:` or an id is no event.
        let Some(data) = &event.data else { return Ok(()) };
        let name = event.event.as_deref().unwrap_or("message");
        self.copy.take(name, event.id.as_deref(), data)?;
        let version = self.copy.version();
        if let Some(state) = self.copy.state().filter(|_| self.view.borrow().version != version) {
            self.view.send_replace(View { version, state: Arc::new(state.clone()) });
        }
        Ok(())
    }
}
