//! Files that are damaged on purpose: a result or a failure, without a panic and without memory for
//! what is not there.

use arrow_array::types::Int32Type;
use arrow_array::{DictionaryArray, Int64Array, ListArray, StringArray, StringViewArray};

use arrow_ipc::{Block, root_as_footer};

use super::*;
use crate::formats::arrow::{Column, data_type, shown};

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// Some change of the kinds that break decoders: bits, extreme numbers, cuts, repeats.
    fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            match self.below(6) {
                _ if bytes.is_empty() => bytes.push(self.next() as u8),
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = [0, 0x7f, 0x80, 0xff][self.below(4)],
                2 => {
                    let number = [0, u64::MAX, i64::MAX as u64, u32::MAX.into(), self.next()];
                    let number = number[self.below(5)].to_le_bytes();
                    let width = [2, 4, 8][self.below(3)].min(bytes.len() - at);
                    bytes[at..at + width].copy_from_slice(&number[..width]);
                }
                3 => bytes.truncate(at),
                4 => {
                    let end = (at + self.below(32)).min(bytes.len());
                    bytes.extend_from_within(at..end);
                }
                _ => {
                    let end = (at + self.below(8)).min(bytes.len());
                    bytes.drain(at..end);
                }
            }
        }
    }
}

/// Reads `cases` damaged copies of the file; those still read must have no more rows than bytes can
/// make.
fn damage(name: &str, bytes: &[u8], options: &ReadOptions, cases: u64) {
    let directory = Directory::new();
    for seed in 0..cases {
        let mut damaged = bytes.to_vec();
        Random(seed).damage(&mut damaged);
        let path = directory.file(name, &damaged);
        let result = Rows::open(&[path], options.clone()).map(|mut rows| {
            let _ = rows.skip_rows(seed % 3);
            let types = rows.kept_types().to_vec();
            let rows: Vec<Row> = rows.take(100_000).filter_map(Result::ok).collect();
            write(&rows, &types);
        });
        if let Err(failure) = result {
            assert!(message(failure).contains(name), "case {seed}");
        }
    }
}

/// What was read must not make the output fail, which comes hours later.
fn write(rows: &[Row], types: &[Option<CellType>]) {
    let rows: Vec<&Row> = rows.iter().filter(|row| row.outcome.is_ok()).collect();
    for (index, kept) in types.iter().enumerate() {
        let Some(kept) = kept else {
            continue;
        };
        let Ok(mut column) = Column::new(&data_type(kept)) else {
            continue;
        };
        for row in &rows {
            column.push(&row.kept[index]).unwrap();
            if let (Cell::Arrow(encoded), CellType::Arrow(data_type)) = (&row.kept[index], kept) {
                assert!(shown(data_type, encoded).is_some());
            }
        }
        assert_eq!(column.finish().unwrap().len(), rows.len());
    }
}

fn table() -> RecordBatch {
    let texts = [
        "one",
        "two words",
        "",
        "a somewhat longer text than the others",
        "two words",
    ];
    let dictionary: DictionaryArray<Int32Type> = texts.into_iter().collect();
    let lists = texts.map(|text| Some(text.bytes().map(|byte| Some(i32::from(byte)))));
    batch(vec![
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5]))),
        ("text", Arc::new(StringArray::from(texts.to_vec()))),
        ("view", Arc::new(StringViewArray::from(texts.to_vec()))),
        ("dictionary", Arc::new(dictionary)),
        (
            "list",
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists)),
        ),
    ])
}

const KEPT: [&str; 3] = ["view", "dictionary", "list"];

#[test]
fn damaged_parquet_files_are_read_or_refused() {
    let options = with_columns("text", "id", &KEPT);
    for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY] {
        damage(
            "a.parquet",
            &parquet(&table(), compression, 3),
            &options,
            1500,
        );
    }
    for compression in [Compression::LZ4_RAW, Compression::ZSTD(Default::default())] {
        damage(
            "a.parquet",
            &parquet(&table(), compression, 3),
            &options,
            500,
        );
    }
}

