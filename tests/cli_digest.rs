//! The digest of a model file is remembered, and read anew when the file may have changed.
#![cfg(all(unix, feature = "bulk"))]

mod cli_support;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use cli_support::{TINY, command, feed, scratch};
use serde_json::Value;

/// The fingerprints of the spaces of a model.
fn spaces(model: &Path, cache: &Path, packed_weights: &str) -> Value {
    let mut info = command();
    info.env("XDG_CACHE_HOME", cache)
        .env("LANEWISE_MODEL", model)
        .env("LANEWISE_PACKED_WEIGHTS", packed_weights)
        .args(["info", "--json"]);
    let run = feed(info, b"");
    assert_eq!(run.code, 0, "{}", run.err);
    let info: Value = serde_json::from_str(&run.out).unwrap();
    assert!(info["spaces"].is_object(), "{info}");
    info["spaces"].clone()
}

fn remembered(cache: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(cache.join("lanewise/digests"));
    let entries = entries.into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Until the file has been as it is for long enough.
fn wait() {
    sleep(Duration::from_millis(3100));
}

#[test]
fn a_digest_is_remembered_for_one_state_of_the_file() {
    let model = scratch("digest-model");
    fs::copy(TINY.as_path(), &model).unwrap();
    let cache = scratch("digest-cache").with_extension("directory");
    let _ = fs::remove_dir_all(&cache);
    let expected = spaces(&model, &cache, "use");
    assert_eq!(remembered(&cache), [""; 0].map(PathBuf::from), "too early");
    wait();
    assert_eq!(spaces(&model, &cache, "off"), expected);
    assert_eq!(remembered(&cache).len(), 0, "not asked for");
    assert_eq!(spaces(&model, &cache, "use"), expected);
    let [file] = &remembered(&cache)[..] else {
        panic!("{:?}", remembered(&cache))
    };
    assert_eq!(spaces(&model, &cache, "use"), expected);

    // It is what is stated.
    let content = fs::read_to_string(file).unwrap();
    let digest = content.trim_end().len() - 64;
    fs::write(file, format!("{}{}\n", &content[..digest], "0".repeat(64))).unwrap();
    let other = spaces(&model, &cache, "use");
    assert_ne!(other, expected);
    assert_eq!(spaces(&model, &cache, "off"), expected);

    // Of the same length and time, but in another state.
    let time = fs::metadata(&model).unwrap().modified().unwrap();
    let mut bytes = fs::read(&model).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&model, &bytes).unwrap();
    let opened = fs::File::options().write(true).open(&model).unwrap();
    opened.set_modified(time).unwrap();
    drop(opened);
    let changed = spaces(&model, &cache, "use");
    assert!(changed != other && changed != expected);
    assert_eq!(changed, spaces(&model, &cache, "off"));

    // Whatever is in its place is no digest.
    for content in ["", "lanewise digest 1", "\u{0}\u{0}", &content] {
        fs::write(file, content).unwrap();
        assert_eq!(spaces(&model, &cache, "use"), changed);
    }
}
