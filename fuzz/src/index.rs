//! Index files: hits or an error, whatever is in the file, and the hits are those of its vectors.
//!
//! The input is one of the outputs of `embed`, damage to it or to a file beside it, and searches. What is
//! found is compared with scores of the vectors that the reader of outputs, which shares no code with
//! the scan, finds in the same file.

use std::cmp::Ordering;
use std::convert::Infallible;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Once};

use lanewise_bulk::internals::arrow_ipc::CompressionType;
use lanewise_bulk::internals::arrow_ipc::reader::FileReader;
use lanewise_bulk::internals::arrow_ipc::writer::{FileWriter, IpcWriteOptions};
use lanewise_bulk::outputs::{Stored, Texts};
use lanewise_bulk::{
    CancelToken, Dialect, Embed, Job, ModelMemory, OverflowPolicy, ReadBudget, Shard, Usage,
    panics_are_caught,
};
use lanewise_kernels::{Isa, Kernels};
use lanewise_search::{
    Error, Filter, Hit, Index, OpenOptions, Pair, Precision, RowSet, Search, Space, Where,
};
use lanewise_vectors::Number;
use libfuzzer_sys::arbitrary::Unstructured;
use serde_json::Value;

use crate::{SCRATCH, byte, damage, pick};

/// A multiple of 8, as several precisions need it.
const DIMS: usize = 24;
const ROWS: u64 = 9;
/// Files of more rows are searched, and their hits not compared: damage can repeat a batch many times.
const MOST_ROWS: u64 = 100;
/// What is searched first, of the precisions that all files have.
const ORDER: [Precision; 4] = [
    Precision::I8,
    Precision::F32,
    Precision::F16,
    Precision::Binary,
];
/// How many times `k` rows are scored again.
const RESCORED: usize = 4;

/// An output, and the files beside it: what their names add to that of the output, and their bytes.
struct Seed {
    files: Vec<(String, Vec<u8>)>,
}

/// One of each format, and of Arrow IPC one for each way in which it is read.
static SEEDS: LazyLock<Vec<Seed>> = LazyLock::new(|| {
    let directory = SCRATCH.with_extension("seeds");
    fs::create_dir_all(&directory).expect("scratch can be written");
    let mut seeds = Vec::new();
    for precision in ["i8", "f32", "i8+binary", "f16+binary", "i8+f32"] {
        seeds.push(seed(&directory, precision, "arrow", None));
    }
    for compression in [CompressionType::ZSTD, CompressionType::LZ4_FRAME] {
        seeds.push(seed(&directory, "i8", "arrow", Some(compression)));
    }
    for (precision, format) in [
        ("i8+f32", "parquet"),
        ("binary", "parquet"),
        ("i8+binary", "jsonl"),
        ("f16", "jsonl"),
        ("f32", "npy"),
        ("i8", "npy"),
    ] {
        seeds.push(seed(&directory, precision, format, None));
    }
    fs::remove_dir_all(&directory).expect("scratch can be removed");
    seeds
});

/// Runs the target.
///
/// # Panics
/// If the search panics, finds something else than the best rows, or an error has no message.
pub fn run(data: &[u8]) {
    report_own_panics();
    let mut input = Unstructured::new(data);
    let number = usize::from(byte(&mut input));
    let seed = &SEEDS[number % SEEDS.len()];
    let mut files = seed.files.clone();
    let kind = byte(&mut input);
    let first = [Some(&seed.files), None][usize::from(kind) % 2];
    let at = usize::from(byte(&mut input));
    for _ in 0..kind / 2 % 5 {
        // The output itself more often than what is beside it.
        let at = if at < 160 { 0 } else { at % files.len() };
        let reach = files[at].1.len();
        damage(&mut files[at].1, reach, &mut input);
    }
    let mut written = Vec::new();
    let mut paths = Vec::new();
    // With a file before it that is sound.
    for (name, files) in [("first", first), ("index", Some(&files))] {
        let Some(files) = files else { continue };
        for (suffix, bytes) in files {
            let path = path(name, suffix);
            fs::write(&path, bytes).expect("scratch can be written");
            written.push(path);
        }
        paths.push(path(name, ""));
    }
    let options = OpenOptions {
        threads: Some(1),
        isa: None,
    };
    match Index::open_all(&paths, &options) {
        Ok(index) => search(&index, &paths, &mut input),
        Err(error) => check_message(&error),
    }
    for path in written {
        fs::remove_file(path).expect("scratch can be removed");
    }
}

