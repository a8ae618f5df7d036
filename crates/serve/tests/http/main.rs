//! The server over real connections, with a model whose vectors are known.

mod client;
mod drain;
mod fake;
mod faults;
mod ollama;
mod openai;
mod own;
mod real_clients;
mod search;
mod tei;
