//! Values of the arguments for whole files, as clap reads and lists them.

use clap::ValueEnum;

/// The format of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// A JSON object a line
    Jsonl,
    /// Comma-separated values under a header line, one column a number
    Csv,
    /// A NumPy array; ids and the rest go into OUTPUT.ids.jsonl
    Npy,
    /// Parquet, the vectors in one column of lists
    Parquet,
    /// Arrow IPC file (Feather), the vectors in one column of fixed-size lists
    Arrow,
}

impl From<OutputFormat> for lanewise_bulk::OutputFormat {
    fn from(format: OutputFormat) -> Self {
        match format {
            OutputFormat::Jsonl => Self::Jsonl,
            OutputFormat::Csv => Self::Csv,
            OutputFormat::Npy => Self::Npy,
            OutputFormat::Parquet => Self::Parquet,
            OutputFormat::Arrow => Self::Arrow,
        }
    }
}

/// The format of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InputFormat {
    /// A text a line
    Lines,
    /// JSON objects: one a line, or over several, or in arrays
    Jsonl,
    /// Comma-separated values under a header line, as in RFC 4180
    Csv,
    /// Tab-separated values under a header line, without quoting
    Tsv,
    /// Parquet
    Parquet,
    /// Arrow IPC, as a file (Feather) or a stream
    Arrow,
}

impl From<InputFormat> for lanewise_bulk::InputFormat {
    fn from(format: InputFormat) -> Self {
        match format {
            InputFormat::Lines => Self::Lines,
            InputFormat::Jsonl => Self::Jsonl,
            InputFormat::Csv => Self::Csv,
            InputFormat::Tsv => Self::Tsv,
            InputFormat::Parquet => Self::Parquet,
            InputFormat::Arrow => Self::Arrow,
        }
    }
}

/// How a run that is resumed is compared with the interrupted one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Resume {
    /// By size, time, beginning, end and samples of each input file
    Compare,
    /// By all of each input file
    Verify,
}

impl From<Resume> for lanewise_bulk::Resume {
    fn from(resume: Resume) -> Self {
        match resume {
            Resume::Compare => Self::Compare,
            Resume::Verify => Self::Verify,
        }
    }
}

/// A number of bytes: `512M`, `2G`, in powers of 1024.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = text.split_at(text.trim_end_matches(|c: char| c.is_alphabetic()).len());
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err("give bytes as in 512M or 2G".into()),
    };
    let bytes = number.trim().parse::<u64>().ok();
    bytes
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| "give bytes as in 512M or 2G".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_with_their_unit() {
        assert_eq!(parse_bytes("512M"), Ok(512 << 20));
        assert_eq!(parse_bytes("2g"), Ok(2 << 30));
        assert_eq!(parse_bytes("1000"), Ok(1000));
        for wrong in ["", "M", "-1M", "1.5G", "1X", "99999999999T"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }
}
