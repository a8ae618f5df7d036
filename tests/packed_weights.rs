//! Packed weights in a file change no vector, whatever becomes of the file.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use lanewise::internals::packed::PackedState;
use lanewise::{Embedder, EmbedderBuilder, Isa, PackedWeights};
use lanewise_testkit::assets::{self, Variant};
use lanewise_testkit::gguf_writer::Encoding;
use lanewise_testkit::random::Random;
use lanewise_testkit::scratch;
use lanewise_testkit::tiny_model::{self, Options};

const TEXTS: [&str; 3] = [
    "Hello world",
    "",
    "a text of a few more words than the others have, so that tiles differ",
];

/// A model and a directory for its packed weights, for one test.
struct Fixture {
    model: PathBuf,
    directory: PathBuf,
}

impl Fixture {
    /// `None`, and a line that says so, if this CPU has no kernels with packed weights.
    fn new(name: &str, options: &Options) -> Option<Self> {
        if !Isa::Avx512.is_supported() {
            println!("SKIPPED: this CPU has no kernels whose packed weights are kept");
            return None;
        }
        let directory = scratch!(format!("{name}-packed"));
        let _ = fs::remove_dir_all(&directory);
        let model = tiny_model::written(scratch!(format!("{name}.gguf")), options);
        Some(Self { model, directory })
    }

    fn builder(&self, packed: PackedWeights) -> EmbedderBuilder {
        let builder = Embedder::builder().packed_weights(packed);
        builder.packed_weights_directory(&self.directory)
    }

    fn open(&self, packed: PackedWeights) -> Embedder {
        self.builder(packed).open(&self.model).unwrap()
    }

    /// The vectors without packed weights.
    fn expected(&self) -> Vec<Vec<u32>> {
        vectors(&self.open(PackedWeights::Off))
    }

