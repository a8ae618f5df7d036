//! What the tests use of `lanewise-tools`.

#[path = "../../src/gguf_writer.rs"]
pub mod gguf_writer;
#[path = "../../src/random.rs"]
pub mod random;
#[path = "../../src/tiny_model.rs"]
pub mod tiny_model;
