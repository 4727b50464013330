//! The bounds of the program, with where each number comes from and what happens at it. A feature whose bounds nothing
//! else needs has them in `limits` of its own folder.

use std::num::NonZeroU32;
use std::time::Duration;

/// Largest request body, bytes (default). Past it: `too-large`.
pub const BODY_BYTES_MAX: usize = 2 << 20;
/// Largest serialised state, bytes (default). Past it: `too-large`. Half the body, so that a state that is allowed
/// can be sent whole.
pub const STATE_BYTES_MAX: usize = 1 << 20;
/// Deepest nesting of a body or state (default). Past it: `too-large`. `serde_json` stops at 128 by itself.
pub const DEPTH_MAX: usize = 64;
/// Most operations in one JSON Patch. Past it: `too-large`.
pub const PATCH_OPERATIONS_MAX: usize = 10_000;
/// Longest `Idempotency-Key`, bytes. Past it: `invalid-request`.
pub const IDEMPOTENCY_KEY_LENGTH_MAX: usize = 255;
/// How long an idempotency key is remembered.
pub const IDEMPOTENCY_KEPT: Duration = Duration::from_secs(24 * 3600);

/// Entries in a page when the caller does not say.
pub const PAGE_LIMIT_DEFAULT: usize = 50;
/// Most entries in a page. Past it: `invalid-request`.
pub const PAGE_LIMIT_MAX: usize = 500;
/// Bytes of what a viewer may not see that are read for one page or snapshot. Only past it does a page end by more than
/// what it shows, so that nobody learns how much is hidden; a snapshot is `too-large` then.
pub const HIDDEN_BYTES_MAX: usize = 64 << 20;
/// Bytes of states, as they are shown, after which a page that includes them ends, and at most one state more. The rest
/// is on the next page.
pub const LIST_STATES_BYTES_MAX: usize = 8 << 20;

/// Open connections (default): what 12 KB each makes of some 120 MB. Past it: closed as soon as accepted.
pub const CONNECTIONS_MAX: usize = 10_000;
/// Connections that wait to be accepted: all clients of a server come back in the moment when it listens again, and one
/// that finds no room is let in only when it tries again, a second later. The system may allow fewer. Past it: the
/// client's system tries again.
pub const LISTEN_QUEUE_MAX: u32 = 4096;
/// Open connections of one person of the tailnet, or from one address of which nothing else is known (default): room
/// for as many streams as one may have, and for as many requests beside them. Past it: closed as soon as accepted.
pub const CONNECTIONS_PER_USER_MAX: usize = 2000;
/// Open streams of one viewer (default). Past it: `too-many-streams`.
pub const STREAMS_PER_USER_MAX: usize = 1000;
/// How often it is asked again whether somebody of the tailnet may still be here (default).
pub const RECHECK: Duration = Duration::from_secs(60);
/// How often the node's addresses are looked at while all is well (default).
pub const TAILNET_POLL: Duration = Duration::from_secs(10);
/// How long a request's head may take, the wait for it on a kept connection included (default). Past it: closed.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a body may pause (default). Past it: `request-timeout`.
pub const BODY_IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a body may take in all (default): the largest at some 17 KB/s. Past it: `request-timeout`.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a peer may take no byte while there is something to write (default). Past it: closed.
pub const WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes a second that a peer must take of what is answered, streams excepted, once it has been waited for as long as
/// [`WRITE_STALL_TIMEOUT`] in all (default): a fraction of what the slowest mobile network brings. Below it: closed.
// A zero would not compile.
pub const ANSWER_BYTES_PER_SECOND_MIN: NonZeroU32 = NonZeroU32::new(4 << 10).unwrap();
/// How long requests may go on after the order to stop (default). Past it: dropped.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest request head, bytes: a stream over [`STREAM_NAMES_MAX`] documents with names of usual length. Past it: 431.
pub const HEAD_BYTES_MAX: usize = 64 << 10;
/// Bytes that the kernel is given of what a peer has yet to take: where it would take megabytes, a slow reader seems to
/// read nothing for minutes and then all at once, and one that reads nothing keeps them after the connection is closed.
pub const UNSENT_BYTES_MAX: u32 = 128 << 10;
/// Bytes that one connection buffers in each direction, a single larger chunk excepted.
pub const CONNECTION_BUFFER_BYTES_MAX: usize = 128 << 10;
/// Parts of a request that one refusal names.
pub const FIELD_ERRORS_MAX: usize = 20;
/// A body up to this size is read to its end although it is refused, so that its connection stays usable.
pub const SMALL_BODY_BYTES_MAX: u64 = 64 << 10;
/// How long the sender of a larger one may pause before its connection is closed.
pub const REFUSED_BODY_IDLE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long it may go on sending in all.
pub const REFUSED_BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a refused body that are still read, so that its sender gets to see the refusal and not a reset.
pub const REFUSED_BODY_BYTES_MAX: usize = 16 << 20;
/// Longest cursor, bytes: that of a sorted list, with [`SORT_PATHS_MAX`] texts of characters that take four bytes.
/// Past it: `invalid-request`.
pub const CURSOR_LENGTH_MAX: usize = 2560;

