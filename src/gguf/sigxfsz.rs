//! The signal that the system sends if a file becomes larger than the process may write.

/// Makes a write beyond the limit on the size of files (`ulimit -f`) an error like any other,
/// instead of the end of the process by SIGXFSZ.
///
/// Signal dispositions are global to the process, so the library does not change this one itself.
/// On systems without the signal this does nothing.
pub fn report_file_size_limit() {
    #[cfg(unix)]
    // SAFETY: ignoring a signal runs no code of this process, and the call cannot fail for a signal
    // that exists.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}