    /// Writes the file, and returns its path.
    fn write(&self) -> PathBuf {
        let embedder = self.open(PackedWeights::UseAndWrite);
        match embedder.packed_state() {
            PackedState::Used { path, .. } => path.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// The names of all files in the directory.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.directory).unwrap();
        let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
        let mut names: Vec<String> = entries.map(|entry| name(entry.unwrap())).collect();
        names.sort();
        names
    }

    /// Opens the model with a file that must be ignored, for the reason given, and be replaced
    /// where that is asked for.
    #[track_caller]
    fn assert_ignored(&self, reason: &str, expected: &[Vec<u32>]) {
        let embedder = self.open(PackedWeights::Use);
        let state = embedder.packed_state();
        let PackedState::Ignored { reason: found, .. } = state else {
            panic!("{state:?}");
        };
        assert!(found.contains(reason), "{found}");
        assert_eq!(vectors(&embedder), expected, "{reason}");
        let embedder = self.open(PackedWeights::UseAndWrite);
        let state = embedder.packed_state();
        assert!(matches!(state, PackedState::Used { .. }), "{state:?}");
        assert_eq!(vectors(&embedder), expected, "{reason}");
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The bits of the vectors of the texts, alone and together.
fn vectors(embedder: &Embedder) -> Vec<Vec<u32>> {
    let bits = |vector: Vec<f32>| vector.into_iter().map(f32::to_bits).collect();
    let alone = TEXTS.map(|text| bits(embedder.embed(text).unwrap().vector));
    let together = embedder.embed_batch(&TEXTS).unwrap();
    let together: Vec<Vec<u32>> = together.into_iter().map(|text| bits(text.vector)).collect();
    assert_eq!(alone[..], together[..]);
    together
}

#[test]
fn vectors_have_the_same_bits_with_and_without() {
    for (name, encoding) in [
        ("q8", Encoding::Q8_0),
        ("f32", Encoding::F32),
        ("bf16", Encoding::Bf16),
    ] {
        let options = Options {
            encoding,
            layers: 7,
            ..Options::default()
        };
        let Some(fixture) = Fixture::new(name, &options) else {
            return;
        };
        let expected = fixture.expected();
        fixture.write();
        for threads in [1, 2, 5] {
            let builder = fixture.builder(PackedWeights::Use).threads(threads);
            let embedder = builder.open(&fixture.model).unwrap();
            let state = embedder.packed_state();
            assert!(matches!(state, PackedState::Used { .. }), "{state:?}");
            assert_eq!(vectors(&embedder), expected, "{name}, {threads} threads");
        }
        for isa in [Isa::Scalar, Isa::Avx2] {
            let builder = fixture.builder(PackedWeights::Use).isa(isa);
            let embedder = builder.open(&fixture.model).unwrap();
            let state = embedder.packed_state();
            assert!(matches!(state, PackedState::NotWithThese(_)), "{state:?}");
            assert_eq!(vectors(&embedder), expected, "{name}, {isa}");
        }
    }
}

#[test]
fn vectors_of_the_real_model_have_the_same_bits() {
    let (Some(model), Some(fixture)) = (
        assets::real_model(Variant::Q8_0),
        Fixture::new("real", &Options::default()),
    ) else {
        return;
    };
    let fixture = Fixture {
        model,
        directory: fixture.directory.clone(),
    };
    let expected = fixture.expected();
    fixture.write();
    assert_eq!(vectors(&fixture.open(PackedWeights::Use)), expected);
}

#[test]
fn a_file_is_written_only_where_that_is_asked_for() {
    let Some(fixture) = Fixture::new("asked", &Options::default()) else {
        return;
    };
    let expected = fixture.expected();
    let embedder = fixture.open(PackedWeights::Use);
    let state = embedder.packed_state();
    assert!(matches!(state, PackedState::Absent { .. }), "{state:?}");
    assert!(!fixture.directory.exists());
    let path = embedder.write_packed_weights().unwrap().unwrap();
    assert_eq!(vectors(&embedder), expected);
    assert!(path.starts_with(&fixture.directory));
    // An embedder that uses it, or wants none, writes none.
    for packed in [PackedWeights::Use, PackedWeights::Off] {
        let embedder = fixture.open(packed);
        assert_eq!(embedder.write_packed_weights().unwrap(), None);
    }
    assert_eq!(fixture.names().len(), 1);
}

#[test]
fn any_damage_to_the_file_is_found_and_it_is_ignored() {
    let Some(fixture) = Fixture::new("damaged", &Options::default()) else {
        return;
    };
    let expected = fixture.expected();
    let path = fixture.write();
    let whole = fs::read(&path).unwrap();
    let flipped = |place: usize| {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x10;
        bytes
    };
    let last = whole.len() - 1;
    let damages: [(&str, Vec<u8>); 13] = [
        ("no file of packed weights", flipped(0)),
        ("header is damaged", flipped(20)),
        ("header is damaged", flipped(130)),
        ("header is damaged", flipped(4095)),
        ("content is damaged", flipped(4096)),
        ("content is damaged", flipped(whole.len() / 2)),
        ("content is damaged", flipped(last)),
        ("bytes, not", whole[..last].to_vec()),
        ("bytes, not", whole[..4096].to_vec()),
        ("no file of packed weights", whole[..4095].to_vec()),
        ("bytes, not", [&whole[..], &[0; 64]].concat()),
        ("content is damaged", {
            let mut zeros = whole.clone();
            zeros[8192..12288].fill(0);
            zeros
        }),
        ("is empty", Vec::new()),
    ];
    for (reason, bytes) in damages {
        fs::write(&path, bytes).unwrap();
        fixture.assert_ignored(reason, &expected);
        assert_eq!(fs::read(&path).unwrap(), whole, "written anew");
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let embedder = fixture.open(PackedWeights::UseAndWrite);
    let state = embedder.packed_state();
    assert!(matches!(state, PackedState::Ignored { .. }), "{state:?}");
    assert_eq!(vectors(&embedder), expected);
}

#[test]
fn random_damage_never_changes_a_vector() {
    let Some(fixture) = Fixture::new("hostile", &Options::default()) else {
        return;
    };
    let expected = fixture.expected();
    let path = fixture.write();
    let whole = fs::read(&path).unwrap();
    let mut random = Random(7);
    for _ in 0..300 {
        let mut bytes = whole.clone();
        // Mostly in the header, of which the first part holds numbers.
        for _ in 0..1 + random.below(3) {
            let reach = [160, 4096, bytes.len()][random.below(3)].min(bytes.len());
            let place = random.below(reach);
            match random.below(4) {
                0 => bytes.truncate(place),
                1 => bytes[place] = 0xff,
                2 => bytes[place] = 0,
                _ => bytes[place] ^= 1 << random.below(8),
            }
            if bytes.is_empty() {
                break;
            }
        }
        fs::write(&path, &bytes).unwrap();
        let embedder = fixture.open(PackedWeights::Use);
        let used = matches!(embedder.packed_state(), PackedState::Used { .. });
        assert_eq!(used, bytes == whole);
        let vector = embedder.embed(TEXTS[0]).unwrap().vector;
        let bits: Vec<u32> = vector.into_iter().map(f32::to_bits).collect();
        assert_eq!(bits, expected[0]);
    }
}

#[test]
fn another_model_at_the_same_path_gets_panels_of_its_own() {
    let options = Options::default();
    let Some(fixture) = Fixture::new("other", &options) else {
        return;
    };
    fixture.write();
    let modified = fs::metadata(&fixture.model).unwrap().modified().unwrap();
    let length = fs::metadata(&fixture.model).unwrap().len();
    // Of the same length, and with the time of the first set back.
    for (seed, in_place) in [(2, true), (3, false)] {
        let seeded = Options {
            seed,
            ..options.clone()
        };
        if in_place {
            tiny_model::write(&fixture.model, &seeded).unwrap();
        } else {
            let other = tiny_model::written(scratch!("other-3.gguf"), &seeded);
            fs::rename(other, &fixture.model).unwrap();
        }
        let file = File::options().append(true).open(&fixture.model).unwrap();
        file.set_modified(modified).unwrap();
        assert_eq!(file.metadata().unwrap().len(), length);
        let expected = fixture.expected();
        fixture.assert_ignored("another model", &expected);
    }
    assert_eq!(fixture.names().len(), 1);
}

#[test]
fn a_single_changed_weight_makes_another_model() {
    let Some(fixture) = Fixture::new("weight", &Options::default()) else {
        return;
    };
    fixture.write();
    let modified = fs::metadata(&fixture.model).unwrap().modified().unwrap();
    let mut bytes = fs::read(&fixture.model).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&fixture.model, bytes).unwrap();
    let file = File::options().append(true).open(&fixture.model).unwrap();
    file.set_modified(modified).unwrap();
    let expected = fixture.expected();
    fixture.assert_ignored("another model", &expected);
}

#[test]
fn writers_at_the_same_time_leave_one_whole_file() {
    let Some(fixture) = Fixture::new("writers", &Options::default()) else {
        return;
    };
    let expected = fixture.expected();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..5 {
                    let embedder = fixture.open(PackedWeights::Use);
                    // It uses a whole file, or there was none yet.
                    let state = embedder.packed_state();
                    assert!(!matches!(state, PackedState::Ignored { .. }), "{state:?}");
                    let model = embedder.model();
                    let place = lanewise::internals::packed::Place {
                        kernels: lanewise_kernels::Kernels::detect(),
                        directory: Some(fixture.directory.clone()),
                    };
                    lanewise::internals::packed::write(model, &place, |_| ()).unwrap();
                    assert_eq!(vectors(&embedder), expected);
                }
            });
        }
    });
    assert_eq!(fixture.names().len(), 1);
    assert_eq!(vectors(&fixture.open(PackedWeights::Use)), expected);
}

