//! A player's own copy of a game, kept up by what the stream brings, and everything that is checked on the way.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

/// A document as the server writes it, as far as it matters here.
#[derive(Debug, Deserialize)]
pub struct Document {
    /// Its id.
    pub id: String,
    /// How many changes it has seen.
    pub version: u64,
    /// What the reader may see of it.
    pub state: Value,
}

#[derive(Deserialize)]
struct Snapshot {
    reason: String,
    documents: Vec<Document>,
}

#[derive(Deserialize)]
struct Resumed {
    from: String,
    to: String,
    count: u64,
}

#[derive(Deserialize)]
struct Change {
    seq: u64,
    id: String,
    version: u64,
    #[serde(rename = "type")]
    kind: String,
    actor: String,
    #[serde(default)]
    payload: Value,
    patch: json_patch::Patch,
    hash: String,
}

/// A replay that was announced and is not complete yet.
#[derive(Debug)]
struct Replay {
    /// Changes still to come.
    remaining: u64,
    /// Those to come lie up to here in the log, all later ones behind it.
    to: u64,
}

/// What the copy has received, for the summary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Changes.
    pub changes: u64,
    /// Those of them that a `resumed` announced.
    pub replayed: u64,
    /// Snapshots other than the first.
    pub snapshots: u64,
}

/// One player's copy of one game.
#[derive(Debug)]
pub struct Copy {
    player: String,
    game: String,
    /// The cards of the others, which must not be seen before they are shown.
    secrets: BTreeMap<String, [String; 2]>,
    document: Option<(u64, Value)>,
    position: Option<String>,
    /// What the present connection's `resumed` announced.
    replay: Option<Replay>,
    /// Whether the next event is the first of its connection, which has to be `snapshot` or `resumed`.
    opening: bool,
    /// What was received so far.
    pub received: Received,
}

impl Copy {
    /// An empty copy for `player` of `game`, in which `holes` are everybody's cards.
    pub fn new(player: &str, game: &str, holes: &BTreeMap<String, [String; 2]>) -> Self {
        let mut secrets = holes.clone();
        secrets.remove(player);
        Self {
            player: player.to_owned(),
            game: game.to_owned(),
            secrets,
            document: None,
            position: None,
            replay: None,
            opening: true,
            received: Received::default(),
        }
    }

    /// The id of the last event that had one: what a new connection sends as `Last-Event-ID`.
    pub fn position(&self) -> Option<&str> {
        self.position.as_deref()
    }

    /// The version that the copy is at; 0 before the first snapshot.
    pub fn version(&self) -> u64 {
        self.document.as_ref().map_or(0, |(version, _)| *version)
    }

    /// The state at that version.
    pub fn state(&self) -> Option<&Value> {
        self.document.as_ref().map(|(_, state)| state)
    }

    /// A new connection begins. A replay that the old one did not finish is announced again.
    pub fn reconnected(&mut self) {
        (self.opening, self.replay) = (true, None);
    }

    /// Checks that nothing announced is missing.
    pub fn check_complete(&self) -> anyhow::Result<()> {
        let missing = self.replay.as_ref().map_or(0, |replay| replay.remaining);
        ensure!(missing == 0, "{missing} of the changes that `resumed` announced did not come");
        Ok(())
    }

    /// Takes one event of the stream. Error: the server broke a promise.
    pub fn take(&mut self, event: &str, id: Option<&str>, data: &str) -> anyhow::Result<()> {
        let opens = matches!(event, "snapshot" | "resumed");
        let first = std::mem::replace(&mut self.opening, false);
        ensure!(!first || opens, "a connection begins with `{event}`, not with `snapshot` or `resumed`");
        match event {
            "snapshot" => {
                ensure!(id.is_some(), "a snapshot has a position as its id");
                self.take_snapshot(serde_json::from_str(data).context(event.to_owned())?)?;
            }
            "resumed" => {
                ensure!(first && id.is_none(), "`resumed` comes first and has no id");
                self.take_resumed(&serde_json::from_str(data).context(event.to_owned())?)?;
            }
            "change" => self.take_change(serde_json::from_str(data).context(event.to_owned())?, id)?,
            _ => ensure!(id.is_none(), "the control event `{event}` has an id, which would poison resuming"),
        }
        // Last, because a show makes its cards public in the same event.
        self.check_secrets(data)?;
        if let Some(id) = id {
            self.position = Some(id.to_owned());
        }
        Ok(())
    }

