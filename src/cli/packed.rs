//! Packed weights in files: what the command line does with them, and says of them.

use std::io;

use lanewise::internals::packed::PackedState;
use lanewise::{Embedder, Error, PackedWeights};

use super::failure::report;

/// Says so if a file of packed weights is ignored.
pub fn report_ignored(state: &PackedState) {
    if let PackedState::Ignored { path, reason } = state {
        report(format_args!(
            "{}: {reason}; these packed weights are not used, which changes no vector",
            path.display()
        ));
    }
}

/// Writes the packed weights if that was asked for and they are not in use. Nothing fails without
/// them.
pub fn write(embedder: &Embedder, asked: PackedWeights) {
    if asked != PackedWeights::UseAndWrite || !embedder.packed_state().may_be_written() {
        return;
    }
    let written = embedder.write_packed_weights_with(|path| {
        report(format_args!(
            "{}: writing packed weights for later runs, once (--no-packed-weights does without)",
            path.display()
        ));
    });
    match written {
        Ok(_) => {}
        // A home directory that cannot be written to is a decision, and no news in each run.
        Err(Error::Io { source, .. })
            if matches!(
                source.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
            ) => {}
        Err(error) => report(format_args!("{error}")),
    }
}
