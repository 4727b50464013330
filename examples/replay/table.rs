//! A table: plays one hand after another, each in a document of its own.

#![expect(clippy::indexing_slicing, reason = "only JSON is indexed here, which gives null where nothing is")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::client::{Client, Write, add};
use crate::copy::Copy;
use crate::phh::{Hand, Step};
use crate::player::Player;

/// A hand being played.
struct Game {
    client: Arc<Client>,
    id: String,
    players: Vec<Player>,
    /// The version that the last write made.
    version: u64,
}

/// Plays the hand in `file` in the document `id`, and checks how it ends.
pub async fn play(client: Arc<Client>, file: PathBuf, id: String) -> anyhow::Result<()> {
    let hand = Hand::parse(&tokio::fs::read_to_string(&file).await?)?;
    let mut game = Game::open(client, id, &hand).await?;
    for step in &hand.steps {
        game.take(step).await.with_context(|| format!("{step:?}"))?;
    }
    game.close(&hand).await
}

impl Game {
    async fn open(client: Arc<Client>, id: String, hand: &Hand) -> anyhow::Result<Self> {
        let body = json!({ "id": id, "state": hand.setup() });
        let created = client.post(&Write { path: "/api/v1/games", viewer: None, body: &body }).await?;
        ensure!(created["version"] == 1, "a new game is at version 1: {created}");
        let holes: BTreeMap<String, [String; 2]> = hand
            .steps
            .iter()
            .filter_map(|step| match step {
                Step::Hole { seat, cards } => Some((hand.players.get(*seat)?.clone(), cards.clone())),
                _ => None,
            })
            .collect();
        let follow = |player: &String| {
            Player::follow(client.clone(), player.clone(), Copy::new(player, &id, &holes), id.clone())
        };
        let players = hand.players.iter().map(follow).collect();
        Ok(Self { client, id, players, version: 1 })
    }

    async fn take(&mut self, step: &Step) -> anyhow::Result<()> {
        match step {
            Step::Hole { seat, cards } => {
                let player = self.players.get(*seat).context("no such seat")?.id.clone();
                self.act(None, "deal", json!({ "private": { player: { "cards": cards } } })).await
            }
            Step::Board(cards) => self.act(None, "board", json!({ "cards": cards })).await,
            Step::Raise { seat, to } => self.turn(*seat, |_, _| "raise", json!({ "to": to })).await,
            Step::Fold(seat) => self.turn(*seat, |_, _| "fold", json!({})).await,
            Step::Show(seat) => self.turn(*seat, |_, _| "show", json!({})).await,
            Step::Muck(seat) => self.turn(*seat, |_, _| "muck", json!({})).await,
            Step::CheckCall(seat) => {
                let check = |state: &Value, seat: &Value| state["bet"] == seat["bet"];
                self.turn(*seat, |state, seat| if check(state, seat) { "check" } else { "call" }, json!({})).await
            }
        }
    }

    /// Acts for a seat, once its player sees that it is their turn. What they do may depend on what they see.
    async fn turn(
        &mut self,
        seat: usize,
        choose: impl Fn(&Value, &Value) -> &'static str,
        payload: Value,
    ) -> anyhow::Result<()> {
        let player = self.players.get_mut(seat).context("no such seat")?;
        let state = player.sees(self.version).await?;
        ensure!(state["toAct"] == seat, "{} does not see that it is their turn: {state}", player.id);
        let kind = choose(&state, &state["players"][seat]);
        let id = player.id.clone();
        self.act(Some(&id), kind, payload).await
    }

    async fn act(&mut self, viewer: Option<&str>, kind: &str, payload: Value) -> anyhow::Result<()> {
        let path = format!("/api/v1/games/{}/actions", self.id);
        let body = json!({ "type": kind, "payload": payload });
        let event = self.client.post(&Write { path: &path, viewer, body: &body }).await?;
        add(&self.client.counts.actions, 1);
        self.version += 1;
        ensure!(
            event["version"] == self.version && event["type"] == kind,
            "the answer to {kind} is not its event at version {}: {event}",
            self.version
        );
        Ok(())
    }

    /// Checks that everybody has seen the same end, and the right one.
    async fn close(mut self, hand: &Hand) -> anyhow::Result<()> {
        for player in &mut self.players {
            player.sees(self.version).await?;
        }
        self.check_document(None, hand, None).await?;
        let mut players = std::mem::take(&mut self.players);
        for player in &mut players {
            let state = player.sees(self.version).await?;
            self.check_document(Some(&player.id), hand, Some(&state)).await?;
        }
        for player in &mut players {
            let copy = player.finish().await?;
            ensure!(copy.version() == self.version, "{} was sent more than there is", player.id);
        }
        Ok(())
    }

    async fn check_document(&self, viewer: Option<&str>, hand: &Hand, copy: Option<&Value>) -> anyhow::Result<()> {
        let document = self.client.game(&self.id, viewer).await?;
        let who = viewer.unwrap_or("the host");
        ensure!(document.version == self.version, "{who} reads version {}, not {}", document.version, self.version);
        let stacks: Option<Vec<u64>> = document.state["players"]
            .as_array()
            .and_then(|seats| seats.iter().map(|seat| seat["stack"].as_u64()).collect());
        ensure!(
            document.state["phase"] == "over" && stacks.as_ref() == Some(&hand.finishing_stacks),
            "{who} reads the stacks {stacks:?}, which should be {:?}",
            hand.finishing_stacks
        );
        if let Some(copy) = copy {
            ensure!(*copy == document.state, "the copy of {who} differs: {copy}\nfrom {}", document.state);
        }
        Ok(())
    }
}
