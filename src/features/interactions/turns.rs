//! Who takes part, and whose turn it is.

use serde_json::Value;

use super::state::{Interaction, InteractionStatus, LogEntry, NAME_LENGTH_MAX, PARTICIPANTS_MAX, Participant, Pending};
use crate::base::clock::Timestamp;
use crate::base::ids::UserId;
use crate::document::rules::Rejection;

/// What the DM says of an action.
pub(super) struct Review {
    pub approve: bool,
    pub reason: Option<String>,
    pub result: Option<Value>,
}

impl Interaction {
    pub(super) fn open(&mut self) -> Result<(), Rejection> {
        self.change_status("open", &[InteractionStatus::Idle], InteractionStatus::WaitingForPlayers)
    }

    pub(super) fn start(&mut self) -> Result<(), Rejection> {
        if self.status == InteractionStatus::WaitingForPlayers && self.participants.is_empty() {
            return Err(Rejection::new("at least one participant must join first"));
        }
        self.change_status("start", &[InteractionStatus::WaitingForPlayers], InteractionStatus::InProgress)?;
        self.round = 1;
        self.turn = self.order.first().cloned();
        Ok(())
    }

    /// Takes a player in; after the start they come last.
    pub(super) fn join(&mut self, participant: Participant) -> Result<(), Rejection> {
        if self.status == InteractionStatus::Idle || self.status.has_ended() {
            return Err(self.wrong_status("take participants"));
        }
        if self.takes_part(&participant.player_id) {
            return Err(Rejection::new("you take part already"));
        }
        if self.participants.len() >= PARTICIPANTS_MAX {
            return Err(Rejection::new(format!("an interaction has at most {PARTICIPANTS_MAX} participants")));
        }
        if participant.name.is_empty() || participant.name.len() > NAME_LENGTH_MAX {
            return Err(Rejection::new(format!("a participant's name is 1 to {NAME_LENGTH_MAX} bytes")));
        }
        self.order.push(participant.player_id.clone());
        self.participants.push(participant);
        Ok(())
    }

    /// Lets a participant go. If it is their turn, it passes on; without anybody it waits for players again.
    pub(super) fn leave(&mut self, player: &UserId, at: Timestamp) -> Result<(), Rejection> {
        if self.status.has_ended() {
            return Err(self.wrong_status("be left"));
        }
        if !self.takes_part(player) {
            return Err(Rejection::new("you do not take part"));
        }
        if self.turn.as_ref() == Some(player) {
            self.drop_pending(at);
            self.pass_turn();
        }
        self.participants.retain(|participant| participant.player_id != *player);
        self.order.retain(|other| other != player);
        if self.order.is_empty() && self.status.has_turn() {
            (self.status, self.turn, self.round) = (InteractionStatus::WaitingForPlayers, None, 0);
        }
        Ok(())
    }

    pub(super) fn submit(&mut self, action: Value) -> Result<(), Rejection> {
        if self.status == InteractionStatus::WaitingForDm {
            return Err(Rejection::new("an action of this turn waits for the DM already"));
        }
        let turn = self.turn.clone().filter(|_| self.status == InteractionStatus::InProgress);
        let player_id = turn.ok_or_else(|| self.wrong_status("take an action"))?;
        self.pending = Some(Pending { player_id, action });
        self.status = InteractionStatus::WaitingForDm;
        Ok(())
    }

    /// Decides the action that waits: approved, the turn passes on; rejected, it is given back.
    pub(super) fn review(&mut self, review: Review, at: Timestamp) -> Result<(), Rejection> {
        let waiting = self.pending.take().filter(|_| self.status == InteractionStatus::WaitingForDm);
        let Pending { player_id, action } = waiting.ok_or_else(|| self.wrong_status("review an action"))?;
        let Review { approve, reason, result } = review;
        let kind = if approve { "approve" } else { "reject" }.to_owned();
        self.log.push(LogEntry { at, player_id, kind, action: Some(action), result, reason });
        self.status = InteractionStatus::InProgress;
        if approve {
            self.pass_turn();
        }
        Ok(())
    }

    pub(super) fn next_turn(&mut self, at: Timestamp) -> Result<(), Rejection> {
        if ![InteractionStatus::InProgress, InteractionStatus::WaitingForDm].contains(&self.status) {
            return Err(self.wrong_status("pass a turn"));
        }
        self.drop_pending(at);
        self.pass_turn();
        Ok(())
    }

    /// The action that waits is not decided any more.
    fn drop_pending(&mut self, at: Timestamp) {
        let Some(Pending { player_id, action }) = self.pending.take() else { return };
        let kind = "drop".to_owned();
        self.log.push(LogEntry { at, player_id, kind, action: Some(action), result: None, reason: None });
        if self.status == InteractionStatus::WaitingForDm {
            self.status = InteractionStatus::InProgress;
        }
    }

    /// Gives the turn to the next in the order; past the end the round rises.
    fn pass_turn(&mut self) {
        let at = self.order.iter().position(|player| Some(player) == self.turn.as_ref());
        let next = at.and_then(|at| self.order.get(at + 1)).cloned();
        if next.is_none() {
            self.round = self.round.saturating_add(1);
        }
        self.turn = next.or_else(|| self.order.first().cloned());
    }

    pub(super) fn reorder(&mut self, order: Vec<UserId>) -> Result<(), Rejection> {
        if self.status.has_ended() {
            return Err(self.wrong_status("be reordered"));
        }
        self.check_order(&order)?;
        self.order = order;
        Ok(())
    }

    pub(super) fn pause(&mut self) -> Result<(), Rejection> {
        self.change_status(
            "pause",
            &[InteractionStatus::InProgress, InteractionStatus::WaitingForDm],
            InteractionStatus::Paused,
        )
    }

    pub(super) fn resume(&mut self) -> Result<(), Rejection> {
        let next = if self.pending.is_some() { InteractionStatus::WaitingForDm } else { InteractionStatus::InProgress };
        self.change_status("resume", &[InteractionStatus::Paused], next)
    }

    pub(super) fn complete(&mut self, at: Timestamp) -> Result<(), Rejection> {
        let from = [InteractionStatus::InProgress, InteractionStatus::WaitingForDm, InteractionStatus::Paused];
        self.change_status("complete", &from, InteractionStatus::Completed)?;
        self.end(at);
        Ok(())
    }

    pub(super) fn cancel(&mut self, at: Timestamp) -> Result<(), Rejection> {
        if self.status.has_ended() {
            return Err(self.wrong_status("cancel"));
        }
        self.status = InteractionStatus::Cancelled;
        self.end(at);
        Ok(())
    }

    fn end(&mut self, at: Timestamp) {
        self.drop_pending(at);
        self.turn = None;
    }

    fn change_status(
        &mut self,
        action: &str,
        from: &[InteractionStatus],
        to: InteractionStatus,
    ) -> Result<(), Rejection> {
        if !from.contains(&self.status) {
            return Err(self.wrong_status(action));
        }
        self.status = to;
        Ok(())
    }

    fn wrong_status(&self, action: &str) -> Rejection {
        Rejection::new(format!("the interaction is {}: it cannot {action} now", self.status.name()))
    }
}
