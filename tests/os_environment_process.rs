//! A process with an open model whose file changes, which forks, runs out of memory, or may use few
//! CPUs or system calls.
#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use core_affinity::CoreId;
use lanewise::internals::gguf::Gguf;
use lanewise::internals::tokenizer::{SentencePiece, Tokenizer};
use lanewise::{Embedder, Error};
use lanewise_pool::{Pool, ThreadPlan};
use lanewise_testkit::gguf_writer::Value;
use lanewise_testkit::scratch;
use lanewise_testkit::tiny_model::{self, Options};

/// A model of its own for each test, since some change it.
fn tiny(name: &str, options: &Options) -> PathBuf {
    let name = format!("{}-{name}.gguf", std::process::id());
    tiny_model::written(scratch!(name), options)
}

/// Runs a test once more in a process of its own, where it may do what would disturb others:
/// `None` there, and what it did here.
fn in_a_process_of_its_own(test: &str) -> Option<Output> {
    const NAME: &str = "LANEWISE_TEST_PROCESS";
    if std::env::var(NAME).is_ok_and(|name| name == test) {
        // SAFETY: a plain call. The signal ends what hangs.
        unsafe { libc::alarm(100) };
        return None;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    // Large buffers go back to the system as soon as they are freed, so that limits on memory
    // count.
    command.env("MALLOC_MMAP_THRESHOLD_", "65536");
    Some(command.env(NAME, test).output().unwrap())
}

#[track_caller]
fn assert_passed(output: &Output) {
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {err}", output.status);
}

/// The exit code that `body` gives in a fork of this process; `None` if a signal ended it, as one
/// does after 20 seconds.
fn in_a_fork(body: impl FnOnce() -> u8) -> Option<i32> {
    // SAFETY: the child runs `body` and leaves at once. The C library makes its allocator usable
    // after a fork, and no thread of these tests holds another lock that `body` takes.
    let status = unsafe {
        let child = libc::fork();
        assert!(child >= 0, "cannot fork");
        if child == 0 {
            libc::alarm(20);
            let code = catch_unwind(AssertUnwindSafe(body)).unwrap_or(u8::MAX);
            libc::_exit(code.into());
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
        status
    };
    ExitStatus::from_raw(status).code()
}

#[test]
fn a_file_cut_short_or_written_to_gives_an_error_and_no_vector() {
    let path = tiny("changed", &Options::default());
    let bytes = fs::read(&path).unwrap();
    type Change = fn(&Path, &[u8]);
    let changes: [(&str, Change); 2] = [
        ("cut short", |path, bytes| {
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_len(bytes.len() as u64 / 2).unwrap();
        }),
        ("written to", |path, bytes| {
            // Later than the time of the last write, whose steps are those of the clock's ticks.
            std::thread::sleep(Duration::from_millis(20));
            fs::write(path, bytes).unwrap();
        }),
    ];
    for (problem, change) in changes {
        fs::write(&path, &bytes).unwrap();
        let embedder = Embedder::open(&path).unwrap();
        embedder.embed("one").unwrap();
        change(&path, &bytes);
        for _ in 0..2 {
            let error = embedder.embed("one").unwrap_err();
            let message = error.to_string();
            assert!(
                matches!(&error, Error::File { field, .. } if field == "file"),
                "{message}"
            );
            assert!(message.contains(problem), "{message}");
            assert!(message.contains("open it again"), "{message}");
        }
        assert!(embedder.model().gguf().check_unchanged().is_err());
    }
}

#[test]
fn a_file_replaced_or_removed_stays_as_it_was_opened() {
    let path = tiny("replaced", &Options::default());
    let embedder = Embedder::open(&path).unwrap();
    let before = embedder.embed("one").unwrap();
    let other = tiny(
        "replacement",
        &Options {
            seed: 2,
            ..Options::default()
        },
    );
    fs::rename(other, &path).unwrap();
    assert_eq!(embedder.embed("one").unwrap(), before);
    assert_ne!(
        Embedder::open(&path).unwrap().embed("one").unwrap(),
        before,
        "the path leads to the new model"
    );
    fs::remove_file(&path).unwrap();
    assert_eq!(embedder.embed("one").unwrap(), before);
}

#[test]
fn a_lost_page_exits_with_a_message_and_the_chosen_code() {
    let Some(output) =
        in_a_process_of_its_own("a_lost_page_exits_with_a_message_and_the_chosen_code")
    else {
        let path = tiny("lost-page", &Options::default());
        lanewise::exit_on_lost_page(3);
        let file = Gguf::open(&path).unwrap();
        fs::write(&path, "").unwrap();
        let length = file.file_len() as usize;
        panic!("read {:?} of a lost page", file.bytes(length - 1..length));
    };
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{}: {err}", output.status);
    assert!(err.contains("cut short or its disk failed"), "{err}");
}

#[test]
fn a_fork_between_calls_gets_threads_of_its_own() {
    let test = "a_fork_between_calls_gets_threads_of_its_own";
    if let Some(output) = in_a_process_of_its_own(test) {
        return assert_passed(&output);
    }
    let path = tiny("fork", &Options::default());
    let text = "a text of some words ".repeat(10);
    let open = || Embedder::builder().threads(3).open(&path).unwrap();
    let embedder = open();
    let expected = embedder.embed(&*text).unwrap();
    let threads = || fs::read_dir("/proc/self/task").unwrap().count();
    for _ in 0..20 {
        let embedder = open();
        let code = in_a_fork(|| {
            let alone = threads();
            let same = (0..10).all(|_| embedder.embed(&*text).unwrap() == expected);
            let with_workers = threads();
            drop(embedder);
            // A thread that was joined stays listed for a moment.
            let ended = (0..1000).any(|_| {
                std::thread::sleep(Duration::from_millis(1));
                threads() == 1
            });
            assert_eq!((alone, with_workers, ended), (1, 3, true));
            u8::from(!same)
        });
        assert_eq!(code, Some(0));
        // One that was not used after the fork is dropped without waiting for its threads too.
        let unused = open();
        let code = in_a_fork(|| {
            drop(unused);
            0
        });
        assert_eq!(code, Some(0));
    }
    assert_eq!(embedder.embed(&*text).unwrap(), expected);
}

#[test]
fn a_fork_while_another_thread_embeds_never_hangs() {
    let test = "a_fork_while_another_thread_embeds_never_hangs";
    if let Some(output) = in_a_process_of_its_own(test) {
        return assert_passed(&output);
    }
    let options = Options {
        layers: 12,
        ..Options::default()
    };
    let embedder = Embedder::builder()
        .threads(2)
        .open(tiny("fork-turn", &options))
        .unwrap();
    let text = "a text of some words ".repeat(10);
    let expected = embedder.embed(&*text).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Relaxed) {
                assert_eq!(embedder.embed(&*text).unwrap(), expected);
            }
        });
        let codes: Vec<Option<i32>> = (0..100)
            .map(|_| {
                in_a_fork(|| match embedder.embed(&*text) {
                    Ok(vector) => u8::from(vector != expected),
                    Err(error) if error.to_string().contains("forked while another") => 2,
                    Err(_) => 3,
                })
            })
            .collect();
        done.store(true, Relaxed);
        assert!(
            codes.iter().all(|code| [Some(0), Some(2)].contains(code)),
            "{codes:?}"
        );
        assert!(codes.contains(&Some(2)), "none was forked during a turn");
    });
}