fn path(name: &str, suffix: &str) -> PathBuf {
    SCRATCH.with_extension(format!("{name}{suffix}"))
}

fn check_message(error: &Error) {
    let message = error.to_string();
    assert!(message.len() > 20, "{message}");
}

/// The crates that decode panic on some damage, which is caught; every other panic is a find.
fn report_own_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !panics_are_caught() {
                report(info);
            }
        }));
    });
}

/// Searches an index in every way, and compares what is found.
fn search(index: &Index, paths: &[PathBuf], input: &mut Unstructured) {
    let count = usize::from(byte(input)) % 4;
    let queries: Vec<Vec<f32>> = (0..count).map(|_| query(index.dims(), input)).collect();
    let k = pick(input, &[0, 1, 3, 10, usize::MAX]);
    let approximate = pick(
        input,
        &[None, None, Some(0), Some(1), Some(2), Some(usize::MAX)],
    );
    let kind = byte(input);
    let rows: RowSet = (0..64).filter(|row| kind >> (row % 8) & 1 == 1).collect();
    let column = pick(input, &["parity", "id", "text", "embedding", "none"]);
    let value = pick(input, &["even", "odd", "r3", "1"]);
    let conditions = [Where {
        column: column.into(),
        value: value.into(),
    }];
    let filter = pick(
        input,
        &[Filter::All, Filter::Rows(&rows), Filter::Where(&conditions)],
    );
    let search = Search {
        k,
        approximate,
        rescore: kind % 4 == 0,
        filter,
    };
    let found = index.search_batch(&queries, &search);
    let row = u64::from(byte(input)) % 16;
    let similar = index.similar(row, &search);
    let above = pick(input, &[-1.0, 0.5, 1.0, f32::NAN]);
    let mut pairs = Vec::new();
    let compared = index.duplicates(
        above,
        &CancelToken::new(),
        |_, _| (),
        |pair| {
            pairs.push(pair);
            match pairs.len() < 1 << 14 {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        },
    );
    let errors = [
        found.as_ref().err(),
        similar.as_ref().err(),
        compared.as_ref().err(),
    ];
    errors.into_iter().flatten().for_each(check_message);
    let records = (0..index.rows().min(MOST_ROWS)).map(|row| index.record(row));
    let records: Result<Vec<_>, _> = records.collect();
    if let Err(error) = &records {
        check_message(error);
    }
    assert!(index.record(index.rows()).is_err());

    // The reader of outputs refuses more: what search does not look at.
    let Some(vectors) = Vectors::read(paths) else {
        return;
    };
    assert_eq!(vectors.scales.len() as u64, index.rows());
    if index.rows() > MOST_ROWS {
        return;
    }
    assert_eq!(vectors.precisions, index.precisions());
    let passes = |row: u64| -> Option<bool> {
        match filter {
            Filter::All => Some(true),
            Filter::Rows(rows) => Some(rows.contains(row)),
            Filter::Where(_) => {
                let record = &records.as_ref().ok()?[row as usize];
                let id = record.id.as_ref().filter(|_| column == "id");
                let kept = record.kept.iter().find(|(name, _)| name == column);
                match id.or(kept.map(|(_, value)| value)) {
                    Some(Value::String(text)) => Some(text == value),
                    Some(Value::Null) | None => Some(false),
                    // As text in another form than in JSON.
                    Some(_) => None,
                }
            }
        }
    };
    let passing: Option<Vec<bool>> = (0..index.rows()).map(passes).collect();
    if let Some(passing) = &passing {
        let allowed = |row: u64| passing[row as usize];
        // What the arguments are refused for is checked by other tests.
        if let Ok(found) = &found {
            assert_eq!(found.len(), queries.len());
            for (query, hits) in queries.iter().zip(found) {
                let query = vectors.stored(query);
                let expected = vectors.best(&query, &search, allowed);
                let expected = expected.expect("the scan refuses vectors without a score");
                same(hits, &expected);
            }
        }
        if let Ok(similar) = &similar {
            let expected = vectors.best(&vectors.row(row), &search, |other| {
                other != row && allowed(other)
            });
            same(similar, &expected.expect("as above"));
        }
        let usable = |query: &Vec<f32>| {
            query.len() == vectors.dims && query.iter().all(|value| value.is_finite())
        };
        let plain = k > 0 && approximate.is_none() && !search.rescore;
        if matches!(filter, Filter::All | Filter::Rows(_))
            && plain
            && let Err(error) = &found
            && queries.iter().all(usable)
        {
            let mut queries = queries.iter().map(|query| vectors.stored(query));
            let refused = queries.any(|query| {
                query.scale <= 0.0 || vectors.best(&query, &search, allowed).is_none()
            });
            assert!(refused, "{error}");
        }
    }
    if compared.is_ok() {
        let expected = vectors.pairs(above).expect("as above");
        let expected = &expected[..expected.len().min(1 << 14)];
        let bits = |pair: &Pair| (pair.first, pair.second, pair.score.to_bits());
        let pairs: Vec<_> = pairs.iter().map(bits).collect();
        let expected: Vec<_> = expected.iter().map(bits).collect();
        assert_eq!(pairs, expected);
    }
}

/// Compares rows, their order and the bits of scores.
fn same(hits: &[Hit], expected: &[Hit]) {
    let bits = |hit: &Hit| (hit.row, (hit.score + 0.0).to_bits());
    let hits: Vec<_> = hits.iter().map(bits).collect();
    let expected: Vec<_> = expected.iter().map(bits).collect();
    assert_eq!(hits, expected);
}

fn query(dims: usize, input: &mut Unstructured) -> Vec<f32> {
    let edges = [0.0, -0.0, 1.0, 1e-45, 3e38, f32::NAN, f32::INFINITY];
    let special = byte(input);
    // No more bytes of the input than a query of the seeds needs.
    let bytes: Vec<f32> = (0..DIMS)
        .map(|_| f32::from(byte(input).cast_signed()) / 128.0)
        .collect();
    let mut values: Vec<f32> = bytes.into_iter().cycle().take(dims).collect();
    if let Some(&edge) = edges.get(usize::from(special) / 8)
        && let Some(value) = values.get_mut(usize::from(special) % 8)
    {
        *value = edge;
    }
    if special % 32 == 31 {
        values.pop();
    }
    values
}

/// A vector in all precisions.
struct Query {
    stored: Vec<(Precision, Vec<u8>)>,
    floats: Vec<f32>,
    scale: f32,
}

/// The vectors of files as the reader of outputs finds them.
struct Vectors {
    dims: usize,
    /// Those that all files have, in [`ORDER`].
    precisions: Vec<Precision>,
    /// Of each row in each of the precisions.
    stored: Vec<Vec<Vec<u8>>>,
    scales: Vec<f32>,
}

impl Vectors {
    /// `None` if it refuses a file.
    fn read(paths: &[PathBuf]) -> Option<Self> {
        let budget = ReadBudget {
            bytes: 1 << 30,
            rest_bytes: 0,
        };
        let open = |path: &PathBuf| Stored::open(path, Texts::Unread, budget).ok();
        let files: Option<Vec<Stored>> = paths.iter().map(open).collect();
        let files = files?;
        let in_all = |precision: &Precision| {
            let mut files = files.iter();
            files.all(|file| file.space.precision.contains(*precision))
        };
        let mut own = Self {
            dims: files[0].space.dims,
            precisions: ORDER.into_iter().filter(in_all).collect(),
            stored: Vec::new(),
            scales: Vec::new(),
        };
        for file in files {
            let space = file.space.clone();
            for row in file {
                let embedded = row.ok()?.embedded;
                let part = |precision: &Precision| {
                    let mut parts = space.precision.parts(space.dims);
                    let (_, part) = parts.find(|(other, _)| other == precision)?;
                    Some(embedded.vector[part].to_vec())
                };
                let stored = own.precisions.iter().map(part);
                own.stored.push(stored.collect::<Option<Vec<_>>>()?);
                own.scales.push(embedded.scale);
            }
        }
        Some(own)
    }

    /// A vector as rows are stored.
    fn stored(&self, vector: &[f32]) -> Query {
        let encode = |precision: Precision| {
            let mut bytes = Vec::new();
            precision.encode(vector, &mut bytes);
            (precision, bytes)
        };
        Query {
            stored: ORDER.map(encode).into(),
            floats: vector.to_vec(),
            scale: Precision::I8.encode(vector, &mut Vec::new()),
        }
    }

    /// A row as a query.
    fn row(&self, row: u64) -> Query {
        let stored = &self.stored[row as usize];
        let stored: Vec<_> = self
            .precisions
            .iter()
            .copied()
            .zip(stored.iter().cloned())
            .collect();
        let floats = [Precision::F32, Precision::F16];
        let floats = floats.into_iter().find_map(|precision| {
            let (_, bytes) = stored.iter().find(|(other, _)| *other == precision)?;
            Some(decoded(precision, bytes))
        });
        Query {
            stored,
            floats: floats.unwrap_or_default(),
            scale: self.scales[row as usize],
        }
    }

    /// The score of a row, `None` if it has none.
    fn score(&self, row: u64, query: &Query, precision: Precision) -> Option<f32> {
        let slot = self.precisions.iter().position(|own| *own == precision)?;
        let vector = &self.stored[row as usize][slot];
        let (_, stored) = query.stored.iter().find(|(own, _)| *own == precision)?;
        let pairs = || vector.iter().zip(stored);
        match precision {
            Precision::I8 => {
                let scale = self.scales[row as usize];
                let products =
                    pairs().map(|(&a, &b)| i32::from(a.cast_signed()) * i32::from(b.cast_signed()));
                let usable = scale > 0.0 && scale < f32::INFINITY;
                usable.then(|| products.sum::<i32>() as f32 * scale * query.scale)
            }
            Precision::Binary => {
                let different: u32 = pairs().map(|(a, b)| (a ^ b).count_ones()).sum();
                Some(1.0 - 2.0 * different as f32 / self.dims as f32)
            }
            Precision::F32 | Precision::F16 => {
                let mut score = [0.0];
                let kernels = Kernels::for_isa(Isa::Scalar).expect("every CPU has it");
                kernels.dot_f32(&decoded(precision, vector), &query.floats, &mut score);
                score[0].is_finite().then_some(score[0])
            }
        }
    }

    /// The score of a row in the first of two stages: of its signs, and of a query of eight levels.
    fn coarse_score(&self, row: u64, query: &Query) -> Option<f32> {
        let i8s = query.stored.iter().find(|(own, _)| *own == Precision::I8);
        let values: Vec<f64> = match i8s {
            Some((_, i8s)) => i8s.iter().map(|value| value.cast_signed().into()).collect(),
            None => query.floats.iter().map(|&value| value.into()).collect(),
        };
        let squares: f64 = values.iter().map(|value| value * value).sum();
        let step = 0.586 * (squares / values.len() as f64).sqrt();
        let slot = self
            .precisions
            .iter()
            .position(|own| *own == Precision::Binary)?;
        let signs = &self.stored[row as usize][slot];
        let distance = values.iter().enumerate().map(|(at, value)| {
            let level = ((value / step).floor() + 4.0).clamp(0.0, 7.0) as u32;
            // Of a sign that is set, each bit of the level that is not, by its weight.
            match signs[at / 8] >> (7 - at % 8) & 1 {
                0 => level,
                _ => 7 - level,
            }
        });
        let distance: u32 = distance.sum();
        Some(1.0 - 2.0 * distance as f32 / (7 * self.dims) as f32)
    }

    /// The best of some rows, in a precision or coarsely.
    fn ranked(
        &self,
        query: &Query,
        precision: Option<Precision>,
        rows: impl Iterator<Item = u64>,
        k: usize,
    ) -> Option<Vec<Hit>> {
        let hit = |row| {
            let score = match precision {
                Some(precision) => self.score(row, query, precision)?,
                None => self.coarse_score(row, query)?,
            };
            Some(Hit { row, score })
        };
        let mut hits = rows.map(hit).collect::<Option<Vec<_>>>()?;
        hits.sort_by(|a, b| {
            let scores = b.score.partial_cmp(&a.score);
            scores.unwrap_or(Ordering::Equal).then(a.row.cmp(&b.row))
        });
        hits.truncate(k);
        Some(hits)
    }

    /// What a search finds of the allowed rows; `None` if some row has no score.
    fn best(
        &self,
        query: &Query,
        search: &Search<'_>,
        allowed: impl Fn(u64) -> bool,
    ) -> Option<Vec<Hit>> {
        let main = self.precisions[0];
        let times = |factor: usize| search.k.saturating_mul(factor);
        let mut stages = Vec::new();
        if let Some(factor) = search.approximate {
            let rescored = if search.rescore { RESCORED } else { 1 };
            stages.push((None, times(factor.max(rescored))));
        }
        if search.rescore && main != Precision::F32 {
            stages.extend([
                (Some(main), times(RESCORED)),
                (Some(Precision::F32), search.k),
            ]);
        } else {
            stages.push((Some(main), search.k));
        }
        let all = 0..self.scales.len() as u64;
        // The scan looks at every row, whether it is allowed or not.
        self.ranked(query, stages[0].0, all.clone(), 0)?;
        let mut rows: Vec<u64> = all.filter(|&row| allowed(row)).collect();
        let mut hits = Vec::new();
        for (precision, k) in stages {
            hits = self.ranked(query, precision, rows.into_iter(), k)?;
            rows = hits.iter().map(|hit| hit.row).collect();
        }
        Some(hits)
    }

    /// All pairs from a score on, by their rows.
    fn pairs(&self, above: f32) -> Option<Vec<Pair>> {
        let rows = self.scales.len() as u64;
        let mut pairs = Vec::new();
        for first in 0..rows {
            let query = self.row(first);
            for second in first + 1..rows {
                let score = self.score(second, &query, self.precisions[0])?;
                if score >= above {
                    pairs.push(Pair {
                        first,
                        second,
                        score,
                    });
                }
            }
        }
        Some(pairs)
    }
}

fn decoded(precision: Precision, bytes: &[u8]) -> Vec<f32> {
    let numbers = precision.decode(bytes);
    let float = |number| match number {
        Number::Float(value) => value,
        Number::Integer(value) => value.into(),
    };
    numbers.map(float).collect()
}

/// A model whose vectors follow from the text.
struct Model;

impl Embed for Model {
    type Encoded = Vec<u32>;
    type Error = Infallible;

    fn dims(&self) -> usize {
        DIMS
    }

    fn context(&self) -> usize {
        64
    }

    fn overflow_problem(&self) -> String {
        "is too long".into()
    }

    fn memory(&self) -> ModelMemory {
        ModelMemory {
            model_bytes: 0,
            bytes_per_token: 64,
            tokens_per_pass: 64,
            tokens_per_call: 64,
        }
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>, Infallible> {
        Ok(text.chars().map(u32::from).collect())
    }

    fn usage(encoded: &Vec<u32>) -> Usage {
        Usage {
            tokens: encoded.len(),
            truncated: false,
        }
    }

    fn ids(encoded: &Vec<u32>) -> &[u32] {
        encoded
    }

    fn bytes_read(&self, text: &str, _: &Vec<u32>) -> usize {
        text.len()
    }

    fn embed(&self, texts: &[Vec<u32>], vectors: &mut [f32]) -> Result<(), Infallible> {
        for (text, vector) in texts.iter().zip(vectors.chunks_mut(DIMS)) {
            // Two texts have the same vector.
            let mut state = u64::from(text[0] % 8 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            for value in vector {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                *value = ((state >> 40) as f32 / (1 << 23) as f32 - 1.0) / 4.0;
            }
        }
        Ok(())
    }
}

/// Writes an output into a directory, reads it and the files beside it, and removes them.
fn seed(
    directory: &Path,
    precision: &str,
    format: &str,
    compression: Option<CompressionType>,
) -> Seed {
    let input = directory.join("input.jsonl");
    let line = |row: u64| {
        let parity = if row % 2 == 0 { "even" } else { "odd" };
        format!("{{\"id\":\"r{row}\",\"text\":\"{row}\",\"parity\":\"{parity}\"}}\n")
    };
    fs::write(&input, (0..ROWS).map(line).collect::<String>()).expect("scratch can be written");
    let name = format!("vectors.{format}");
    let output = directory.join(&name);
    let job = Job {
        input: vec![input.clone()],
        input_format: None,
        dialect: Dialect::default(),
        output: output.clone(),
        output_format: None,
        field: "text".into(),
        id_field: Some("id".into()),
        keep: vec!["text".into(), "parity".into()],
        reuse: Vec::new(),
        max_memory: 1 << 30,
        resume: None,
        force: false,
        shard: Shard::WHOLE,
        model: None,
    };
    let space = Space {
        version: "0".into(),
        model: "texts".into(),
        model_sha256: "00".into(),
        prompt: "raw".into(),
        prompt_text: String::new(),
        pooling: "mean".into(),
        dense_heads: true,
        dims: DIMS,
        precision: precision.parse().expect("they are precisions"),
        overflow: OverflowPolicy::Error,
    };
    let run = job.check().and_then(|job| job.open(Arc::new(Model)));
    let run = run.expect("the job can run");
    run.execute(space, &CancelToken::new(), &mut ())
        .expect("the job runs");
    fs::remove_file(&input).expect("scratch can be removed");
    if let Some(compression) = compression {
        let bytes = compressed(&fs::read(&output).expect("it was written"), compression);
        fs::write(&output, bytes).expect("scratch can be written");
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("scratch can be read") {
        let path = entry.expect("scratch can be read").path();
        let file = path.file_name().and_then(|name| name.to_str());
        let suffix = file.and_then(|file| file.strip_prefix(&name));
        let suffix = suffix.expect("all files are beside the output");
        files.push((suffix.to_owned(), fs::read(&path).expect("it is there")));
        fs::remove_file(&path).expect("scratch can be removed");
    }
    // The output first, and the same order in every run.
    files.sort();
    Seed { files }
}

/// An Arrow IPC file with compressed record batches.
fn compressed(file: &[u8], compression: CompressionType) -> Vec<u8> {
    let reader = FileReader::try_new(std::io::Cursor::new(file), None);
    let reader = reader.expect("the output is such a file");
    let schema = reader.schema();
    let options = IpcWriteOptions::default().try_with_compression(Some(compression));
    let options = options.expect("the crate has both compressions");
    let mut bytes = Vec::new();
    let mut writer = FileWriter::try_new_with_options(&mut bytes, &schema, options)
        .expect("the schema can be written");
    for batch in reader {
        let batch = batch.expect("the output is sound");
        writer.write(&batch).expect("memory takes all");
    }
    writer.finish().expect("memory takes all");
    drop(writer);
    bytes
}
