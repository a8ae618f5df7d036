//! An output in another format or precision, without embedding again.

use std::path::{Path, PathBuf};

use lanewise_vectors::{Precision, Precisions};

use crate::cancel::CancelToken;
use crate::columns::{self, ID};
use crate::dialect::Dialect;
use crate::error::{Error, Result};
use crate::finish::{self, Content};
use crate::format::{InputFormat, OutputFormat};
use crate::formats::{RowReader, open_carried};
use crate::identity::InputWatch;
use crate::message::{Setting, message};
use crate::output::{
    TEXT_DIGEST, check_precisions, ids_path, metadata_path, output_format, rejects_path,
};
use crate::ownership::{self, ReadFile};
use crate::presence::Presence;
use crate::progress::{Progress, Step};
use crate::read_budget::ReadBudget;
use crate::read_options::ReadOptions;
use crate::record::RunRecord;
use crate::row::{ColumnTypes, Embedded, Row};
use crate::run::Report;
use crate::settings::Settings;
use crate::shard::Shard;
use crate::spool::{SeenTypes, Summary, Tally};
use crate::stored::{Stored, Texts};
use crate::target::Target;

/// Memory for the program, what is written, and rows on their way.
const FIXED_BYTES: u64 = 160 << 20;
/// The least memory for what is read.
const LEAST_READ_BYTES: u64 = 64 << 20;
/// A longer row is refused: vectors in text are shorter.
const MAX_ROW_BYTES: usize = 256 << 20;
/// Rows between two reports of progress.
const STEP_ROWS: u64 = 1024;

/// An output to be written in another format or precision.
#[derive(Debug, Clone)]
pub struct ConvertJob {
    /// An output of a run: Parquet, Arrow, JSONL, or `.npy` with the files beside it.
    pub input: PathBuf,
    /// The file to write.
    pub output: PathBuf,
    /// Its format; `None` takes it from the file's name.
    pub output_format: Option<OutputFormat>,
    /// Its precisions; `None` for those of the input. Each must be one that the input has, unless the
    /// input has `f32`, of which all are made.
    pub precision: Option<Precisions>,
    /// Bytes of memory that it may use.
    pub max_memory: u64,
    /// Whether an existing output is replaced.
    pub force: bool,
}

impl ConvertJob {
    /// Writes the vectors with ids, columns carried along and metadata: the bytes are those that the
    /// run would have written, except where the input's format could not hold what the rows were.
    ///
    /// # Errors
    /// If a file cannot be read or written, the input is no output or has not the vectors asked for,
    /// the output is there already, or the token is cancelled.
    pub fn run(&self, cancel: &CancelToken, progress: &mut dyn Progress) -> Result<Report> {
        self.convert(cancel, progress)
            .map_err(without_other_settings)
    }

    fn convert(&self, cancel: &CancelToken, progress: &mut dyn Progress) -> Result<Report> {
        let format = output_format(self.output_format, &self.output)?;
        let target = Target::new(&self.output, format, Shard::WHOLE)?;
        let companions = [
            ids_path(&self.input),
            metadata_path(&self.input),
            rejects_path(&self.input),
        ];
        let reads = std::iter::once(&self.input).chain(&companions);
        ownership::check_reads(
            &target,
            reads.map(|path| ReadFile {
                path,
                what: "an input",
            }),
        )?;
        if !self.force {
            ownership::check_free(&target, true)?;
        }
        let budget = self.budget()?;
        let watch = InputWatch::new(&[std::slice::from_ref(&self.input), &companions[..]].concat());
        let stored = Stored::open(&self.input, Texts::Unread, budget)?;
        let mut settings = stored.record.settings.clone();
        let precisions = self.precision.unwrap_or(stored.space.precision);
        let dims = stored.space.dims;
        let parts = Parts::find(&self.input, stored.space.precision, precisions, dims)?;
        settings.space.precision = precisions;
        check_precisions(&settings.space, format, &self.output)?;
        check_names(&self.input, &settings, format)?;
        let record = RunRecord {
            settings: settings.clone(),
            ..stored.record.clone()
        };
        let summary = self.summary(&stored, budget, cancel)?;
        let (carried, types) = self.carried(&stored, budget)?;
        use_types(&mut settings, &types, &summary);
        let rows = record.rows - record.rejected;
        let mut rows = ConvertedRows {
            name: self.input.display().to_string(),
            stored,
            carried,
            parts,
            watch,
            left: rows,
            next_index: 0,
            tally: Tally {
                rows: record.rejected,
                rejected: record.rejected,
                ..Tally::default()
            },
            unreported: 0,
            progress,
        };
        if self.force {
            ownership::remove_staging(&target)?;
        }
        let rejects = (record.rejected > 0).then(|| rejects_path(&self.input));
        let content = Content {
            settings: &settings,
            record,
            summary: &summary,
            rejects: rejects.as_deref(),
        };
        rows.progress.begin(Some(rows.left), 0);
        let written = finish::write(&target, content, &mut rows, cancel);
        rows.progress.end(written.is_ok());
        written?;
        Ok(Report::new(target.output, true, rows.tally))
    }

