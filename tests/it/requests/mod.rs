//! How requests are read: numbers, headers, bodies that are not wanted, and problems that name all that is wrong.

mod content_coding;
mod every_error;
mod numbers;
mod preconditions;
mod unread_bodies;
