//! An HTTP server of text embeddings and of exact search.
#![doc = include_str!("../README.md")]

mod error;
mod http;
mod model;
pub mod schedule;
mod server;

pub use error::{Refusal, Result};
pub use http::{App, router};
pub use model::{Model, ModelInfo, PromptInfo, Tokens};
pub use server::{ServeOptions, serve};