/// Documents of a collection that are counted where collections are listed, so that a page of them takes some
/// milliseconds each. Past it: told as more.
pub const COLLECTION_DOCUMENTS_COUNTED_MAX: usize = 10_000;
/// Longest `where` of a list, bytes. Past it: `invalid-request`.
pub const WHERE_LENGTH_MAX: usize = 4096;
/// Deepest nesting of it. Past it: `invalid-request`.
pub const QUERY_DEPTH_MAX: usize = 16;
/// Most comparisons in it: each is made with each document. Past it: `invalid-request`.
pub const QUERY_TESTS_MAX: usize = 50;
/// Longest path into a state that a list is asked about, bytes. Past it: `invalid-request`.
pub const QUERY_PATH_LENGTH_MAX: usize = 256;
/// Most names of members in it. Past it: `invalid-request`.
pub const QUERY_PATH_MEMBERS_MAX: usize = 16;
/// Most paths that a list is sorted by. Past it: `invalid-request`.
pub const SORT_PATHS_MAX: usize = 4;
/// Characters of a text that the order of a list looks at: they are in its cursors.
pub const SORT_TEXT_CHARS_MAX: usize = 64;
/// Most parts of a state that a list is asked for. Past it: `invalid-request`.
pub const FIELDS_MAX: usize = 50;
/// Documents that one page of a list with `where` looks at. Past it the page ends; a list that is sorted is
/// `too-many-documents`.
pub const SCAN_DOCUMENTS_MAX: usize = 10_000;
/// Bytes of states, as they are shown, that it looks at, and at most one state more. Past it: the same.
pub const SCAN_BYTES_MAX: usize = 64 << 20;

/// Commands that may wait for the engine. When full, senders wait: that is the backpressure on writers.
pub const ENGINE_QUEUE_COMMANDS_MAX: usize = 4096;
/// Most commands decided into one transaction. Measured: beyond some 250 the sync no longer shows in the cost.
pub const BATCH_COMMANDS_MAX: usize = 1024;
/// Event bytes after which a transaction takes no further command, so that one batch of large changes does not make
/// everybody wait for megabytes of disk.
pub const BATCH_BYTES_MAX: usize = 8 << 20;

