//! The public interface of the library.

use std::path::PathBuf;
use std::sync::LazyLock;

use lanewise::{Embedder, Input, Overflow, Prompt, cosine};
use lanewise_testkit::scratch;
use lanewise_testkit::tiny_model::{self, Options};

static TINY: LazyLock<PathBuf> =
    LazyLock::new(|| tiny_model::written(scratch!("tiny.gguf"), &Options::default()));

fn open() -> Embedder {
    Embedder::open(&*TINY).unwrap()
}

#[test]
fn a_batch_gives_the_bits_that_each_text_gives_alone() {
    let embedder = open();
    let long = "a longer text of several words ".repeat(20);
    let texts = ["one", "", long.as_str(), "two"];
    let batch = embedder.embed_batch(&texts).unwrap();
    for (text, embedding) in texts.iter().zip(&batch) {
        assert_eq!(&embedder.embed(*text).unwrap(), embedding);
    }
    assert_eq!(embedder.embed_batch::<&str>(&[]).unwrap(), []);

    // More tokens than one pass takes.
    let texts: Vec<String> = (0..40).map(|i| format!("{i} {long}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let batch = embedder.embed_batch(&texts).unwrap();
    assert!(batch.iter().map(|one| one.usage.tokens).sum::<usize>() > 2048);
    for (text, embedding) in texts.iter().zip(&batch) {
        assert_eq!(&embedder.embed(*text).unwrap(), embedding);
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let vector = |threads| {
        let embedder = Embedder::builder().threads(threads).open(&*TINY).unwrap();
        embedder.embed("the same text each time").unwrap().vector
    };
    assert_eq!(vector(1), vector(2));
    assert_eq!(vector(1), vector(3));
}

#[test]
fn queries_and_documents_get_their_prompts() {
    let embedder = open();
    let spelled = |text: &str| embedder.embed(text).unwrap();
    assert_eq!(
        embedder.embed_query("q").unwrap(),
        spelled("task: search result | query: q")
    );
    assert_eq!(
        embedder.embed_document(None, "d").unwrap(),
        spelled("title: none | text: d")
    );
    assert_eq!(
        embedder.embed_document(Some("t"), "d").unwrap(),
        spelled("title: t | text: d")
    );
    assert_eq!(
        embedder.embed(Input::new(Prompt::Clustering, "c")).unwrap(),
        spelled("task: clustering | query: c")
    );
}

#[test]
fn embed_into_fills_the_buffer_in_order_and_checks_its_length() {
    let embedder = Embedder::builder().dims(16).open(&*TINY).unwrap();
    let mut out = vec![0.0; 2 * 16];
    let usages = embedder
        .embed_batch_into(&["one", "two"], &mut out)
        .unwrap();
    assert!(
        usages
            .iter()
            .all(|usage| usage.tokens > 2 && !usage.truncated)
    );
    assert_eq!(out[16..], embedder.embed("two").unwrap().vector);
    assert!((cosine(&out[..16], &out[..16]) - 1.0).abs() < 1e-6);

    let error = embedder
        .embed_into("one", &mut out)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("has 32 values") && error.contains("16"),
        "{error}"
    );
}

#[test]
fn truncation_is_reported_or_refused() {
    let long = "a b c d ".repeat(300);
    let usage = open().embed(long.as_str()).unwrap().usage;
    assert_eq!((usage.tokens, usage.truncated), (256, true));
    let strict = Embedder::builder()
        .overflow(Overflow::Error)
        .open(&*TINY)
        .unwrap();
    let error = strict.embed(long.as_str()).unwrap_err().to_string();
    assert!(error.contains("256 tokens"), "{error}");
    assert!(strict.embed("short").is_ok());
}

#[test]
fn threads_can_share_an_embedder() {
    let embedder = open();
    let expected = embedder.embed("text").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(embedder.embed("text").unwrap(), expected));
        }
    });
}