#[test]
fn damaged_arrow_files_are_read_or_refused() {
    let options = with_columns("text", "id", &KEPT);
    let batches = [table(), table()];
    damage("a.arrow", &arrow_file(&batches, None), &options, 1500);
    damage("a.arrow", &arrow_stream(&batches), &options, 1500);
    for compression in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
        damage(
            "a.arrow",
            &arrow_file(&batches, Some(compression)),
            &options,
            1000,
        );
    }
}

/// Without alignment, and without a length of the schema at the beginning.
#[test]
fn damaged_arrow_files_of_polars_are_read_or_refused() {
    let options = ReadOptions {
        keep: vec!["text".into()],
        ..options()
    };
    for bytes in [
        &include_bytes!("polars_1.arrow")[..],
        include_bytes!("polars_2.arrow"),
    ] {
        let rows = read_bytes("a.arrow", bytes, options.clone()).unwrap();
        assert_eq!(
            texts(&rows),
            [(1, Ok("a")), (2, Ok("bbbbbbbbbbbbbbbbbbbb"))]
        );
        damage("a.arrow", bytes, &options, 1500);
    }
}

#[test]
fn an_arrow_footer_that_lies_is_refused() {
    let bytes = arrow_file(&[table(), table()], None);
    let length = bytes.len() - 10;
    let footer = u32::from_le_bytes(*bytes[length..].first_chunk().unwrap()) as usize;
    let footer = root_as_footer(&bytes[length - footer..length]).unwrap();
    let blocks: Vec<Block> = footer.recordBatches().unwrap().iter().copied().collect();
    let (first, second) = (blocks[0], blocks[1]);
    let mut windows = bytes.windows(second.0.len());
    let at = windows.rposition(|window| window == second.0).unwrap();
    let metadata = second.metaDataLength();
    let lies = [
        (first, "blocks that overlap"),
        (
            Block::new(first.offset() + 8, metadata, second.bodyLength()),
            "blocks that overlap",
        ),
        (
            Block::new(bytes.len() as i64, metadata, 8),
            "not in the file",
        ),
        (Block::new(-8, metadata, 8), "not in the file"),
        (Block::new(second.offset(), -1, 8), "not in the file"),
        (Block::new(second.offset(), i32::MAX, 8), "not in the file"),
        (
            Block::new(second.offset(), metadata, i64::MAX),
            "not in the file",
        ),
        (
            Block::new(second.offset(), metadata, 8),
            "longer than the footer says",
        ),
        (Block::new(second.offset(), 16, 8), "longer than it is"),
    ];
    for (block, problem) in lies {
        let mut lying = bytes.clone();
        lying[at..at + block.0.len()].copy_from_slice(&block.0);
        let error = read_bytes("a.arrow", lying, with_columns("text", "id", &[])).unwrap_err();
        assert!(error.contains(problem), "{problem}: {error}");
    }
}

#[test]
fn damaged_text_files_are_read_or_refused() {
    let options = with_columns("text", "id", &["n"]);
    let json = "{\"id\":\"a\",\"text\":\"x \\u00e9\",\"n\":[1,{\"m\":2}]}\n".repeat(4);
    damage("a.jsonl", json.as_bytes(), &options, 2000);
    let csv = "id,text,n\n1,\"a, \"\"b\"\"\nc\",2\n3,d,4\r\n\n5,,6\n";
    damage("a.csv", csv.as_bytes(), &options, 2000);
    damage("a.tsv", csv.replace(',', "\t").as_bytes(), &options, 2000);
    damage(
        "a.txt",
        "one\ntwo ü\n\nthree".as_bytes(),
        &super::options(),
        2000,
    );
}

