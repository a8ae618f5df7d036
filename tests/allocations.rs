//! A forward pass allocates nothing after the first of its size, counted over all threads of the
//! process.
//!
//! What is measured is [`Runtime::embed`], from ids to vectors in the caller's buffer. Around it
//! `Embedder` allocates a text's ids and, for a prompt, the prompted text;
//! `Embedder::embed_encoded` one list of references a call.

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use lanewise::internals::{Runtime, RuntimeOptions};
use lanewise::{Embedder, PackedWeights};
use lanewise_testkit::assets::{self, Variant};
use lanewise_testkit::gguf_writer::Encoding;
use lanewise_testkit::scratch;
use lanewise_testkit::texts::{text, texts};
use lanewise_testkit::tiny_bert;
use lanewise_testkit::tiny_gemma2;
use lanewise_testkit::tiny_model::{self, Options};
use lanewise_testkit::tiny_pre_norm;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator with a count.
struct Counting;

/// Counts an allocation, unless it is of the process's main thread while the test runs on another:
/// the test harness prints from there if a test takes longer than a minute.
fn count() {
    #[cfg(target_os = "linux")]
    // SAFETY: neither call has preconditions; neither allocates.
    let harness = unsafe { libc::gettid() == libc::getpid() } && !ON_MAIN_THREAD.load(Relaxed);
    #[cfg(not(target_os = "linux"))]
    let harness = false;
    ALLOCATIONS.fetch_add(usize::from(!harness), Relaxed);
}

/// Whether the test runs on the main thread, as it does with `--test-threads=1`.
static ON_MAIN_THREAD: AtomicBool = AtomicBool::new(false);

// SAFETY: every call is handed on unchanged to the system's allocator, which keeps the contract;
// counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// One test, so that no other allocates meanwhile.
#[test]
fn a_forward_pass_after_the_first_allocates_nothing() {
    #[cfg(target_os = "linux")]
    // SAFETY: neither call has preconditions.
    ON_MAIN_THREAD.store(unsafe { libc::gettid() == libc::getpid() }, Relaxed);
    let tiny = tiny_model::written(scratch!("tiny.gguf"), &Options::default());
    let floats = Options {
        encoding: Encoding::F32,
        ..Options::default()
    };
    let floats = tiny_model::written(scratch!("floats.gguf"), &floats);
    let [bert, fused] = [false, true].map(|fused| {
        let options = tiny_bert::Options {
            fused,
            ..tiny_bert::Options::default()
        };
        tiny_bert::written(scratch!(format!("bert-{fused}.gguf")), &options)
    });
    let nomic = tiny_bert::Options::nomic();
    let nomic = tiny_bert::written(scratch!("nomic.gguf"), &nomic);
    let gemma2 = tiny_gemma2::Options::default();
    let gemma2 = tiny_gemma2::written(scratch!("gemma2.gguf"), &gemma2);
    let qwen3 = tiny_pre_norm::Options::qwen3();
    let qwen3 = tiny_pre_norm::written(scratch!("qwen3.gguf"), &qwen3);
    let modern_bert = tiny_pre_norm::Options::modern_bert();
    let modern_bert = tiny_pre_norm::written(scratch!("modern-bert.gguf"), &modern_bert);
    for packed in [PackedWeights::Off, PackedWeights::UseAndWrite] {
        for threads in [1, 2, 5] {
            check(&tiny, threads, packed);
        }
        for path in [
            &floats,
            &bert,
            &fused,
            &nomic,
            &gemma2,
            &qwen3,
            &modern_bert,
        ] {
            check(path, 2, packed);
        }
        if let Some(real) = assets::real_model(Variant::Q8_0) {
            check(&real, 2, packed);
        }
    }
    let _ = std::fs::remove_dir_all(scratch!("packed"));
}

fn check(path: &Path, threads: usize, packed: PackedWeights) {
    let builder = Embedder::builder().packed_weights(packed);
    let builder = builder.packed_weights_directory(scratch!("packed"));
    let settings = RuntimeOptions::default();
    let (model, _) = builder.open_model(path, &settings).unwrap();
    let shape = model.shape();
    let settings = RuntimeOptions {
        threads: Some(threads),
        ..RuntimeOptions::default()
    };
    let mut runtime = Runtime::new(model, &settings).unwrap();
    let longest = shape.context.min(600);
    // The second batch has more texts, the third longer ones: the first pass over all grows every
    // buffer.
    let batches = [
        vec![text(4, shape.vocabulary, 0)],
        texts(20, 2, 40, shape.vocabulary),
        vec![text(longest, shape.vocabulary, 1)],
        texts(5, 2, longest, shape.vocabulary),
    ];
    let mut vectors = vec![0.0; 20 * shape.width];
    let mut counts = Vec::new();
    for pass in 0..3 {
        for batch in &batches {
            let ids: Vec<&[u32]> = batch.iter().map(Vec::as_slice).collect();
            let out = &mut vectors[..ids.len() * shape.width];
            let before = ALLOCATIONS.load(Relaxed);
            runtime.embed(&ids, out).unwrap();
            let count = ALLOCATIONS.load(Relaxed) - before;
            if pass > 0 {
                counts.push(count);
            }
        }
    }
    assert!(
        counts.iter().all(|&count| count == 0),
        "{threads} threads, {packed:?}: {counts:?} allocations in the passes after the first"
    );
}
