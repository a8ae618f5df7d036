//! Reading GGUF files: a map of the file, its metadata, its tensors as views.
//!
//! Versions 2 and 3 in little-endian order, as described in the format's specification
//! (`docs/gguf.md` of ggml). Nothing of any size is copied out of the map: arrays and tensors stay
//! byte ranges of the file, checked once when it is opened. The reader knows nothing of models.

mod bundled;
mod cursor;
mod file;
mod map;
mod sigbus;
mod sigxfsz;
mod tensor;
mod value;

pub use bundled::bundled_path;
pub use file::Gguf;
pub use lanewise_map::FileIdentity;
pub use map::Map;
pub use sigbus::exit_on_lost_page;
pub use sigxfsz::report_file_size_limit;
pub use tensor::{TensorInfo, TensorType};
pub use value::{Array, Strings, Value, ValueType};
