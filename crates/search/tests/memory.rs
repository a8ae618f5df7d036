//! Memory beyond the mapped pages does not grow with the rows: no array has a score of each. Alone in its
//! process, whose memory it measures.
#![cfg(target_os = "linux")]

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;

use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array, Int8Array, RecordBatch, UInt8Array};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema};
use lanewise_bulk::OverflowPolicy;
use lanewise_bulk::outputs::metadata_of;
use lanewise_search::{Index, OpenOptions, Search, Space};

const DIMS: usize = 32;
const BATCH: usize = 8192;

/// Writes vectors in INT8 and bits, of which no two are likely to be equal.
fn write(directory: &Path, rows: usize) -> Result<PathBuf, ArrowError> {
    let space = Space {
        version: "0".into(),
        model: "numbers".into(),
        model_sha256: "00".into(),
        prompt: "document".into(),
        prompt_text: String::new(),
        pooling: "mean".into(),
        dense_heads: false,
        dims: DIMS,
        precision: "i8+binary".parse().unwrap(),
        overflow: OverflowPolicy::Error,
    };
    let item = |numbers| Arc::new(Field::new_list_field(numbers, false));
    let (i8s, bits) = (item(DataType::Int8), item(DataType::UInt8));
    let sizes = [DIMS as i32, DIMS as i32 / 8];
    let list = |item: &Arc<Field>, size| DataType::FixedSizeList(Arc::clone(item), size);
    let fields = vec![
        Field::new("scale", DataType::Float32, false),
        Field::new("embedding", list(&i8s, sizes[0]), false),
        Field::new("embedding_binary", list(&bits, sizes[1]), false),
    ];
    let metadata: HashMap<_, _> = metadata_of(&space, rows as u64).into_iter().collect();
    let schema = Arc::new(Schema::new(fields).with_metadata(metadata));
    let path = directory.join(format!("{rows}.arrow"));
    let mut file = FileWriter::try_new(File::create(&path)?, &schema)?;
    let mut state = 1_u64;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as u8
    };
    for start in (0..rows).step_by(BATCH) {
        let count = BATCH.min(rows - start);
        let values: Vec<i8> = (0..count * DIMS).map(|_| byte().cast_signed()).collect();
        let signs = values.chunks(8).map(|values| {
            let bits = values.iter().enumerate();
            bits.fold(0, |byte, (at, value)| byte | u8::from(*value > 0) << at)
        });
        let signs: UInt8Array = signs.collect::<Vec<u8>>().into();
        let scales = Float32Array::from(vec![0.01; count]);
        let values = Int8Array::from(values);
        let columns: [ArrayRef; 3] = [
            Arc::new(scales),
            Arc::new(FixedSizeListArray::try_new(
                Arc::clone(&i8s),
                sizes[0],
                Arc::new(values),
                None,
            )?),
            Arc::new(FixedSizeListArray::try_new(
                Arc::clone(&bits),
                sizes[1],
                Arc::new(signs),
                None,
            )?),
        ];
        file.write(&RecordBatch::try_new(Arc::clone(&schema), columns.into())?)?;
    }
    file.finish()?;
    Ok(path)
}

/// Kilobytes of memory that are of no file.
fn anonymous_kb() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mut lines = status.lines();
    let line = lines
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// By how much memory grows while an index is opened and searched in every way.
fn growth_kb(path: &Path) -> usize {
    let before = anonymous_kb();
    let (done, most) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Relaxed) {
                most.fetch_max(anonymous_kb(), Relaxed);
                thread::yield_now();
            }
        });
        let options = OpenOptions {
            threads: Some(2),
            ..OpenOptions::default()
        };
        let index = Index::open_all(&[path], &options).unwrap();
        let vector = |number: usize| -> Vec<f32> {
            let values = (0..DIMS).map(|at| ((number * 7 + at * 13) % 17) as f32 - 8.1);
            values.collect()
        };
        let queries: Vec<_> = (0..64).map(vector).collect();
        for approximate in [None, Some(8)] {
            for count in [1, 64] {
                let search = Search {
                    approximate,
                    ..Search::exact(10)
                };
                let found = index.search_batch(&queries[..count], &search).unwrap();
                assert!(found.iter().all(|hits| hits.len() == 10));
            }
        }
        done.store(true, Relaxed);
    });
    most.into_inner().saturating_sub(before)
}

#[test]
fn memory_of_a_search_does_not_grow_with_the_rows() {
    let directory = tempfile::tempdir().unwrap();
    let paths = [100_000, 1_000_000].map(|rows| write(directory.path(), rows).unwrap());
    // What is allocated once.
    growth_kb(&paths[0]);
    let [few, many] = [&paths[0], &paths[1]].map(|path| growth_kb(path));
    // The scores of one query would be 4 MB.
    assert!(
        many < few + 2048,
        "{few} kB, and {many} kB with ten times the rows"
    );
    assert!(many < 64 << 10, "{many} kB");
}
