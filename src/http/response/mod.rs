//! What a response says: [`json`], [`problem`] with its [`problem_pages`], [`sse`], [`static_file`], [`success`],
//! [`trailing_newline`], the [`relocation`] of a document, what is [`revoked`]; and its description: [`openapi`], what
//! handlers share of it, and [`api_description`], the whole.

pub(crate) mod api_description;
pub(crate) mod json;
pub(crate) mod openapi;
pub(crate) mod problem;
pub(crate) mod problem_pages;
pub(crate) mod problem_types;
pub(crate) mod relocation;
pub(crate) mod revoked;
pub(crate) mod sse;
pub(crate) mod static_file;
pub(crate) mod success;
pub(crate) mod trailing_newline;
