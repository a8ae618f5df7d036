//! Tables of counted instructions: committed beside what they count, compared, and accepted anew on
//! purpose.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// Counts in named columns, a row for each thing counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The compiler whose code was counted: another one gives other counts.
    pub compiler: String,
    /// What the columns hold. In those that begin with `=` fewer is as wrong as more.
    pub columns: Vec<String>,
    /// As many numbers as columns.
    pub rows: BTreeMap<String, Vec<u64>>,
}

/// What two tables differ in.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// More than the table allows, fewer where it must be equal, or not in the table: a failure.
    pub worse: Vec<String>,
    /// Less than the table has.
    pub better: Vec<String>,
}

const COMPILER: &str = "# compiler: ";
const COLUMNS: &str = "# columns: ";

impl Table {
    /// An empty table of this process's compiler.
    pub fn new<const COLUMNS: usize>(columns: [&str; COLUMNS]) -> Self {
        Table {
            compiler: lanewise_kernels::RUSTC.into(),
            columns: columns.map(str::to_owned).into(),
            rows: BTreeMap::new(),
        }
    }

    /// Reads a table: lines of a name and its counts; `#` begins a comment, two of which name the
    /// compiler and the columns.
    ///
    /// # Errors
    ///
    /// Naming the file and the line.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path)
            .map_err(|error| format!("{}: cannot read: {error}", path.display()))?;
        Self::parse(&text).map_err(|problem| format!("{}: {problem}", path.display()))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut table = Table::default();
        for (number, line) in text.lines().enumerate() {
            if let Some(compiler) = line.strip_prefix(COMPILER) {
                table.compiler = compiler.to_owned();
            } else if let Some(columns) = line.strip_prefix(COLUMNS) {
                table.columns = columns.split_whitespace().map(str::to_owned).collect();
            } else if !line.starts_with('#') && !line.is_empty() {
                let mut words = line.split_whitespace();
                let name = words.next().unwrap_or_default().to_owned();
                let counts: Option<Vec<u64>> = words.map(|word| word.parse().ok()).collect();
                let counts = counts.filter(|counts| counts.len() == table.columns.len());
                let counts = counts.ok_or_else(|| {
                    format!(
                        "line {}: not a name and {} counts",
                        number + 1,
                        table.columns.len()
                    )
                })?;
                table.rows.insert(name, counts);
            }
        }
        Ok(table)
    }

    /// Writes the table; `about` becomes its first comment.
    ///
    /// # Errors
    ///
    /// Naming the file.
    pub fn write(&self, path: &Path, about: &str) -> Result<(), String> {
        fs::write(path, self.text(about))
            .map_err(|error| format!("{}: cannot write: {error}", path.display()))
    }

    fn text(&self, about: &str) -> String {
        let mut text = String::new();
        for line in about.lines() {
            text += &format!("# {line}\n");
        }
        text += &format!("{COMPILER}{}\n", self.compiler);
        text += &format!("{COLUMNS}{}\n", self.columns.join(" "));
        let width = self.rows.keys().map(String::len).max().unwrap_or_default();
        for (name, counts) in &self.rows {
            let _ = write!(text, "{name:width$}");
            for (count, column) in counts.iter().zip(&self.columns) {
                let _ = write!(text, " {count:>0$}", column.len().max(6));
            }
            text.push('\n');
        }
        text
    }

    /// Holds what was counted against this table: a count may be larger by `tolerance`, a fraction
    /// of it.
    pub fn compare(&self, counted: &Table, tolerance: f64) -> Differences {
        let mut differences = Differences::default();
        for (name, counts) in &counted.rows {
            let Some(expected) = self.rows.get(name) else {
                let line = format!("{name}: {counts:?} instructions, and no row in the table");
                differences.worse.push(line);
                continue;
            };
            for ((&count, &expected), column) in counts.iter().zip(expected).zip(&self.columns) {
                let line = || format!("{name}: {column} from {expected} to {count}");
                let exact = column.starts_with('=');
                if count > most(expected, tolerance) || exact && count < expected {
                    differences.worse.push(line());
                } else if count < expected {
                    differences.better.push(line());
                }
            }
        }
        let gone = self
            .rows
            .keys()
            .filter(|name| !counted.rows.contains_key(*name));
        for name in gone {
            differences
                .worse
                .push(format!("{name}: in the table, but no longer in the code"));
        }
        differences
    }

    /// Compares with the table in a file, and says what differs and how to accept it.
    ///
    /// # Errors
    ///
    /// If anything is worse than the table, with all that is.
    pub fn check(&self, path: &Path, tolerance: f64, accept: &str) -> Result<String, String> {
        let table = Table::read(path)?;
        let differences = table.compare(self, tolerance);
        let mut message = String::new();
        if table.compiler != self.compiler {
            message += &format!(
                "NOTE: {} was made with {}, and this is {}: counts may differ for that reason alone\n",
                path.display(),
                table.compiler,
                self.compiler
            );
        }
        for line in &differences.better {
            message += &format!("fewer  {line}\n");
        }
        for line in &differences.worse {
            message += &format!("WORSE  {line}\n");
        }
        if !differences.better.is_empty() || !differences.worse.is_empty() {
            message += &format!("to accept this on purpose: {accept}\n");
        }
        if differences.worse.is_empty() {
            message += &format!("{} counts held\n", self.rows.len());
            Ok(message)
        } else {
            Err(message)
        }
    }
}

/// The most that is no worse than `count`, when it may grow by a fraction of it.
pub fn most(count: u64, tolerance: f64) -> u64 {
    count + (count as f64 * tolerance) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[(&str, [u64; 2])]) -> Table {
        let mut table = Table::new(["block", "call"]);
        table.rows = rows
            .iter()
            .map(|&(name, counts)| (name.to_owned(), counts.to_vec()))
            .collect();
        table
    }

    #[test]
    fn a_table_is_read_as_it_was_written() {
        let written = table(&[("gemm", [143, 3500]), ("softmax", [0, 7])]);
        assert_eq!(Table::parse(&written.text("About\nit.")), Ok(written));
    }

    #[test]
    fn damaged_lines_are_named() {
        for text in [
            "# columns: a b\nname 1\n",
            "# columns: a\nname x\n",
            "name 1\n",
        ] {
            let error = Table::parse(text).unwrap_err();
            assert!(error.starts_with("line "), "{error}");
        }
    }

    #[test]
    fn fewer_multiply_adds_than_claimed_are_worse() {
        let [mut committed, mut counted] = [[96, 220], [95, 219]].map(|row| table(&[("a", row)]));
        committed.columns[0] = "=vpdpbusd".into();
        counted.columns[0] = "=vpdpbusd".into();
        let differences = committed.compare(&counted, 0.0);
        assert_eq!(differences.worse, ["a: =vpdpbusd from 96 to 95"]);
        assert_eq!(differences.better, ["a: call from 220 to 219"]);
    }

    #[test]
    fn more_is_worse_fewer_is_better_and_rows_must_match() {
        let committed = table(&[("a", [1000, 10]), ("gone", [1, 1])]);
        let counted = table(&[("a", [1005, 9]), ("new", [1, 1])]);
        let exact = committed.compare(&counted, 0.0);
        assert_eq!(exact.better, ["a: call from 10 to 9"]);
        assert_eq!(exact.worse.len(), 3);
        assert_eq!(exact.worse[0], "a: block from 1000 to 1005");
        assert_eq!(committed.compare(&counted, 0.005).worse.len(), 2);
    }
}
