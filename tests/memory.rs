//! How much memory the command takes on the real model, file pages included.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use lanewise::internals::gguf::Gguf;
use lanewise::internals::tokenizer::{SentencePiece, Tokenizer};
use lanewise::{Embedder, Isa, PackedWeights};
use lanewise_testkit::assets::{self, Variant};
use lanewise_testkit::{scratch, texts};

/// Tokens of a text that is cut at 2048, since it may be read as fewer than it was made of.
const TOKENS: usize = 3000;

/// A process's memory in MB (10⁶ bytes).
#[derive(Clone, Copy, Debug)]
struct Memory {
    /// The most that was resident at any time.
    peak: f64,
    /// What is resident now and is no page of a file.
    anonymous: f64,
}

impl Memory {
    fn of(process: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let field = |name: &str| -> f64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
            kib.expect(name).parse::<f64>().unwrap() * 1024.0 / 1e6
        };
        Self {
            peak: field("VmHWM:"),
            anonymous: field("RssAnon:"),
        }
    }
}

/// The memory of `lanewise embed` once it has written the vector of `text` and waits for another
/// line. Packed weights are used if they are in `cache`.
fn after_embedding(model: &Path, cache: &Path, text: &str) -> Memory {
    let mut process = Command::new(env!("CARGO_BIN_EXE_lanewise"))
        .args(["embed", "--threads", "2"])
        .env("LANEWISE_MODEL", model)
        .env("LANEWISE_PACKED_WEIGHTS", "use")
        .env("XDG_CACHE_HOME", cache)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null()) // that a text is cut
        .spawn()
        .unwrap();
    let mut stdin = process.stdin.take().unwrap();
    writeln!(stdin, "{text}").unwrap();
    let mut vector = String::new();
    let mut stdout = BufReader::new(process.stdout.take().unwrap());
    stdout.read_line(&mut vector).unwrap();
    assert_eq!(vector.split_whitespace().count(), 768);
    let memory = Memory::of(process.id());
    drop(stdin);
    assert!(process.wait().unwrap().success());
    memory
}

#[test]
fn a_short_text_takes_160_mb_and_a_long_one_60_mb_more() {
    let Some(model) = assets::real_model(Variant::Q8_0) else {
        return;
    };
    // Tokens from all over the vocabulary, whose rows lie all over the embedding table.
    let tokenizer = SentencePiece::from_gguf(Arc::new(Gguf::open(&model).unwrap())).unwrap();
    let ids = texts::text(TOKENS, tokenizer.vocabulary_len(), 0);
    let text = String::from_utf8_lossy(&tokenizer.decode(&ids)).replace(['\n', '\r'], " ");
    let cache = scratch!("cache");
    let _ = fs::remove_dir_all(&cache);
    for packed in [false, true] {
        if packed {
            let builder = Embedder::builder()
                .packed_weights(PackedWeights::Use)
                .packed_weights_directory(cache.join("lanewise/packed"));
            let embedder = builder.open(&model).unwrap();
            let written = embedder.write_packed_weights().unwrap();
            assert!(written.is_some() || !Isa::Avx512.is_supported());
        }
        let short = after_embedding(&model, &cache, "Hello world");
        let long = after_embedding(&model, &cache, &text);
        println!("packed weights {packed}: short {short:.0?}, long {long:.0?}");
        assert!(short.peak <= 160.0, "short {short:?}");
        assert!(short.anonymous <= 30.0, "short {short:?}");
        assert!(
            long.peak <= short.peak + 60.0,
            "short {short:?}, long {long:?}"
        );
    }
    let _ = fs::remove_dir_all(&cache);
}
