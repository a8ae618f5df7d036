//! Every input format of bulk embedding: rows or an error, whatever is in the file.
//!
//! The input is a format, damage to a small valid file of it, and for the text formats a dialect and
//! a file. Of text, the same rows must come whether those before them are read or skipped, each in
//! a line of its own or a later one.

use std::panic;
use std::sync::{Arc, LazyLock, Once};

use lanewise_bulk::internals::arrow_array::types::Int32Type;
use lanewise_bulk::internals::arrow_array::{
    ArrayRef, Int64Array, ListArray, RecordBatch, StringArray, StringViewArray, StructArray,
};
use lanewise_bulk::internals::arrow_ipc::CompressionType;
use lanewise_bulk::internals::arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use lanewise_bulk::internals::parquet::arrow::ArrowWriter;
use lanewise_bulk::internals::parquet::basic::Compression;
use lanewise_bulk::internals::parquet::file::properties::WriterProperties;
use lanewise_bulk::{Dialect, InputFormat, Quote, ReadBudget, ReadOptions, Row, Rows};
use libfuzzer_sys::arbitrary::Unstructured;

use crate::{byte, damage, pick, with_file};

/// Rows read of a file at most: a few bytes can stand for many equal rows.
const MOST_ROWS: usize = 10_000;

/// Valid files of the formats that nothing but a writer makes, in every compression, and two JSON
/// objects (`{"id":1,"text":"a","list":[1],"nested":{"part":"x"}}`) in every container.
static WRITTEN: LazyLock<Vec<(InputFormat, Vec<u8>)>> = LazyLock::new(|| {
    let batch = batch();
    let compressions = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::ZSTD(Default::default()),
        Compression::GZIP(Default::default()),
        Compression::LZ4_RAW,
    ];
    let mut files: Vec<_> = compressions
        .map(|compression| (InputFormat::Parquet, parquet(&batch, compression)))
        .into();
    for compression in [
        None,
        Some(CompressionType::ZSTD),
        Some(CompressionType::LZ4_FRAME),
    ] {
        files.push((InputFormat::Arrow, arrow_file(&batch, compression)));
    }
    files.push((InputFormat::Arrow, arrow_stream(&batch)));
    let containers: [&[u8]; 4] = [
        include_bytes!("compressed/rows.jsonl.gz"),
        include_bytes!("compressed/rows.jsonl.zst"),
        include_bytes!("compressed/rows.jsonl.bz2"),
        include_bytes!("compressed/rows.jsonl.xz"),
    ];
    files.extend(containers.map(|bytes| (InputFormat::Jsonl, bytes.to_vec())));
    files
});

/// Runs the target.
///
/// # Panics
/// If a reader panics, or an error has no message.
pub fn run(data: &[u8]) {
    report_no_panics();
    let mut input = Unstructured::new(data);
    let options = |format| ReadOptions {
        format: Some(format),
        dialect: Dialect::default(),
        field: "text".into(),
        id_field: Some("id".into()),
        keep: vec!["list".into(), "nested.part".into()],
        max_row_bytes: 4096,
        budget: ReadBudget {
            bytes: 1 << 30,
            rest_bytes: 0,
        },
    };
    let skipped = u64::from(byte(&mut input) % 4);
    let kind = usize::from(byte(&mut input));
    if let Some((format, file)) = WRITTEN.get(kind % (WRITTEN.len() + 8)) {
        let mut bytes = file.clone();
        for _ in 0..=byte(&mut input) % 4 {
            let reach = bytes.len();
            damage(&mut bytes, reach, &mut input);
        }
        read(&bytes, skipped, options(*format));
        return;
    }
    let text_formats = [
        InputFormat::Lines,
        InputFormat::Jsonl,
        InputFormat::Csv,
        InputFormat::Tsv,
    ];
    let format = pick(&mut input, &text_formats);
    let mut options = options(format);
    let kind = byte(&mut input);
    if kind % 2 == 0 {
        (options.id_field, options.keep) = (None, Vec::new());
    }
    if kind % 3 == 0 {
        options.max_row_bytes = 16;
    }
    if matches!(format, InputFormat::Csv | InputFormat::Tsv) {
        options.dialect = dialect(&mut input);
        if options.dialect.no_header {
            options.field = "1".into();
        }
    }
    let bytes = input.take_rest();
    let all = read(bytes, 0, options.clone());
    let rest = read(bytes, skipped, options);
    if let (Some(all), Some(rest)) = (all, rest) {
        let lines = |rows: &[Row]| -> Vec<(u64, bool)> {
            rows.iter()
                .map(|row| (row.line, row.outcome.is_ok()))
                .collect()
        };
        let all = lines(&all);
        assert!(all.is_sorted_by_key(|(line, _)| *line), "{all:?}");
        let from = all.len().min(skipped as usize);
        assert_eq!(
            all[from..],
            lines(&rest)[..all.len() - from],
            "skipped {skipped}"
        );
    }
}