/// Events kept in memory for streams, and the bytes that they take, rendered forms included. Older ones are read from
/// disk.
pub const RING_EVENTS_MAX: usize = 16_384;
/// See [`RING_EVENTS_MAX`].
pub const RING_BYTES_MAX: usize = 32 << 20;
/// Departures and returns of documents that streams can still be told one by one: some megabytes. Who is further behind
/// gets the whole state.
pub const RELOCATION_EVENTS_MAX: usize = 10_000;
/// Events read back into memory for the first streams that resume after a start, and their bytes. Few enough to be
/// read in some ten milliseconds.
pub const REFILL_EVENTS_MAX: usize = 4096;
/// See [`REFILL_EVENTS_MAX`].
pub const REFILL_BYTES_MAX: usize = 4 << 20;
/// Bytes of states, as they are shown, that a snapshot may read from disk, and at most one state more. Past it:
/// `too-large`. What is in memory already costs nothing more.
pub const STREAM_STATES_BYTES_MAX: usize = 64 << 20;
/// Bytes of events that one write to one subscriber may carry; the rest follows in the next write.
pub const STREAM_WRITE_BYTES_MAX: usize = 256 << 10;
/// Most users that one member of a document's access may name: each is compared with whoever reads. Past it:
/// `invalid-request`.
pub const ACCESS_USERS_MAX: usize = 256;
/// Most documents that one stream may be asked for by name. Past it: `invalid-request`.
pub const STREAM_NAMES_MAX: usize = 500;
/// Most documents in one snapshot of a stream over collections. Past it: `too-large`.
pub const STREAM_DOCUMENTS_MAX: usize = 10_000;
/// Documents of followed collections that a snapshot names as gone, the last that went. Past it: not named.
pub const STREAM_GONE_MAX: usize = 500;

/// What others have said that waits for one follower before it counts as slow: of a slow one only the newest of each
/// sender and type is kept. More than one burst of a sender's at the default rate.
pub const TRANSIENT_MESSAGES_MAX: usize = 32;
/// Most senders and types of which a slow follower keeps the newest, each some 4 KiB. Past it: the oldest is dropped.
pub const TRANSIENT_PAIRS_MAX: usize = 256;

/// Users listed in the presence of one document who do not take part in it. Past it: their connections do not count.
pub const PRESENCE_PLAYERS_MAX: usize = 100;
/// Participants listed in the presence of one document. Past it: not listed.
pub const PRESENCE_PARTICIPANTS_MAX: usize = 100;
/// Documents and players in the presence of all documents, some 350 bytes each with the list as it is sent. Past it:
/// connections do not count.
pub const PRESENCE_ENTRIES_MAX: usize = 100_000;
/// How long it is remembered that a player was there.
pub const PRESENCE_KEPT: Duration = Duration::from_secs(3600);
/// Shortest time between two presence events of one document: a crowd that comes at once is told of in few.
pub const PRESENCE_SPACING: Duration = Duration::from_millis(100);
/// How long a loss must last before it is told (default): longer than it takes to load a page again.
pub const PRESENCE_DEBOUNCE: Duration = Duration::from_secs(2);

/// Undurable events kept while storage fails (default), and their bytes. Past it: `storage-unavailable` or
/// `storage-full`.
pub const BACKLOG_EVENTS_MAX: usize = 50_000;
/// See [`BACKLOG_EVENTS_MAX`].
pub const BACKLOG_BYTES_MAX: usize = 64 << 20;
/// Room beyond that for changes that take something away, access or a document: they are not refused when the disk has
/// been full for long.
pub const BACKLOG_RESERVE_EVENTS: usize = 10_000;
/// See [`BACKLOG_RESERVE_EVENTS`].
pub const BACKLOG_RESERVE_BYTES: usize = 8 << 20;
/// Revocations (ended sessions, left seats) kept while storage fails, some 100 bytes each. Past it:
/// `storage-unavailable`.
pub const REVOCATIONS_PENDING_MAX: usize = 100_000;
/// Most of them in one transaction when storage returns.
pub const REVOCATIONS_PER_COMMIT: usize = 1000;