    /// Two readers of the input are at work, each with half of the memory.
    fn budget(&self) -> Result<ReadBudget> {
        let least = FIXED_BYTES + 2 * LEAST_READ_BYTES;
        if self.max_memory < least {
            return Err(Error::argument(message![
                Setting::MaxMemory,
                format!(
                    ": {} MB are too little; give it {}M or more",
                    self.max_memory >> 20,
                    least >> 20
                ),
            ]));
        }
        let bytes = (self.max_memory - FIXED_BYTES) / 2;
        Ok(ReadBudget {
            bytes,
            rest_bytes: FIXED_BYTES + bytes,
        })
    }

    /// Counts, and the types of cells, which the columns of some formats depend on: they take a pass
    /// of their own over ids and columns carried along.
    fn summary(
        &self,
        stored: &Stored,
        budget: ReadBudget,
        cancel: &CancelToken,
    ) -> Result<Summary> {
        let settings = &stored.record.settings;
        let mut summary = Summary {
            tally: Tally {
                rows: stored.record.rows,
                rejected: stored.record.rejected,
                ..Tally::default()
            },
            seen: vec![SeenTypes::default(); settings.keep.len() + 1],
            ..Summary::default()
        };
        if settings.keep.is_empty() && settings.id_field.is_none() {
            return Ok(summary);
        }
        let (mut carried, _) = self.carried(stored, budget)?;
        let mut rows = 0;
        while let Some(row) = carried.next_row()? {
            cancel.check()?;
            rows += 1;
            let cells = row.kept.iter().chain(&row.id);
            let ids = summary.seen.len() - 1;
            for (number, cell) in cells.enumerate() {
                summary.seen[number.min(ids)].see(cell);
            }
        }
        let mut missing = carried.presence().into_iter().flat_map(Presence::missing);
        if rows > 0 && missing.next().is_some() {
            let problem = "no row has a column that its metadata name";
            return Err(changed(stored.carried.name(), problem.into()));
        }
        drop(missing);
        Ok(summary)
    }

    /// The ids and columns carried along, and the types that the input has for them.
    fn carried(
        &self,
        stored: &Stored,
        budget: ReadBudget,
    ) -> Result<(Box<dyn RowReader>, ColumnTypes)> {
        let settings = &stored.record.settings;
        let format = match stored.carried.format() {
            InputFormat::Parquet => OutputFormat::Parquet,
            InputFormat::Arrow => OutputFormat::Arrow,
            _ => OutputFormat::Jsonl,
        };
        let options = ReadOptions {
            format: Some(stored.carried.format()),
            dialect: Dialect::default(),
            field: TEXT_DIGEST.into(),
            id_field: settings.id_field.as_ref().map(|_| ID.into()),
            keep: columns::kept_names(settings, format),
            max_row_bytes: MAX_ROW_BYTES,
            budget,
        };
        let carried = open_carried(&stored.carried, options)?;
        let types = carried.types();
        Ok((carried, types))
    }
}

/// The error with a remedy that a conversion has: it cannot be resumed, and finds the input's format
/// itself.
fn without_other_settings(error: Error) -> Error {
    match error {
        Error::File {
            file,
            problem,
            remedy,
        } => Error::File {
            file,
            problem,
            remedy: if remedy.mentions(Setting::InputFormat) {
                "it is damaged or was changed: make it again".into()
            } else if remedy.mentions(Setting::Resume) {
                "see to that, then run the same command again".into()
            } else {
                remedy
            },
        },
        other => other,
    }
}

/// Refuses names that no run would have had, and those that the output's format has no place for.
fn check_names(input: &Path, settings: &Settings, format: OutputFormat) -> Result<()> {
    let keep = settings.keep.iter().map(|column| column.name.clone());
    let keep: Vec<String> = keep.collect();
    let mut checked = keep.clone();
    columns::check_names(&mut checked, settings.id_field.as_deref(), format)?;
    match checked == keep {
        true => Ok(()),
        false => Err(changed(
            &input.display().to_string(),
            "its metadata are impossible".into(),
        )),
    }
}

/// The types that columns have in the output: those of the input's, or those that the run's input
/// stated, if the cells still fit, or else those that follow from the cells.
fn use_types(settings: &mut Settings, types: &ColumnTypes, summary: &Summary) {
    for ((column, here), seen) in settings.keep.iter_mut().zip(&types.kept).zip(&summary.seen) {
        let stated = column.cells.take().filter(|stated| seen.fit(stated));
        column.cells = here.clone().or(stated);
    }
    let seen = summary.seen.last().copied().unwrap_or_default();
    let stated = settings.id_type.take().filter(|stated| seen.fit(stated));
    settings.id_type = types.id.clone().or(stated);
}

