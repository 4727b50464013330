//! The problem types of this feature.

use crate::base::error::{Kind, ProblemType};
use crate::live::relocations::RelocationProblems;

pub(crate) static RECONNECT_TOKEN_UNKNOWN: ProblemType = ProblemType {
    slug: "reconnect-token-unknown",
    kind: Kind::Unauthenticated,
    title: "Nobody knows this reconnect token",
    meaning: "The server knows no reconnect token like this one: it is cut off or mistyped, or it was forgotten long \
              after it expired.",
    remedy: "Ask for a new one at connection-token, as the player or by the host of the game.",
};

pub(crate) static RECONNECT_TOKEN_EXPIRED: ProblemType = ProblemType {
    slug: "reconnect-token-expired",
    kind: Kind::Unauthenticated,
    title: "This reconnect token has expired",
    meaning: "The reconnect token was good for a limited time, and that is over.",
    remedy: "Ask for a new one at connection-token, as the player or by the host of the game; the seat is still there.",
};

pub(crate) static RECONNECT_TOKEN_USED: ProblemType = ProblemType {
    slug: "reconnect-token-used",
    kind: Kind::Unauthenticated,
    title: "This reconnect token was used before",
    meaning: "A reconnect token works once. This one was used some time ago, or belongs to a line of tokens of which \
              an old one was shown again: someone may have copied it, so the whole line has ended.",
    remedy: "Ask for a new one at connection-token, as the player or by the host of the game. If you did not use the \
             old one twice, tell the host.",
};

pub(crate) static RECONNECT_TOKEN_RACED: ProblemType = ProblemType {
    slug: "reconnect-token-raced",
    kind: Kind::AlreadyExists,
    title: "Another request with this reconnect token was faster",
    meaning: "The same reconnect token came twice within a few seconds, and the other request was faster. Nothing was \
              revoked.",
    remedy: "Go on with the token that the other request was given. If that answer was lost: repeat it with its \
             Idempotency-Key, or ask for a new token at connection-token.",
};

pub(crate) static RECONNECT_TOKEN_MISMATCH: ProblemType = ProblemType {
    slug: "reconnect-token-mismatch",
    kind: Kind::Forbidden,
    title: "This reconnect token is for something else",
    meaning: "The reconnect token is good, but for another game, another player or another user than the request \
              names.",
    remedy: "Send it to the game that it was made for, as the player that it was made for.",
};

pub(crate) static NOT_A_PARTICIPANT: ProblemType = ProblemType {
    slug: "not-a-participant",
    kind: Kind::Forbidden,
    title: "This player has no seat in the game",
    meaning: "This player holds no seat in the game.",
    remedy: "Take a seat at seats, or ask the host of the game for one.",
};

pub(crate) static SEAT_TAKEN: ProblemType = ProblemType {
    slug: "seat-taken",
    kind: Kind::AlreadyExists,
    title: "This seat is taken",
    meaning: "Another player sits there already; the first who asks gets the seat.",
    remedy: "Take another seat, or leave seat out to get the lowest free one.",
};

pub(crate) static TABLE_FULL: ProblemType = ProblemType {
    slug: "table-full",
    kind: Kind::AlreadyExists,
    title: "Every seat is taken",
    meaning: "Every seat of the game is taken.",
    remedy: "Wait until someone leaves, ask the host to make room, or open a new game.",
};

pub(crate) static GAME_COMPLETED: ProblemType = ProblemType {
    slug: "game-completed",
    kind: Kind::Gone,
    title: "The game is over",
    meaning: "The game is over: nobody takes a seat in it or comes back to it.",
    remedy: "Open a new game. The last state can still be read at the document, as long as it is kept.",
};

pub(crate) static GAME_RUNNING: ProblemType = ProblemType {
    slug: "game-running",
    kind: Kind::VersionConflict,
    title: "The game is still running",
    meaning: "Only a completed game can be removed, and nobody has completed this one.",
    remedy: "Complete the game first; then remove it.",
};

pub(crate) static GAME_TOO_LARGE: ProblemType = ProblemType {
    slug: "game-too-large",
    kind: Kind::TooLarge,
    title: "The game is too large to move",
    meaning: "The history of the game, with what belongs to it, is larger than what moves between servers. Nothing was \
              changed, and the game goes on where it is.",
    remedy: "maxBytes says how large it may be. Keep less history (history-events, history-days) and have the game \
             stored whole (persist), so that the older part goes; or end the game where it is.",
};

