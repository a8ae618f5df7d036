//! Ending with a message where the system cannot give a page of the mapped file.

use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

/// What a signal handler may print: nothing that needs formatting.
const MESSAGE: &[u8] =
    b"lanewise: the model file was cut short or its disk failed while it was in \
use (SIGBUS); fetch it again, and replace a model by renaming the new file over it, not by writing \
into it\n";

static EXIT_CODE: AtomicI32 = AtomicI32::new(0);

/// From now on, if a page of a mapped file cannot be read, the process says so on standard error
/// and exits with `code`, at once and without unwinding. Otherwise it would end by a bare SIGBUS.
///
/// This is for programs, such as the command line, to call once: signal handlers belong to the
/// whole process, so the library never sets one by itself. An earlier handler of SIGBUS is
/// replaced. Where there are no such signals this does nothing.
pub fn exit_on_lost_page(code: u8) {
    EXIT_CODE.store(code.into(), Relaxed);
    #[cfg(unix)]
    {
        // SAFETY: all of a `sigaction` may be zero: no flags, and an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        let handler: extern "C" fn(libc::c_int) = exit;
        action.sa_sigaction = handler as *const () as libc::sighandler_t;
        // SAFETY: `action` is valid, and its handler only makes calls that are safe in one and
        // never returns to the access that failed. That it cannot be set (it can) changes nothing.
        unsafe { libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut()) };
    }
}

#[cfg(unix)]
extern "C" fn exit(_signal: libc::c_int) {
    // SAFETY: `write` and `_exit` may be called in a signal handler, and the buffer is constant.
    unsafe {
        libc::write(libc::STDERR_FILENO, MESSAGE.as_ptr().cast(), MESSAGE.len());
        libc::_exit(EXIT_CODE.load(Relaxed));
    }
}
