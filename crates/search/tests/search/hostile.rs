//! Files that are no index, and indexes that are damaged.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, FixedSizeListArray, Float32Array, Int8Array, RecordBatch};
use arrow_ipc::reader::FileReader;
use arrow_ipc::writer::FileWriter;
use arrow_schema::{DataType, Field, Schema};
use lanewise_search::{Index, OpenOptions};

use crate::fixture::{vector, write};

fn refused(path: &Path) -> String {
    match Index::open(path) {
        Err(error) => error.to_string(),
        Ok(index) => index.search(&vector(48, 1), 3).unwrap_err().to_string(),
    }
}

/// The file with one column replaced by what `change` makes of it.
fn rewritten(path: &Path, column: &str, change: impl Fn(&ArrayRef) -> (ArrayRef, bool)) {
    let reader = FileReader::try_new(fs::File::open(path).unwrap(), None).unwrap();
    let schema = reader.schema();
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    let at = schema.index_of(column).unwrap();
    let mut out = None;
    for batch in batches {
        let (array, nullable) = change(batch.column(at));
        let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
        fields[at] = Arc::new(Field::new(column, array.data_type().clone(), nullable));
        let schema = Arc::new(Schema::new(fields).with_metadata(schema.metadata().clone()));
        let mut columns = batch.columns().to_vec();
        columns[at] = array;
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
        let out = out.get_or_insert_with(|| {
            FileWriter::try_new(fs::File::create(path).unwrap(), &schema).unwrap()
        });
        out.write(&batch).unwrap();
    }
    out.unwrap().finish().unwrap();
}

#[test]
fn what_is_no_output_is_refused_with_a_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file.arrow");
    for (contents, problem) in [
        (&b""[..], "is empty"),
        (b"ARROW1", "cut short"),
        (b"ARROW1\0\0and then ARROW1", "a footer of"),
        (b"some text", "is not Parquet, Arrow IPC, JSONL or .npy"),
        (b"{\"embedding\": []}\n", "put it back"),
        (b"PAR1", "Parquet"),
    ] {
        fs::write(&path, contents).unwrap();
        let message = refused(&path);
        assert!(
            message.starts_with(&path.display().to_string()) || message.contains("the output"),
            "{message}"
        );
        assert!(message.contains(problem), "{problem}: {message}");
        assert!(message.contains("; "), "{message}");
    }
    assert!(refused(directory.path()).contains("is a directory"));
    assert!(refused(&directory.path().join("missing")).contains("check the path"));
    let none: [&Path; 0] = [];
    assert!(Index::open_all(&none, &OpenOptions::default()).is_err());
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(directory.path(), "a.arrow", "i8+binary", 0..60);
    let whole = fs::read(&path).unwrap();
    for length in (0..whole.len()).step_by(101) {
        fs::write(&path, &whole[..length]).unwrap();
        refused(&path);
    }
}

#[test]
fn a_damaged_byte_is_an_error_or_a_result_and_no_panic() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(directory.path(), "a.arrow", "i8+f32", 0..20);
    let whole = fs::read(&path).unwrap();
    for at in (0..whole.len()).step_by(7) {
        for byte in [0, 0x7f, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] = byte;
            let other = directory.path().join(format!("{at}-{byte}"));
            fs::write(&other, &damaged).unwrap();
            let options = OpenOptions {
                threads: Some(1),
                ..OpenOptions::default()
            };
            if let Ok(index) = Index::open_all(&[&other], &options) {
                let _ = index.search(&vector(index.dims(), 1), 3);
                for row in 0..index.rows().min(30) {
                    let _ = index.record(row);
                }
            }
            fs::remove_file(&other).unwrap();
        }
    }
}

#[test]
fn scales_that_are_no_numbers_above_0_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    for (at, scale) in [0.0, -1.0, f32::NAN, f32::INFINITY].into_iter().enumerate() {
        let path = write(directory.path(), &format!("{at}.arrow"), "i8", 0..40);
        rewritten(&path, "scale", |scales| {
            let mut scales = vec![1.0; scales.len()];
            scales[23] = scale;
            (Arc::new(Float32Array::from(scales)), false)
        });
        let message = refused(&path);
        assert!(
            message.contains("row 23 has a scale that is no number above 0"),
            "{message}"
        );
    }
}