pub(crate) static OTHER_SERVER_UNAVAILABLE: ProblemType = ProblemType {
    slug: "other-server-unavailable",
    kind: Kind::StorageUnavailable,
    title: "The other server cannot take the game now",
    meaning: "The server that the game was to move to cannot be reached, or cannot take it now. The game goes on where \
              it is.",
    remedy: "See whether that server runs and is well, then order the move again.",
};

pub(crate) static MOVE_REFUSED: ProblemType = ProblemType {
    slug: "move-refused",
    kind: Kind::Rejected,
    title: "The other server does not take the game",
    meaning: "The server that the game was to move to does not take it, for the reason that detail gives: it has \
              another game of this name, say, or allows less. The game goes on where it is.",
    remedy: "Remove the reason, or choose another server; otherStatus is the status of its answer.",
};

pub(crate) static MOVE_CANCELLED: ProblemType = ProblemType {
    slug: "move-cancelled",
    kind: Kind::AlreadyExists,
    title: "The move was cancelled",
    meaning: "The host or an administrator cancelled the move while it was under way. The game goes on where it is.",
    remedy: "Order the move again if the game is to move after all.",
};

pub(crate) static MOVE_CONFIRMED: ProblemType = ProblemType {
    slug: "move-confirmed",
    kind: Kind::AlreadyExists,
    title: "The game has moved already",
    meaning: "The other server has made the game live: the move cannot be cancelled any more.",
    remedy: "Have the game moved back from there.",
};

pub(crate) static NO_MOVE: ProblemType = ProblemType {
    slug: "no-move",
    kind: Kind::AlreadyExists,
    title: "The game does not move",
    meaning: "No move of this game to another server is under way, so there is none to cancel.",
    remedy: "Nothing is to be done: the game is here and takes changes.",
};

pub(crate) static GAME_MOVED: ProblemType = ProblemType {
    slug: "game-moved",
    kind: Kind::Moved,
    title: "The game is on another server now",
    meaning: "The game was moved to another server and goes on there.",
    remedy: "Location names the new address of what was asked for, and to the server. A stream goes on there from the \
             same position.",
};

pub(crate) static GAME_FROZEN: ProblemType = ProblemType {
    slug: "game-frozen",
    kind: Kind::Frozen,
    title: "The game is moving between servers",
    meaning: "The game is on its way from one server to another. Nothing was changed.",
    remedy: "Try again after the seconds in Retry-After, with the same Idempotency-Key: the game is then either here \
             as before, or the answer says where it is.",
};

pub(crate) static GAME_ELSEWHERE: ProblemType = ProblemType {
    slug: "game-elsewhere",
    kind: Kind::VersionConflict,
    title: "One of the games is on another server now",
    meaning: "A batch happens on one server, whole or not at all, and one of its games is on another. Nothing was \
              changed.",
    remedy: "index names the operation, document its game, and to the server that it is at: send what is about it \
             there, and the rest here.",
};

/// What requests about games are refused with that are moved between servers.
pub(crate) const RELOCATION_PROBLEMS: RelocationProblems =
    RelocationProblems { moved: Some(&GAME_MOVED), frozen: Some(&GAME_FROZEN), divided: Some(&GAME_ELSEWHERE) };

/// All of them, in the order of the index page.
pub(crate) static PROBLEMS: &[&ProblemType] = &[
    &RECONNECT_TOKEN_UNKNOWN,
    &RECONNECT_TOKEN_EXPIRED,
    &RECONNECT_TOKEN_USED,
    &RECONNECT_TOKEN_RACED,
    &RECONNECT_TOKEN_MISMATCH,
    &NOT_A_PARTICIPANT,
    &SEAT_TAKEN,
    &TABLE_FULL,
    &GAME_COMPLETED,
    &GAME_RUNNING,
    &GAME_TOO_LARGE,
    &OTHER_SERVER_UNAVAILABLE,
    &MOVE_REFUSED,
    &MOVE_CANCELLED,
    &MOVE_CONFIRMED,
    &NO_MOVE,
    &GAME_MOVED,
    &GAME_FROZEN,
    &GAME_ELSEWHERE,
];