    fn take_snapshot(&mut self, snapshot: Snapshot) -> anyhow::Result<()> {
        let Snapshot { reason, documents } = snapshot;
        ensure!(reason != "diverged", "the server lost a history that it had acknowledged");
        let [document] = <[Document; 1]>::try_from(documents).ok().context("a snapshot of one document has one")?;
        ensure!(document.id == self.game, "a snapshot of another game: {}", document.id);
        let own = self.version();
        ensure!(document.version >= own, "a snapshot goes back from version {own} to {}", document.version);
        self.received.snapshots += u64::from(self.document.is_some());
        let seats = document.state.get("players").and_then(Value::as_array).into_iter().flatten();
        for seat in seats.filter(|seat| seat.get("shown").is_some()) {
            self.secrets.remove(seat.get("player").and_then(Value::as_str).unwrap_or_default());
        }
        self.check_visible(&document.state)?;
        (self.document, self.replay) = (Some((document.version, document.state)), None);
        Ok(())
    }

    fn take_resumed(&mut self, resumed: &Resumed) -> anyhow::Result<()> {
        let sent = self.position.as_deref();
        ensure!(sent == Some(resumed.from.as_str()), "resumed from {} and not from {sent:?}", resumed.from);
        let (from, to) = (seq_of(&resumed.from)?, seq_of(&resumed.to)?);
        ensure!(to >= from, "resumed back from {} to {}", resumed.from, resumed.to);
        self.replay = Some(Replay { remaining: resumed.count, to });
        Ok(())
    }

    fn take_change(&mut self, change: Change, id: Option<&str>) -> anyhow::Result<()> {
        ensure!(change.id == self.game, "a change of another game: {}", change.id);
        let short = change.hash.get(..12).context("a hash has 64 digits")?;
        let position = format!("{}-{short}", change.seq);
        ensure!(id == Some(position.as_str()), "the change at {position} has the id {id:?}");
        let (version, state) = self.document.as_mut().context("a change before any snapshot")?;
        ensure!(change.version != *version, "version {version} came twice");
        ensure!(change.version == *version + 1, "version {} follows {version}", change.version);
        if let Some(replay) = &mut self.replay {
            match replay.remaining.checked_sub(1) {
                Some(remaining) => {
                    ensure!(change.seq <= replay.to, "fewer changes were replayed than `resumed` announced");
                    (replay.remaining, self.received.replayed) = (remaining, self.received.replayed + 1);
                }
                None => ensure!(change.seq > replay.to, "more changes were replayed than `resumed` announced"),
            }
        }
        json_patch::patch(state, &change.patch)
            .with_context(|| format!("the patch to version {} does not apply", change.version))?;
        *version = change.version;
        self.received.changes += 1;
        if change.kind == "show" {
            let named = change.payload.get("player").and_then(Value::as_str);
            self.secrets.remove(named.unwrap_or(&change.actor));
        }
        self.check_visible(&change.payload)?;
        let state = self.document.as_ref().map_or(&Value::Null, |(_, state)| state);
        self.check_visible(state)
    }

    /// Neither `hidden` nor another player's part of `private` may be in a state or payload.
    fn check_visible(&self, value: &Value) -> anyhow::Result<()> {
        ensure!(value.get("hidden").is_none(), "{} sees `hidden`", self.player);
        let private = value.get("private").and_then(Value::as_object).into_iter().flatten();
        let others: BTreeSet<&String> =
            private.map(|(owner, _)| owner).filter(|owner| **owner != self.player).collect();
        ensure!(others.is_empty(), "{} sees what is private to {others:?}", self.player);
        Ok(())
    }

    /// Whatever the event is: no card in its text that only somebody else may know.
    fn check_secrets(&self, data: &str) -> anyhow::Result<()> {
        for (owner, cards) in &self.secrets {
            if let Some(card) = cards.iter().find(|card| data.contains(&format!("\"{card}\""))) {
                bail!("{} sees {owner}'s {card}", self.player);
            }
        }
        Ok(())
    }
}

/// The place in the log that a position names.
fn seq_of(position: &str) -> anyhow::Result<u64> {
    let seq = position.split_once('-').map_or(position, |(seq, _)| seq);
    seq.parse().with_context(|| format!("{position:?} is not a position"))
}
