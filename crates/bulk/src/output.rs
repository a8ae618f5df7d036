//! What an output consists of: its columns, the files beside it and their names.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use lanewise_vectors::Precision;

use crate::columns::OutputColumn;
use crate::error::{Error, Result};
use crate::format::OutputFormat;
use crate::message::{Setting, message};
use crate::output_compression::OutputCompression;
use crate::record::{BYTES_KEY, RUN_KEY, RunRecord};
use crate::space::Space;
use crate::staged::{Staged, with_suffix};

/// The name of the column with the digests of texts.
pub const TEXT_DIGEST: &str = "text_digest";

/// The name of the column with the vectors in the first precision.
pub const EMBEDDING: &str = "embedding";

/// Names of columns that outputs have by themselves.
pub const OWN_COLUMNS: [&str; 12] = [
    "index",
    "id",
    "tokens",
    "truncated",
    "windows",
    TEXT_DIGEST,
    "scale",
    EMBEDDING,
    "embedding_f32",
    "embedding_f16",
    "embedding_i8",
    "embedding_binary",
];

/// The name of the column with the vectors in the precision with this number, counted from 0.
pub fn vector_column(number: usize, precision: Precision) -> String {
    match number {
        0 => EMBEDDING.into(),
        _ => format!("{EMBEDDING}_{}", precision.name()),
    }
}

/// What every row of an output has.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The space of the vectors.
    pub space: Space,
    /// How many vectors there are.
    pub rows: u64,
    /// The ids' column, if there are ids.
    pub id: Option<OutputColumn>,
    /// The columns carried along.
    pub kept: Vec<OutputColumn>,
    /// The run.
    pub record: RunRecord,
}

impl Layout {
    /// The space and the run as names and values.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        let mut metadata = self.space.metadata();
        metadata.insert(RUN_KEY.into(), self.record.json());
        metadata
    }
}

/// The format of an output.
///
/// # Errors
/// If its name does not tell and none is given, or it is to be compressed and is of a format that
/// is not read so.
pub fn output_format(given: Option<OutputFormat>, output: &Path) -> Result<OutputFormat> {
    let (compression, uncompressed) = OutputCompression::of_name(output);
    let format = given.or_else(|| OutputFormat::of_name(&uncompressed));
    let format = format.ok_or_else(|| {
        Error::argument(message![
            format!(
                "{}: the name does not tell the format (it would by ending in {}, the text formats also in .jsonl.gz, .csv.zst and so on); give it with ",
                output.display(),
                OutputFormat::known_endings()
            ),
            Setting::OutputFormat,
        ])
    })?;
    let problem = match format {
        OutputFormat::Jsonl | OutputFormat::Csv => return Ok(format),
        _ if compression == OutputCompression::Plain => return Ok(format),
        OutputFormat::Parquet => "Parquet compresses its columns itself",
        OutputFormat::Arrow => "an Arrow file is read from its end, which a compressed one has not",
        OutputFormat::Npy => "NumPy maps an array into memory, which it cannot compressed",
    };
    Err(Error::argument(format!(
        "{}: {problem}; name it {}",
        output.display(),
        uncompressed.display()
    )))
}

/// Refuses precisions that vectors of this length, or the format of this output, cannot have.
pub fn check_precisions(space: &Space, format: OutputFormat, output: &Path) -> Result<()> {
    let (precisions, dims) = (space.precision, space.dims);
    if precisions.contains(Precision::Binary) && !dims.is_multiple_of(8) {
        return Err(Error::argument(message![
            Setting::Precision,
            format!(" {precisions}: {dims} values are no multiple of 8"),
        ]));
    }
    let name = match format {
        OutputFormat::Csv => "CSV",
        OutputFormat::Npy => "a NumPy array",
        OutputFormat::Jsonl | OutputFormat::Parquet | OutputFormat::Arrow => return Ok(()),
    };
    match precisions.single() {
        Some(_) => Ok(()),
        None => Err(Error::argument(format!(
            "{}: {name} holds vectors in one precision, and these are in {precisions}; take Parquet, Arrow or JSONL, or one precision",
            output.display()
        ))),
    }
}

/// The files that belong to an output besides itself.
pub fn companions(format: OutputFormat, output: &Path) -> Vec<PathBuf> {
    let mut companions = vec![rejects_path(output)];
    if format == OutputFormat::Npy {
        companions.push(ids_path(output));
    }
    if !format.has_metadata() {
        companions.push(metadata_path(output));
    }
    companions
}

/// Where rejected rows are listed.
pub fn rejects_path(output: &Path) -> PathBuf {
    with_suffix(output, ".rejects.jsonl")
}

/// Where the ids of an array's rows are.
pub fn ids_path(output: &Path) -> PathBuf {
    with_suffix(output, ".ids.jsonl")
}

/// Where the space is stated for formats that cannot.
pub fn metadata_path(output: &Path) -> PathBuf {
    with_suffix(output, ".meta.json")
}

/// Writes the companion that states the space and the run of an output of `bytes` bytes, if the
/// format needs one.
pub fn write_metadata(
    format: OutputFormat,
    output: &Path,
    mut metadata: BTreeMap<String, String>,
    bytes: u64,
) -> io::Result<Option<Staged>> {
    if format.has_metadata() {
        return Ok(None);
    }
    metadata.insert(BYTES_KEY.into(), bytes.to_string());
    let mut file = Staged::create(&metadata_path(output), OutputCompression::Plain)?;
    serde_json::to_writer_pretty(&mut file, &metadata)?;
    file.write_all(b"\n")?;
    Ok(Some(file))
}
