//! Single-stepping a child process between two marks.

use std::fmt;

/// Exit code of a child that may not be traced.
#[cfg_attr(
    not(all(target_os = "linux", target_arch = "x86_64")),
    allow(dead_code)
)]
const REFUSED: i32 = 77;

/// Why there is no count.
#[derive(Debug)]
pub enum Error {
    /// The system does not let a process trace its child, or has no ptrace.
    Refused,
    /// Anything else.
    Failed(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Refused => f.write_str("tracing is refused"),
            Error::Failed(problem) => f.write_str(problem),
        }
    }
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub use elsewhere::{between_marks, count};
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub use linux::{between_marks, count};

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
mod elsewhere {
    /// Nothing can be counted here.
    pub fn count(_command: &str, _arguments: &[&str]) -> Result<u64, super::Error> {
        Err(super::Error::Refused)
    }

    /// Runs the body.
    pub fn between_marks(body: impl FnOnce()) {
        body();
    }
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod linux {
    use std::arch::asm;
    use std::env;
    use std::fs;
    use std::io;
    use std::mem::offset_of;
    use std::ops::Range;
    use std::process::{Child, Command, Stdio, exit};
    use std::ptr::null_mut;

    use super::{Error, REFUSED};

    /// In the child: asks to be traced and runs the body between two marks.
    pub fn between_marks(body: impl FnOnce()) {
        // SAFETY: this request reads none of its other arguments and changes nothing but who is
        // told of our signals.
        let refused =
            unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, null_mut::<()>(), null_mut::<()>()) }
                != 0;
        if refused {
            exit(REFUSED);
        }
        mark();
        body();
        mark();
    }

    /// Stops for the tracer, which knows the address from the first time.
    #[inline(never)]
    fn mark() {
        // SAFETY: the trap stops this process until its tracer lets it go on; no register or memory
        // changes.
        unsafe { asm!("int3", options(nomem, nostack, preserves_flags)) };
    }

    /// Runs this program with a command that calls [`between_marks`], and counts the instructions
    /// of the program's own code there; those of the C library, which chooses its code by CPU,
    /// are left out.
    ///
    /// # Errors
    ///
    /// If the child cannot be traced or ends before its time.
    pub fn count(command: &str, arguments: &[&str]) -> Result<u64, Error> {
        let program = env::current_exe().map_err(failed("this program"))?;
        let child = Command::new(&program)
            .arg(command)
            .args(arguments)
            .stdin(Stdio::null())
            .spawn()
            .map_err(failed("start"))?;
        let mut tracee = Tracee(child);
        tracee.wait_for_trap()?;
        let code = tracee.code_of(&program.to_string_lossy())?;
        // The trap leaves the address after its one byte.
        let mark = tracee.instruction_pointer()? - 1;
        let mut count = 0;
        loop {
            let address = tracee.instruction_pointer()?;
            if address == mark {
                return Ok(count);
            }
            count += u64::from(code.contains(&address));
            tracee.step()?;
        }
    }

    /// A child that is traced; it ends with its owner.
    struct Tracee(Child);

    impl Tracee {
        fn pid(&self) -> libc::pid_t {
            self.0.id() as libc::pid_t
        }

        /// Waits until the child stops at a trap or after a step.
        fn wait_for_trap(&mut self) -> Result<(), Error> {
            let mut status = 0;
            // SAFETY: waits for our own child, whose status goes into a local variable.
            let waited = unsafe { libc::waitpid(self.pid(), &mut status, 0) };
            if waited != self.pid() {
                return Err(failed("wait")(io::Error::last_os_error()));
            }
            if libc::WIFSTOPPED(status) && libc::WSTOPSIG(status) == libc::SIGTRAP {
                return Ok(());
            }
            if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == REFUSED {
                return Err(Error::Refused);
            }
            Err(Error::Failed(format!(
                "the child did not reach its mark (wait status {status:#x})"
            )))
        }

        /// Runs one instruction.
        fn step(&mut self) -> Result<(), Error> {
            // SAFETY: the child is ours, traced and stopped; the request writes nothing of this
            // process.
            let result = unsafe {
                libc::ptrace(
                    libc::PTRACE_SINGLESTEP,
                    self.pid(),
                    null_mut::<()>(),
                    null_mut::<()>(),
                )
            };
            if result != 0 {
                return Err(failed("step")(io::Error::last_os_error()));
            }
            self.wait_for_trap()
        }

        fn instruction_pointer(&self) -> Result<u64, Error> {
            let offset = offset_of!(libc::user, regs) + offset_of!(libc::user_regs_struct, rip);
            // SAFETY: the child is ours, traced and stopped; the offset is that of a register in
            // its `user` area.
            let address = unsafe {
                libc::ptrace(libc::PTRACE_PEEKUSER, self.pid(), offset, null_mut::<()>())
            };
            // An address of user space is never −1, so that one means an error.
            if address == -1 {
                return Err(failed("read a register")(io::Error::last_os_error()));
            }
            Ok(address as u64)
        }

        /// Where the program's own code lies in the child.
        fn code_of(&self, program: &str) -> Result<Range<u64>, Error> {
            let maps = fs::read_to_string(format!("/proc/{}/maps", self.pid()))
                .map_err(failed("read the memory map"))?;
            let range = |line: &str| {
                let (start, rest) = line.split_once('-')?;
                let (end, rest) = rest.split_once(' ')?;
                let parse = |address| u64::from_str_radix(address, 16).ok();
                (rest.starts_with("r-x") && rest.ends_with(program))
                    .then_some(parse(start)?..parse(end)?)
            };
            maps.lines()
                .find_map(range)
                .ok_or_else(|| Error::Failed("the child's code is not in its memory map".into()))
        }
    }

    impl Drop for Tracee {
        fn drop(&mut self) {
            // It may be gone already, and then there is nothing to do.
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn failed(what: &str) -> impl FnOnce(io::Error) -> Error {
        move |error| Error::Failed(format!("cannot {what}: {error}"))
    }
}