/// Documents in memory (default) and the bytes of their states. Past it the least recently used are dropped.
pub const HOT_DOCUMENTS_MAX: usize = 20_000;
/// See [`HOT_DOCUMENTS_MAX`].
pub const HOT_BYTES_MAX: usize = 256 << 20;
/// How long a document that nobody uses stays in memory (default).
pub const HOT_IDLE: Duration = Duration::from_secs(600);
/// Parsed states kept beside the bytes: a tree costs some 15 times its JSON, so few are kept.
pub const TREES_MAX: usize = 512;
/// Bytes of JSON behind the parsed states that are kept.
pub const TREES_BYTES_MAX: usize = 4 << 20;

/// Volatile documents (default): what memory has beside [`HOT_BYTES_MAX`], at 64 KB each. Past it: `too-large`.
pub const VOLATILE_DOCUMENTS_MAX: usize = 1000;
/// Bytes of the states of volatile documents. Past it none is created and none grows: `too-large`.
pub const VOLATILE_BYTES_MAX: usize = 64 << 20;
/// Bytes of the rows of features that belong to volatile documents. Past it: `too-large`.
pub const VOLATILE_ROWS_BYTES_MAX: usize = 32 << 20;
/// How long a volatile document that nobody reads or writes stays: long enough for a game that goes on tomorrow
/// evening at about the same hour.
pub const VOLATILE_IDLE: Duration = Duration::from_secs(24 * 3600);
/// Idempotency keys remembered of writes that touched volatile documents alone, and the bytes of their answers. Past it
/// the oldest are forgotten.
pub const VOLATILE_KEYS_MAX: usize = 10_000;
/// See [`VOLATILE_KEYS_MAX`].
pub const VOLATILE_KEYS_BYTES_MAX: usize = 16 << 20;

/// Patches since the last snapshot must add up to the state's size before the next is taken, and to at least this:
/// below a database page a snapshot saves no reading.
pub const SNAPSHOT_BYTES_MIN: usize = 4096;
/// Largest body of the event that is left of a compacted history, bytes: with the rows around it, it stays below 1 KB.
/// After a larger one another is added, which changes nothing.
pub const COMPACT_EVENT_BYTES_MAX: usize = 300;
/// WAL frames (4 KiB each) after which the writer runs a checkpoint between two batches. Measured: 4,000 keep the WAL
/// at some 17 MB with the shortest pauses.
pub const CHECKPOINT_FRAMES: u32 = 4000;
/// Bytes of the WAL from which on it is too large (default): four times what it has under load, so that only a read
/// transaction that stays open makes it so. As much of it is kept in memory.
pub const WAL_BYTES_MAX: u64 = 64 << 20;
/// How long a read of the server itself may last while the WAL is larger than that.
pub const READ_AGE_MAX: Duration = Duration::from_secs(5);

/// Events per document that are kept (default).
pub const HISTORY_EVENTS: u64 = 10_000;
/// Days that a document's events are kept (default).
pub const HISTORY_DAYS: u32 = 30;

/// Flags that are configured for clients. Past it the server does not start.
pub const CLIENT_FLAGS_MAX: usize = 100;

const _: () = assert!(STATE_BYTES_MAX * 2 <= BODY_BYTES_MAX, "a state that is allowed can be sent");
const _: () = assert!(STREAMS_PER_USER_MAX < CONNECTIONS_PER_USER_MAX, "streams leave room for requests");
const _: () = assert!(CONNECTIONS_PER_USER_MAX < CONNECTIONS_MAX, "one person does not take all connections");
const _: () = assert!(HEAD_BYTES_MAX <= CONNECTION_BUFFER_BYTES_MAX, "a head that is allowed fits the buffer");
const _: () = assert!(RING_EVENTS_MAX >= 2 * BATCH_COMMANDS_MAX, "a batch never pushes its own start out of the ring");
const _: () =
    assert!(RING_BYTES_MAX >= 4 * BATCH_BYTES_MAX, "the same in bytes, of which a rendered event takes two for one");
const _: () = assert!(BACKLOG_BYTES_MAX >= 2 * BATCH_BYTES_MAX, "the batch that failed fits into the backlog");