/// Faults must not depend on what was done with the rows before them, or a run that is resumed
/// would go on with other rows.
#[test]
fn damaged_text_has_the_same_rows_after_skipping() {
    let csv = "id,text\n1,\"a, \"\"b\"\"\nc\"\n2,d\n\n3,\"e\\\"\"\r\n4,\\\nf\n";
    let json = "[{\"text\":\"a\",\"x\":[{}]},{\"text\":\"b\"}]\n{\n  \"text\": \"c\",\n  \"x\": {\n    \"y\": 1\n  }\n}\n{\"text\":\"d\"} {\"text\":\"e\"}\n";
    let plain = options();
    let mut escaped = options();
    escaped.dialect.escape = Some(b'\\');
    let mut numbered = escaped.clone();
    (numbered.field, numbered.dialect.no_header) = ("1".into(), true);
    let directory = Directory::new();
    for (name, text, options) in [
        ("a.json", json, &plain),
        ("a.csv", csv, &plain),
        ("a.csv", csv, &escaped),
        ("a.tsv", csv, &numbered),
        ("a.txt", csv, &plain),
    ] {
        for seed in 0..500 {
            let mut damaged = text.repeat(2).into_bytes();
            Random(seed).damage(&mut damaged);
            let path = directory.file(name, &damaged);
            let read = |skipped: u64| -> Option<Vec<(u64, Result<String, String>)>> {
                let rows = Rows::open(std::slice::from_ref(&path), options.clone());
                let mut rows = rows.ok()?;
                rows.skip_rows(skipped).unwrap();
                let rows = rows.map(Result::unwrap);
                Some(rows.map(|row| (row.line, row.outcome)).collect())
            };
            let Some(all) = read(0) else { continue };
            assert!(
                all.is_sorted_by_key(|(line, _)| *line),
                "{name} {seed}: {all:?}"
            );
            for skipped in 1..all.len().min(8) {
                assert_eq!(
                    read(skipped as u64).as_deref(),
                    Some(&all[skipped..]),
                    "{name} {seed}"
                );
            }
        }
    }
}

#[test]
fn damaged_compression_is_read_or_refused() {
    let text = "one\ntwo\nthree\n".repeat(20);
    damage(
        "a.txt",
        &zstd::encode_all(text.as_bytes(), 3).unwrap(),
        &options(),
        2000,
    );
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, text.as_bytes()).unwrap();
    damage("a.txt", &gzip.finish().unwrap(), &options(), 2000);
}

#[test]
fn a_decompression_bomb_costs_no_more_than_the_row_limit() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    for _ in 0..256 {
        std::io::Write::write_all(&mut encoder, &[b'x'; 1 << 20]).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 1 << 20);
    for name in ["a.txt", "a.jsonl"] {
        let rows = read_bytes(name, &bomb, options()).unwrap();
        let reason = rows[0].outcome.as_ref().unwrap_err();
        let expected = match name {
            "a.txt" => "is 268435456 bytes long",
            _ => "(column 1: ",
        };
        assert!(reason.contains(expected), "{reason}");
        assert_eq!(rows.len(), 1);
    }
    let error = read_bytes("a.csv", &bomb, options()).unwrap_err();
    assert!(
        error.contains("the header is 268435456 bytes long"),
        "{error}"
    );
}

/// Found by fuzzing: a page whose repetition levels end early.
#[test]
fn rows_of_damaged_lists_are_skipped_to_an_end() {
    let directory = Directory::new();
    let file = directory.file("a.parquet", include_bytes!("short_levels.parquet"));
    for skipped in 0..3 {
        let options = with_columns("text", "id", &["list", "nested.part"]);
        let mut rows = Rows::open(std::slice::from_ref(&file), options).unwrap();
        assert_eq!(rows.skip_rows(skipped).unwrap(), skipped);
        let failure = rows.find_map(Result::err);
        assert!(failure.is_some(), "skipped {skipped}");
    }
}

/// Found by fuzzing: a number where a page header has a struct, so that a list beyond the end of
/// the file was skipped.
#[test]
fn a_list_longer_than_the_file_is_refused() {
    let options = with_columns("text", "id", &["list", "nested.part"]);
    let bytes = include_bytes!("endless_list.parquet");
    let error = read_bytes("a.parquet", bytes, options).unwrap_err();
    assert!(error.contains("a page header is damaged"), "{error}");
}
