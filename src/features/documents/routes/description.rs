//! The calls as programs are told of them: the answers and the problems.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::AnyOfBuilder;
use utoipa::openapi::{Content, Ref, RefOr};
use utoipa::{IntoResponses, ToSchema};

use super::schemas::{BatchResults, DocumentSchema, NotDurable};
use crate::base::error::Kind as K;
use crate::http::request::body::JSON;
use crate::http::response::openapi::{BODY, answer, problems, text};

const DONE: (u16, &str) = (200, "Done, and on disk.");
const CREATED: (u16, &str) = (201, "Created, and on disk.");
const WAITS: (u16, &str) = (
    202,
    "Done, in memory only: storage fails. It reaches the disk when storage returns, in order; streams tell when.",
);
const BARE: (u16, &str) = (204, "Done, and on disk; the caller asked for the headers alone.");

/// The answers to a change of one document, whose content is a `T`.
pub(super) struct WriteResponses<T>(PhantomData<T>);
/// The answers to what may create a document.
pub(super) struct CreateResponses;
/// The answers to what creates a document or changes it.
pub(super) struct PutResponses;
/// The answers to a batch.
pub(super) struct BatchResponses;

impl<T: ToSchema> IntoResponses for WriteResponses<T> {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        written::<T>(&[DONE, WAITS, BARE], tagged)
    }
}

impl IntoResponses for CreateResponses {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        written::<DocumentSchema>(&[CREATED, WAITS, BARE], tagged)
    }
}

impl IntoResponses for PutResponses {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        written::<DocumentSchema>(&[DONE, CREATED, WAITS, BARE], tagged)
    }
}

impl IntoResponses for BatchResponses {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        written::<BatchResults>(&[DONE, WAITS, BARE], |answer| answer)
    }
}

fn written<T: ToSchema>(
    answers: &[(u16, &str)],
    more: impl Fn(ResponseBuilder) -> ResponseBuilder,
) -> BTreeMap<String, RefOr<Response>> {
    let described = |&(status, description): &(u16, &str)| {
        let answer = match status {
            202 => answer(description).content(JSON, Content::new(Some(pending_schema::<T>()))),
            204 => answer(description).header("Preference-Applied", text("`return=minimal`")),
            _ => answer(description).content(JSON, Content::new(Some(Ref::from_schema_name(T::name())))),
        };
        let answer = match status {
            201 => answer.header("Location", text("Where the document is.")),
            _ => answer,
        };
        let answer = more(positioned(answer))
            .header(
                "Server-Timing",
                text("How long it waited, was worked on and was stored; not on a repeated answer."),
            )
            .header("Idempotency-Replayed", text("`true` when this is the first answer again."));
        (status.to_string(), answer.build().into())
    };
    answers.iter().map(described).collect()
}

/// What waits for the disk is shown like what is done, or hardly at all to who asked for that.
fn pending_schema<T: ToSchema>() -> AnyOfBuilder {
    AnyOfBuilder::new().item(Ref::from_schema_name(T::name())).item(Ref::from_schema_name(NotDurable::name()))
}

fn positioned(answer: ResponseBuilder) -> ResponseBuilder {
    answer.header("Rejoin-Position", text("A stream from here goes on from exactly this."))
}

fn tagged(answer: ResponseBuilder) -> ResponseBuilder {
    answer.header("ETag", text("`\"<version>-<short hash>\"`."))
}

/// The answers to reading a document.
pub(super) struct ReadResponses;

impl IntoResponses for ReadResponses {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let document = Content::new(Some(Ref::from_schema_name(DocumentSchema::name())));
        let answers =
            [("200", answer("The document.").content(JSON, document)), ("304", answer("It is as the caller has it."))];
        answers.into_iter().map(|(status, answer)| (status.into(), tagged(positioned(answer)).build().into())).collect()
    }
}

const ACCESS: &[K] = &[K::Unauthenticated, K::Damaged, K::StorageUnavailable];
const ABSENT: &[K] = &[K::NotFound, K::Gone];
const CHANGE: &[K] = &[K::PreconditionFailed, K::Rejected, K::IdempotencyMismatch, K::StorageFull, K::Frozen];

problems! {
    /// Of a list.
    ListProblems: ACCESS, &[K::TooLarge];
    /// Of listing collections.
    CollectionsProblems: ACCESS;
    /// Of reading one document.
    DocumentProblems: ACCESS, ABSENT, &[K::PreconditionFailed];
    /// Of its history and its stream.
    ReadProblems: ACCESS, ABSENT, &[K::TooManyStreams];
    /// Of a stream over many documents.
    StreamProblems: ACCESS, &[K::TooLarge, K::TooManyStreams];
    /// Of creating.
    CreateProblems: ACCESS, BODY, CHANGE, &[K::AlreadyExists];
    /// Of creating or replacing.
    PutProblems: ACCESS, BODY, CHANGE, &[K::VersionConflict];
    /// Of a patch.
    PatchProblems: ACCESS, ABSENT, BODY, CHANGE, &[K::PatchFailed];
    /// Of an action or a rollback.
    ActProblems: ACCESS, ABSENT, BODY, CHANGE, &[K::VersionConflict];
    /// Of deleting.
    DeleteProblems: ACCESS, ABSENT, CHANGE;
    /// Of many changes at once.
    BatchProblems: ACCESS, ABSENT, BODY, CHANGE, &[K::AlreadyExists, K::VersionConflict, K::PatchFailed];
}