#[test]
fn memory_exhaustion_is_an_error_and_leaves_the_embedder_usable() {
    let test = "memory_exhaustion_is_an_error_and_leaves_the_embedder_usable";
    if let Some(output) = in_a_process_of_its_own(test) {
        return assert_passed(&output);
    }
    let options = Options {
        hidden: 256,
        context: 2048,
        ..Options::default()
    };
    let path = tiny("memory", &options);
    let text = "a text of some words ".repeat(40);
    let texts = [text.as_str(); 4];
    // On one thread: a second one might just be starting, which takes memory as well.
    let open = || Embedder::builder().threads(1).open(&path).unwrap();
    let mut expected = vec![0.0; 4 * 256];
    open().embed_batch_into(&texts, &mut expected).unwrap();

    let mut refused = 0;
    for kilobytes in (0..4_000).step_by(25) {
        let embedder = open();
        embedder.embed("short").unwrap();
        let encoded = texts.map(|text| embedder.encode(text).unwrap());
        let mut out = vec![0.0; expected.len()];
        limit_memory(Some(kilobytes << 10));
        let result = embedder.embed_encoded(&encoded, &mut out);
        limit_memory(None);
        match result {
            Ok(()) => assert_eq!(out, expected),
            Err(error) => {
                refused += 1;
                assert!(matches!(error, Error::Memory { .. }), "{error}");
                assert!(error.to_string().contains("fewer or shorter"), "{error}");
                embedder.embed_encoded(&encoded, &mut out).unwrap();
                assert_eq!(out, expected);
            }
        }
    }
    assert!(refused > 10, "{refused} limits were too low");
}

