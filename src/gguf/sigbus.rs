//! What a program says if a page of a model cannot be read.

const MESSAGE: &str = "lanewise: the model file, or the file of its packed weights, was cut short or its disk failed \
while it was in use (SIGBUS); fetch the model again or remove the packed weights, and replace a \
model by renaming the new file over it, not by writing into it\n";

/// Installs a handler of SIGBUS: if a page of a mapped file cannot be read, the process prints a
/// message on standard error and exits with `code`, at once and without unwinding.
///
/// Programs may call this once. Signal handlers are global to the process, so the library does not
/// install one itself. An earlier handler of SIGBUS is replaced. On systems without such signals
/// this does nothing.
pub fn exit_on_lost_page(code: u8) {
    lanewise_map::exit_on_lost_page(code, MESSAGE);
}