#[test]
fn vectors_with_values_that_are_no_numbers_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(directory.path(), "a.arrow", "f32", 0..40);
    rewritten(&path, "embedding", |lists| {
        let item = Arc::new(Field::new_list_field(DataType::Float32, false));
        let mut values = vec![0.1; lists.len() * 48];
        values[17 * 48 + 5] = f32::NAN;
        let values = Arc::new(Float32Array::from(values));
        let lists = FixedSizeListArray::try_new(item, 48, values, None).unwrap();
        (Arc::new(lists), false)
    });
    let message = refused(&path);
    assert!(
        message.contains("row 17 has values that are no numbers"),
        "{message}"
    );
}

#[test]
fn columns_of_another_shape_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let lists = |count: usize, width: i32, nulls: Option<Vec<bool>>| -> ArrayRef {
        let item = Arc::new(Field::new_list_field(DataType::Int8, true));
        let values = Arc::new(Int8Array::from(vec![1; count * width as usize]));
        let lists = FixedSizeListArray::try_new(item, width, values, nulls.map(Into::into));
        Arc::new(lists.unwrap())
    };
    let path = write(directory.path(), "wide.arrow", "i8", 0..40);
    rewritten(&path, "embedding", |old| {
        (lists(old.len(), 49, None), false)
    });
    let message = refused(&path);
    assert!(
        message.contains("its metadata say 48 times Int8"),
        "{message}"
    );

    let path = write(directory.path(), "nulls.arrow", "i8", 0..40);
    rewritten(&path, "embedding", |old| {
        let valid = (0..old.len()).map(|row| row != 3).collect();
        (lists(old.len(), 48, Some(valid)), true)
    });
    let message = refused(&path);
    assert!(message.contains("\"embedding\" has nulls"), "{message}");

    let path = write(directory.path(), "scale.arrow", "i8", 0..40);
    rewritten(&path, "scale", |old| {
        (Arc::new(Int8Array::from(vec![1; old.len()])), false)
    });
    let message = refused(&path);
    assert!(message.contains("\"scale\" is Int8"), "{message}");
}

#[test]
fn a_foreign_file_is_refused_for_its_metadata() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.arrow");
    let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int8, false)]));
    let file = fs::File::create(&path).unwrap();
    let mut out = FileWriter::try_new(file, &schema).unwrap();
    let column: ArrayRef = Arc::new(Int8Array::from(vec![1, 2]));
    out.write(&RecordBatch::try_new(schema, vec![column]).unwrap())
        .unwrap();
    out.finish().unwrap();
    let message = refused(&path);
    assert!(
        message.contains("give a file that embed has written"),
        "{message}"
    );
}

#[test]
fn a_file_written_to_while_it_is_searched_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(directory.path(), "a.arrow", "i8", 0..40);
    let other = write(directory.path(), "b.arrow", "i8", 40..80);
    let index = Index::open(&path).unwrap();
    assert!(index.search(&vector(48, 1), 3).is_ok());
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend(b"more");
    fs::write(&path, bytes).unwrap();
    let message = index.search(&vector(48, 1), 3).unwrap_err().to_string();
    assert!(
        message.contains("was written to while it was in use"),
        "{message}"
    );
    // A file renamed over the path changes nothing.
    let index = Index::open(&path);
    assert!(index.is_err());
    let index = Index::open(&other).unwrap();
    fs::rename(write(directory.path(), "c.arrow", "i8", 0..9), &other).unwrap();
    assert_eq!(index.search(&vector(48, 41), 1).unwrap()[0].row, 1);
}

#[test]
fn texts_that_were_not_carried_along_are_noted() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(directory.path(), "a.jsonl", "i8", 0..20);
    let with_texts = fs::read_to_string(&path).unwrap();
    let note = |index: &Index| index.notes().collect::<String>();
    let index = Index::open(&path).unwrap();
    assert!(note(&index).contains("the ids and texts;"));
    assert_eq!(index.record(7).unwrap().text.as_deref(), Some("7"));
    let without = |line: &str| {
        let mut row: serde_json::Value = serde_json::from_str(line).unwrap();
        row.as_object_mut().unwrap().remove("text").unwrap();
        format!("{row}\n")
    };
    let lines = with_texts.lines().map(without).collect::<String>();
    fs::write(&path, &lines).unwrap();
    let index = Index::open(&path).unwrap();
    assert!(note(&index).contains("the ids;"), "{}", note(&index));
    let record = index.record(7).unwrap();
    assert_eq!((record.id, record.text), (Some("r7".into()), None));
    // What is wrong with a file is said at once.
    fs::write(&path, lines.replacen("\"tokens\"", "\"token\"", 5)).unwrap();
    let message = refused(&path);
    assert!(
        message.contains("line 1 has no field \"tokens\""),
        "{message}"
    );
}
