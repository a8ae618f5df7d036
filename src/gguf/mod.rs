//! Reading GGUF files: a map of the file, its metadata, its tensors as views.