/// Where each precision of the output comes from.
struct Parts {
    dims: usize,
    /// The vector as it was, if the input has it.
    exact: Option<std::ops::Range<usize>>,
    /// Each precision, and its part of the input's vectors; `None` if it is made of the exact ones.
    parts: Vec<(Precision, Option<std::ops::Range<usize>>)>,
}

impl Parts {
    /// An error if a precision of `to` can be had from none of `from`.
    fn find(input: &Path, from: Precisions, to: Precisions, dims: usize) -> Result<Self> {
        let part = |wanted| {
            let mut parts = from.parts(dims);
            let found = parts.find(|(precision, _)| *precision == wanted);
            found.map(|(_, part)| part)
        };
        let exact = part(Precision::F32);
        let parts: Vec<_> = to.iter().map(|wanted| (wanted, part(wanted))).collect();
        let missing = parts.iter().find(|(_, part)| part.is_none());
        if let Some((wanted, _)) = missing.filter(|_| exact.is_none()) {
            return Err(Error::file(
                input,
                format!(
                    "its vectors are stored as {from}, and {} would not be that of the texts",
                    wanted.name()
                ),
                message![
                    "embed again with ",
                    Setting::Precision,
                    format!(
                        " {to}, or once with f32 as well ({from}+f32), of which all others are made"
                    ),
                ],
            ));
        }
        Ok(Self { dims, exact, parts })
    }

    /// The vector in the output's precisions.
    fn convert(&self, embedded: Embedded) -> Embedded {
        let (mut vector, mut scale) = (Vec::new(), 1.0);
        let mut exact = Vec::new();
        for (precision, part) in &self.parts {
            let own = match (part, &self.exact) {
                (Some(part), _) => {
                    vector.extend_from_slice(&embedded.vector[part.clone()]);
                    embedded.scale
                }
                (None, Some(part)) => {
                    if exact.is_empty() {
                        exact.reserve(self.dims);
                        let (values, _) = embedded.vector[part.clone()].as_chunks::<4>();
                        exact.extend(values.iter().map(|value| f32::from_le_bytes(*value)));
                    }
                    precision.encode(&exact, &mut vector)
                }
                (None, None) => 1.0,
            };
            if precision.has_scale() {
                scale = own;
            }
        }
        Embedded {
            reading: embedded.reading,
            scale,
            vector,
        }
    }
}

/// The rows of the output.
struct ConvertedRows<'a> {
    /// The input's name in messages.
    name: String,
    stored: Stored,
    carried: Box<dyn RowReader>,
    parts: Parts,
    watch: InputWatch,
    /// How many are to come.
    left: u64,
    /// The least index of the next row.
    next_index: u64,
    tally: Tally,
    /// Rows since the last report of progress.
    unreported: u64,
    progress: &'a mut dyn Progress,
}

impl ConvertedRows<'_> {
    fn next_row(&mut self) -> Result<Option<Row<Embedded>>> {
        let settings = &self.stored.record.settings;
        let (kept, has_ids) = (settings.keep.len(), settings.id_field.is_some());
        let (Some(stored), carried) = (self.stored.next().transpose()?, self.carried.next_row()?)
        else {
            if self.left > 0 {
                let problem = format!("it ends {} rows before its metadata say", self.left);
                return Err(changed(&self.name, problem));
            }
            // What was read is what was there when the types were looked at.
            self.watch.check()?;
            return Ok(None);
        };
        if self.left == 0 || stored.index < self.next_index {
            let problem = format!("row {} is one too many or not in order", stored.index);
            return Err(changed(&self.name, problem));
        }
        let carried = match carried {
            Some(row) if row.kept.len() == kept && row.id.is_some() == has_ids => row,
            Some(Row {
                outcome: Err(problem),
                ..
            }) => {
                return Err(changed(
                    &self.name,
                    format!("row {}: {problem}", stored.index),
                ));
            }
            _ => {
                return Err(changed(
                    &self.name,
                    format!("row {} is incomplete", stored.index),
                ));
            }
        };
        (self.left, self.next_index) = (self.left - 1, stored.index + 1);
        self.unreported += 1;
        if self.unreported == STEP_ROWS || self.left == 0 {
            self.progress.advance(Step {
                rows: std::mem::take(&mut self.unreported),
                tokens: 0,
                expected_rows: None,
            });
        }
        let row = Row {
            index: stored.index,
            file: 0,
            line: 0,
            id: carried.id,
            kept: carried.kept,
            outcome: Ok(self.parts.convert(stored.embedded)),
        };
        self.tally.count(&row);
        Ok(Some(row))
    }
}

impl Iterator for ConvertedRows<'_> {
    type Item = Result<Row<Embedded>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_row().transpose()
    }
}

/// The error of an input that is not as a run has written it.
fn changed(name: &str, problem: String) -> Error {
    Error::named_file(name, problem, "it is damaged or was changed: make it again")
}