#[test]
fn memory_exhaustion_in_the_tokenizer_is_an_error() {
    let test = "memory_exhaustion_in_the_tokenizer_is_an_error";
    if let Some(output) = in_a_process_of_its_own(test) {
        return assert_passed(&output);
    }
    const TOKENS: usize = 200_000;
    let mut file = tiny_model::build(&Options::default());
    let bytes = (0..=255).map(|byte: u8| (format!("<0x{byte:02X}>"), 6));
    let others = (256..TOKENS).map(|id| (format!("piece {id}"), [1, 3][id % 2]));
    let (pieces, types): (Vec<_>, Vec<_>) = bytes.chain(others).unzip();
    let pieces = pieces.into_iter().map(String::into_bytes).collect();
    file.set("tokenizer.ggml.tokens", Value::Strings(pieces));
    file.set("tokenizer.ggml.scores", Value::F32s(vec![0.0; TOKENS]));
    file.set("tokenizer.ggml.token_type", Value::I32s(types));
    let path = tiny("vocabulary", &Options::default());
    file.write(&path).unwrap();

    let gguf = Arc::new(Gguf::open(&path).unwrap());
    let needed = SentencePiece::from_gguf(Arc::clone(&gguf))
        .unwrap()
        .heap_size() as u64;
    let mut refused = 0;
    for permille in (0..2000).step_by(50) {
        limit_memory(Some(needed * permille / 1000));
        let tokenizer = SentencePiece::from_gguf(Arc::clone(&gguf));
        limit_memory(None);
        match tokenizer {
            Ok(tokenizer) => assert_eq!(tokenizer.vocabulary_len(), TOKENS),
            Err(error) => {
                refused += 1;
                let message = error.to_string();
                assert!(message.starts_with(&*path.to_string_lossy()), "{message}");
                assert!(message.contains("no memory for their index"), "{message}");
            }
        }
    }
    assert!((10..30).contains(&refused), "{refused} limits were too low");
}

/// Allows this process `more` bytes of private memory beyond what it has, or any amount.
fn limit_memory(more: Option<u64>) {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let data_and_stack = statm.split(' ').nth(5).unwrap();
    let pages: u64 = data_and_stack.parse().unwrap();
    // SAFETY: plain calls; `limit` is valid.
    unsafe {
        let page = libc::sysconf(libc::_SC_PAGESIZE) as u64;
        let mut limit = std::mem::zeroed();
        assert_eq!(libc::getrlimit(libc::RLIMIT_DATA, &raw mut limit), 0);
        limit.rlim_cur = more.map_or(limit.rlim_max, |more| pages * page + more);
        assert_eq!(libc::setrlimit(libc::RLIMIT_DATA, &raw const limit), 0);
    }
}

