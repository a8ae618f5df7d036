//! The rows of all input files, one file after the other.

use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::InputFormat;
use crate::formats::{RowReader, open_reader};
use crate::presence::Presence;
use crate::read_options::ReadOptions;
use crate::row::{CellType, ColumnTypes, Row};
use crate::source::Source;

/// The rows of all files, in order.
///
/// A problem with one row is that row's outcome; a problem with a file is an [`Error`] and ends the
/// iteration.
pub struct Rows {
    sources: Vec<Source>,
    options: Arc<ReadOptions>,
    /// The file being read; `sources.len()` after the last.
    file: usize,
    reader: Option<Box<dyn RowReader>>,
    types: ColumnTypes,
    /// Which columns were in a row so far.
    presence: Presence,
    total: Option<u64>,
    bytes_before: u64,
    next_index: u64,
}

impl Rows {
    /// Opens the files, to be read one after the other; `-` is standard input.
    ///
    /// Every file is opened and its header read here, so that missing files and columns are
    /// reported before the work begins; except for files that can be read only once (pipes) and
    /// Parquet files that must be decompressed first.
    ///
    /// # Errors
    /// If a file cannot be opened, is damaged at its beginning, or lacks a column.
    pub fn open(files: &[PathBuf], options: ReadOptions) -> Result<Self> {
        if files.iter().filter(|file| file.as_os_str() == "-").count() > 1 {
            return Err(Error::argument("standard input (-) can be read once only"));
        }
        let sources = files.iter().map(|file| Source::find(file, options.format));
        let mut rows = Self {
            sources: sources.collect::<Result<_>>()?,
            types: ColumnTypes::unknown(options.keep.len()),
            presence: Presence::new(&options),
            options: Arc::new(options),
            file: 0,
            reader: None,
            total: Some(0),
            bytes_before: 0,
            next_index: 0,
        };
        for source in &rows.sources {
            let (name, format) = (source.name(), source.format());
            rows.options.dialect.check(name, format)?;
        }
        rows.check_files()?;
        rows.look_for_columns()?;
        Ok(rows)
    }

    /// Opens each file that can be opened again and collects its column types and number of rows;
    /// the first one stays open.
    fn check_files(&mut self) -> Result<()> {
        let mut types = Vec::new();
        for (index, source) in self.sources.iter().enumerate() {
            if index > 0 && !source.can_reopen() {
                self.total = None;
                types.push(ColumnTypes::unknown(self.options.keep.len()));
                continue;
            }
            let reader = open_reader(source, &self.options)?;
            self.total = self.total.zip(reader.total_rows()).map(|(a, b)| a + b);
            types.push(reader.types());
            if index == 0 {
                self.reader = Some(reader);
            }
        }
        if let Some(common) = types.into_iter().reduce(ColumnTypes::common) {
            self.types = common;
        }
        if let Some(reader) = &mut self.reader {
            reader.use_types(&self.types);
        }
        Ok(())
    }

    /// Looks for the columns that the formats do not state in advance, from the beginning of each
    /// file up to the first row that has them: mostly the first of all. What no row has is an error
    /// here and not after hours; if not all files can be read again, it is one at the end.
    fn look_for_columns(&mut self) -> Result<()> {
        let states_columns =
            |source: &Source| !matches!(source.format(), InputFormat::Jsonl | InputFormat::Lines);
        if self.sources.iter().any(states_columns) {
            self.presence.complete();
        }
        let mut found = self.presence.clone();
        for source in self.sources.iter().filter(|source| source.can_reopen()) {
            if found.is_complete() {
                break;
            }
            let mut reader = open_reader(source, &self.options)?;
            loop {
                match reader.skip_rows(1) {
                    Ok(0) => break,
                    Ok(_) => {}
                    // It is reported after the rows before it.
                    Err(_) => return Ok(()),
                }
                if reader.presence().is_none_or(|here| here.completes(&found)) {
                    break;
                }
            }
            if let Some(here) = reader.presence() {
                found.merge(here);
            }
        }
        if self.sources.iter().all(Source::can_reopen) {
            found.check(&self.name(), &self.options)?;
        }
        if found.is_complete() {
            self.presence = found;
        }
        Ok(())
    }

    /// The input's name in messages.
    fn name(&self) -> String {
        match self.sources.as_slice() {
            [source] => source.name().into(),
            sources => format!("the input of {} files", sources.len()),
        }
    }

    /// Skips up to `count` rows, faster than reading them; fewer only at the end of the input.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn skip_rows(&mut self, count: u64) -> Result<u64> {
        let mut skipped = 0;
        while skipped < count {
            let Some(reader) = self.reader()? else {
                self.presence.check(&self.name(), &self.options)?;
                break;
            };
            let left = count - skipped;
            let here = reader.skip_rows(left)?;
            skipped += here;
            if here < left {
                self.finish_file();
            }
        }
        self.next_index += skipped;
        Ok(skipped)
    }

    /// The index of the next row in the whole input.
    pub fn next_index(&self) -> u64 {
        self.next_index
    }

    /// The number of rows, if all files state theirs.
    pub fn total_hint(&self) -> Option<u64> {
        self.total
    }

    /// The type of each kept column over all files; `None` where it is known only after reading.
    pub fn kept_types(&self) -> &[Option<CellType>] {
        &self.types.kept
    }

    /// The ids' type over all files; `None` where it is known only after reading.
    pub fn id_type(&self) -> Option<&CellType> {
        self.types.id.as_ref()
    }

    /// How many bytes of the files, before decompression, have been read.
    pub fn bytes_read(&self) -> u64 {
        let here = self.reader.as_ref().map_or(0, |reader| reader.bytes_read());
        self.bytes_before + here
    }

    /// The size of all files together, if each has one.
    pub fn bytes_total(&self) -> Option<u64> {
        self.sources.iter().map(Source::size).sum()
    }

    /// The file with this [`Row::file`], as messages name it.
    ///
    /// # Panics
    /// If `file` is not below the number of files.
    pub fn file_name(&self, file: u32) -> &str {
        self.sources[file as usize].name()
    }

    /// The reader of the current file, opened if need be; `None` after the last.
    fn reader(&mut self) -> Result<Option<&mut Box<dyn RowReader>>> {
        if self.reader.is_none() {
            let Some(source) = self.sources.get(self.file) else {
                return Ok(None);
            };
            let mut reader = open_reader(source, &self.options)?;
            reader.use_types(&self.types);
            self.reader = Some(reader);
        }
        Ok(self.reader.as_mut())
    }

    fn finish_file(&mut self) {
        if let Some(here) = self.reader.as_ref().and_then(|reader| reader.presence()) {
            self.presence.merge(here);
        }
        let read = self.reader.take().map_or(0, |reader| reader.bytes_read());
        self.bytes_before += self.sources[self.file].size().unwrap_or(read);
        self.file += 1;
    }

    fn next_row(&mut self) -> Result<Option<Row>> {
        while let Some(reader) = self.reader()? {
            if let Some(mut row) = reader.next_row()? {
                row.file = self.file as u32;
                row.index = self.next_index;
                self.next_index += 1;
                return Ok(Some(row));
            }
            self.finish_file();
        }
        self.presence.check(&self.name(), &self.options)?;
        Ok(None)
    }
}

impl Iterator for Rows {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = self.next_row();
        if result.is_err() {
            self.file = self.sources.len();
            self.reader = None;
        }
        result.transpose()
    }
}