#[test]
fn a_directory_that_cannot_be_written_to_is_no_failure() {
    let Some(fixture) = Fixture::new("directory", &Options::default()) else {
        return;
    };
    let expected = fixture.expected();
    // Beneath a file there are no directories; and in /proc not even root makes any.
    for directory in [fixture.model.join("packed"), "/proc/packed".into()] {
        let builder = fixture.builder(PackedWeights::UseAndWrite);
        let builder = builder.packed_weights_directory(directory);
        let embedder = builder.open(&fixture.model).unwrap();
        let used = matches!(embedder.packed_state(), PackedState::Used { .. });
        assert!(!used);
        assert_eq!(vectors(&embedder), expected);
        if embedder.packed_state().may_be_written() {
            let message = embedder.write_packed_weights().unwrap_err().to_string();
            assert!(message.contains("not needed"), "{message}");
        }
    }
}

#[test]
fn a_file_changed_while_in_use_is_left_and_panels_are_packed() {
    type Change = fn(&Path, &[u8]);
    let changes: [(&str, Change); 3] = [
        ("overwritten", |path, bytes| {
            // Later than the time of the last write, whose steps are those of the clock's ticks.
            std::thread::sleep(std::time::Duration::from_millis(20));
            fs::write(path, vec![0x55; bytes.len()]).unwrap();
        }),
        ("cut-short", |path, _| {
            let file = File::options().write(true).open(path).unwrap();
            file.set_len(4096).unwrap();
        }),
        ("removed", |path, _| fs::remove_file(path).unwrap()),
    ];
    for encoding in [Encoding::Q8_0, Encoding::F32] {
        let options = Options {
            encoding,
            ..Options::default()
        };
        for (name, change) in changes {
            let Some(fixture) = Fixture::new(name, &options) else {
                return;
            };
            let expected = fixture.expected();
            let path = fixture.write();
            let bytes = fs::read(&path).unwrap();
            let embedder = fixture.open(PackedWeights::Use);
            assert_eq!(vectors(&embedder), expected);
            change(&path, &bytes);
            assert_eq!(vectors(&embedder), expected, "{name}");
            assert_eq!(vectors(&embedder), expected, "{name}");
        }
    }
}