#[test]
fn refused_pinning_leaves_workers_unpinned() {
    let mut plan = ThreadPlan::choose(Some(3)).unwrap();
    plan.cpus = vec![Some(CoreId { id: 1_000 }); 3];
    let mut pool = Pool::new(&plan).unwrap();
    let begun = std::sync::atomic::AtomicUsize::new(0);
    // Each task waits until all threads run one.
    pool.for_each(3, |_, _| {
        begun.fetch_add(1, Relaxed);
        while begun.load(Relaxed) < 3 {
            std::thread::yield_now();
        }
    });
}

#[test]
fn a_cpu_mask_with_holes_is_respected_with_any_thread_count() {
    let test = "a_cpu_mask_with_holes_is_respected_with_any_thread_count";
    if let Some(output) = in_a_process_of_its_own(test) {
        return assert_passed(&output);
    }
    let path = tiny("mask", &Options::default());
    let text = "a text of some words ".repeat(10);
    let all = core_affinity::get_core_ids().unwrap();
    let expected = Embedder::open(&path).unwrap().embed(&*text).unwrap();
    // Every second CPU from the last down.
    let kept: Vec<CoreId> = all.iter().rev().step_by(2).copied().collect();
    // SAFETY: an empty set is all zeros, and `CPU_SET` ignores what does not fit it.
    unsafe {
        let mut set = std::mem::zeroed();
        kept.iter().for_each(|cpu| libc::CPU_SET(cpu.id, &mut set));
        assert_eq!(libc::sched_setaffinity(0, size_of_val(&set), &set), 0);
    }
    let plan = ThreadPlan::choose(None).unwrap();
    assert_eq!(plan.cpus.len(), kept.len());
    assert!(plan.cpus.iter().flatten().all(|cpu| kept.contains(cpu)));
    for threads in [1, 2, 3, 8] {
        let embedder = Embedder::builder().threads(threads).open(&path).unwrap();
        assert_eq!(embedder.embed(&*text).unwrap(), expected);
    }
}

#[test]
fn a_sandbox_that_refuses_optional_calls_changes_no_vector() {
    let test = "a_sandbox_that_refuses_optional_calls_changes_no_vector";
    if let Some(output) = in_a_process_of_its_own(test) {
        print!("{}", String::from_utf8_lossy(&output.stdout));
        return assert_passed(&output);
    }
    let path = tiny("sandbox", &Options::default());
    let embed = |threads| {
        let embedder = Embedder::builder().threads(threads).open(&path).unwrap();
        embedder.embed("a text of some words").unwrap()
    };
    let expected = embed(2);
    if !refuse_what_is_not_needed() {
        return println!("SKIPPED: no seccomp filter can be set here");
    }
    for threads in [1, 2, 3] {
        assert_eq!(embed(threads), expected);
    }
}

/// From now on the system refuses this thread and its children the clocks of threads, all about
/// affinity, and advice on memory; `false` if it has no such filters.
fn refuse_what_is_not_needed() -> bool {
    use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
    let step = |code: u32, k: u32, jt: u8| libc::sock_filter {
        code: code as u16,
        jt,
        jf: 0,
        k,
    };
    let load = |offset: usize| step(BPF_LD | BPF_W | BPF_ABS, offset as u32, 0);
    // Skips this many instructions if equal, and none otherwise.
    let jump_if = |value: u32, steps| step(BPF_JMP | BPF_JEQ | BPF_K, value, steps);
    let give = |what| step(BPF_RET | BPF_K, what, 0);
    let filter = [
        load(std::mem::offset_of!(libc::seccomp_data, nr)),
        jump_if(libc::SYS_sched_setaffinity as u32, 7),
        jump_if(libc::SYS_sched_getaffinity as u32, 6),
        jump_if(libc::SYS_madvise as u32, 5),
        jump_if(libc::SYS_clock_gettime as u32, 1),
        give(libc::SECCOMP_RET_ALLOW),
        load(std::mem::offset_of!(libc::seccomp_data, args)),
        jump_if(libc::CLOCK_THREAD_CPUTIME_ID as u32, 1),
        give(libc::SECCOMP_RET_ALLOW),
        give(libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: plain calls. `program` and the `filter` it points to outlive them; the system copies
    // both.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const program,
            ) == 0
    }
}
