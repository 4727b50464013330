//! Cancelling a move: the game stays.

use super::departures::Departures;
use super::migrate_out::{TargetServer, confirm, confirm_later, movable, unavailable};
use super::problems::{MOVE_CONFIRMED, NO_MOVE};
use super::protocol::{MigrationPiece, MigrationStep};
use super::sql::migrate::{self as sql, MoveRow};
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::DocumentName;
use crate::engine::request::RelocationStep;
use crate::http::api::Api;
use crate::http::request::caller::Caller;

/// Cancels the move of a game. Before it is recorded nothing can be live at the other server; from then on that server
/// says whether it has the game, and without its word the game stays frozen, unless `force` has it thaw all the same.
/// Errors: `NotFound`, `Gone`, `Forbidden`; `no-move`; `move-confirmed`; `other-server-unavailable`;
/// `StorageUnavailable`.
pub(crate) async fn cancel(
    api: &Api,
    departures: &Departures,
    caller: &Caller,
    name: DocumentName,
    force: bool,
) -> Result<()> {
    movable(api, caller, &name).await?;
    if api.reads.hub.relocations().find(&name).is_some() {
        return Err(confirmed());
    }
    let Some(departure) = departures.find(&name) else {
        return Err(NO_MOVE.error(format!("no move of {name} is under way")));
    };
    departure.cancelled.cancel();
    // From here on nobody else talks to the other server about it.
    let _turn = departure.turn.lock().await;
    let unconfirmed = api.reads.read(|reader| reader.rows(sql::unconfirmed)).await?;
    match unconfirmed.into_iter().find(|row| row.name == name) {
        Some(row) => resume_game(api, departures, &row, force).await,
        None if api.reads.hub.relocations().find(&name).is_some() => Err(confirmed()),
        None => Ok(()),
    }
}

/// Has the other server drop a game whose move is recorded, and thaws it here.
async fn resume_game(api: &Api, departures: &Departures, row: &MoveRow, force: bool) -> Result<()> {
    match discard_remote(row).await {
        Ok(()) => {}
        Err(error) if is_live_there(&error) => {
            confirm(api, row, None).await?;
            return Err(confirmed());
        }
        Err(error) if force => tracing::warn!(game = %row.name, to = row.target, %error, "a move is forced back"),
        Err(error) => {
            let (api, departures, row) = (api.clone(), departures.clone(), row.clone());
            tokio::spawn(async move { confirm_later(&api, &departures, &row).await });
            let message = "the other server does not say whether it has the game, so it cannot be taken back; an \
                           administrator can do so all the same with force=true";
            return Err(unavailable(message).caused_by(error));
        }
    }
    let forgotten = row.clone();
    api.engine.rows(move |conn, _| sql::forget_move(conn, &forgotten)).await?;
    api.engine.relocate(row.name.clone(), RelocationStep::Unfreeze).await?;
    tracing::info!(game = %row.name, to = row.target, "the move of {} is cancelled", row.name);
    Ok(())
}

/// Has the other server drop what had come.
async fn discard_remote(row: &MoveRow) -> Result<()> {
    let peer = TargetServer::find(&row.target).await?;
    match peer.send(&row.name, &MigrationPiece::step(MigrationStep::Cancel, &row.id)).await {
        Err(error) if error.kind() != Kind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn is_live_there(error: &Error) -> bool {
    error.details().get("otherStatus").and_then(serde_json::Value::as_u64) == Some(409)
}

fn confirmed() -> Error {
    MOVE_CONFIRMED.error("the other server has made the game live; have it moved back from there")
}