/// How fields are told apart; two settings may have the same character.
fn dialect(input: &mut Unstructured) -> Dialect {
    let delimiters = [None, Some(b';'), Some(b'|'), Some(b'a')];
    let quotes = [
        None,
        Some(Quote::None),
        Some(Quote::Byte(b'"')),
        Some(Quote::Byte(b'\'')),
    ];
    Dialect {
        delimiter: pick(input, &delimiters),
        quote: pick(input, &quotes),
        escape: pick(input, &[None, None, Some(b'\\'), Some(b'"')]),
        no_header: byte(input) % 2 == 0,
    }
}

/// The rows after those skipped, if the file has no fault as a whole.
fn read(bytes: &[u8], skipped: u64, options: ReadOptions) -> Option<Vec<Row>> {
    with_file(bytes, |path| {
        let result = Rows::open(&[path.to_path_buf()], options).and_then(|mut rows| {
            rows.skip_rows(skipped)?;
            rows.take(MOST_ROWS).collect::<Result<Vec<Row>, _>>()
        });
        if let Err(error) = &result {
            let message = error.to_string();
            assert!(message.len() > 20, "{message}");
        }
        result.ok()
    })
}

/// The readers turn panics of the crates that decode into errors, so a panic as such is no find;
/// one that passes them by still ends the target.
fn report_no_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| panic::set_hook(Box::new(|_| ())));
}

fn batch() -> RecordBatch {
    let texts = [
        Some("one"),
        None,
        Some(""),
        Some("väter\nund söhne"),
        Some("one"),
    ];
    let lists = [
        Some(vec![Some(1), None]),
        None,
        Some(vec![]),
        Some(vec![Some(3)]),
        None,
    ];
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3, 4, i64::MAX]));
    let texts_too: ArrayRef = Arc::new(StringViewArray::from(texts.to_vec()));
    let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists));
    let nested = [("part", texts_too)];
    let nested = RecordBatch::try_from_iter(nested).expect("one column is a batch");
    let nested: ArrayRef = Arc::new(StructArray::from(nested));
    let texts: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
    let columns = [
        ("id", ids),
        ("text", texts),
        ("list", lists),
        ("nested", nested),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
        .expect("columns of one length are a batch")
}

fn parquet(batch: &RecordBatch, compression: Compression) -> Vec<u8> {
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_max_row_group_row_count(Some(3))
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties))
        .expect("the schema can be written");
    writer
        .write(batch)
        .and_then(|()| writer.close())
        .expect("memory takes all");
    bytes
}

fn arrow_file(batch: &RecordBatch, compression: Option<CompressionType>) -> Vec<u8> {
    let options = IpcWriteOptions::default().try_with_compression(compression);
    let options = options.expect("the crate has both compressions");
    let mut bytes = Vec::new();
    let mut writer = FileWriter::try_new_with_options(&mut bytes, &batch.schema(), options)
        .expect("the schema can be written");
    writer
        .write(batch)
        .and_then(|()| writer.finish())
        .expect("memory takes all");
    drop(writer);
    bytes
}

fn arrow_stream(batch: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer =
        StreamWriter::try_new(&mut bytes, &batch.schema()).expect("the schema can be written");
    writer
        .write(batch)
        .and_then(|()| writer.finish())
        .expect("memory takes all");
    drop(writer);
    bytes
}
