//! A handler of SIGBUS, which the system sends if a page of a mapped file cannot be read.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering::SeqCst};

/// What the handler does.
struct Exit {
    /// Made beforehand, because a signal handler must not format text.
    message: &'static str,
    code: u8,
}

static EXIT: AtomicPtr<Exit> = AtomicPtr::new(ptr::null_mut());

/// Installs a handler of SIGBUS: if a page of a mapped file cannot be read, the process prints
/// `message` on standard error and exits with `code`, at once and without unwinding. The message
/// should end with a newline.
///
/// Signal handlers are global to the process, so a library does not install one itself, and a program
/// need call this once; a later call replaces message and code, and leaves a few bytes of memory
/// behind. An earlier handler of SIGBUS is replaced. On systems without such signals this does nothing.
pub fn exit_on_lost_page(code: u8, message: &'static str) {
    // Never freed: the handler may be reading the one before.
    EXIT.store(Box::leak(Box::new(Exit { message, code })), SeqCst);
    #[cfg(unix)]
    {
        // SAFETY: all of a `sigaction` may be zero: no flags, and an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        let handler: extern "C" fn(libc::c_int) = exit;
        action.sa_sigaction = handler as *const () as libc::sighandler_t;
        // SAFETY: `action` is valid, and its handler makes only async-signal-safe calls and never
        // returns to the access that failed. If it cannot be installed, nothing changes.
        unsafe { libc::sigaction(libc::SIGBUS, &action, ptr::null_mut()) };
    }
}

#[cfg(unix)]
extern "C" fn exit(_signal: libc::c_int) {
    // SAFETY: the handler is installed after the first store, and what is stored is never freed or
    // written to again.
    let Exit { message, code } = unsafe { &*EXIT.load(SeqCst) };
    // SAFETY: `write` and `_exit` are async-signal-safe, and the text is constant.
    unsafe {
        libc::write(libc::STDERR_FILENO, message.as_ptr().cast(), message.len());
        libc::_exit((*code).into());
    }
}
