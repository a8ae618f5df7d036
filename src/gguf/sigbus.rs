//! A handler of SIGBUS, which the system sends if a page of a mapped file cannot be read.

use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

/// Constant, because a signal handler must not format text.
const MESSAGE: &[u8] =
    b"lanewise: the model file, or the file of its packed weights, was cut short or its disk failed \
while it was in use (SIGBUS); fetch the model again or remove the packed weights, and replace a \
model by renaming the new file over it, not by writing into it\n";

static EXIT_CODE: AtomicI32 = AtomicI32::new(0);

/// Installs a handler of SIGBUS: if a page of a mapped file cannot be read, the process prints a
/// message on standard error and exits with `code`, at once and without unwinding.
///
/// Programs may call this once. Signal handlers are global to the process, so the library does not
/// install one itself. An earlier handler of SIGBUS is replaced. On systems without such signals
/// this does nothing.
pub fn exit_on_lost_page(code: u8) {
    EXIT_CODE.store(code.into(), Relaxed);
    #[cfg(unix)]
    {
        // SAFETY: all of a `sigaction` may be zero: no flags, and an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        let handler: extern "C" fn(libc::c_int) = exit;
        action.sa_sigaction = handler as *const () as libc::sighandler_t;
        // SAFETY: `action` is valid, and its handler makes only async-signal-safe calls and never
        // returns to the access that failed. If it cannot be installed, nothing changes.
        unsafe { libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut()) };
    }
}

#[cfg(unix)]
extern "C" fn exit(_signal: libc::c_int) {
    // SAFETY: `write` and `_exit` are async-signal-safe, and the buffer is constant.
    unsafe {
        libc::write(libc::STDERR_FILENO, MESSAGE.as_ptr().cast(), MESSAGE.len());
        libc::_exit(EXIT_CODE.load(Relaxed));
    }
}
