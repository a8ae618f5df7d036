//! What a run's vectors are, and what they were made from: written into every output, and compared before two runs are
//! put together.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;
use std::str::FromStr;

use lanewise::{Embedder, Input};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::input::CellType;
use super::vector::Precision;
use crate::cli::options::OverflowPolicy;

/// Everything that decides which vector a text gets. Vectors of different spaces do not compare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// The version of Lanewise.
    pub version: String,
    /// The model's name, as its file states it.
    pub model: String,
    /// The SHA-256 of the model file.
    pub model_sha256: String,
    /// The prompt's name.
    pub prompt: String,
    /// What stands in front of every text.
    pub prompt_text: String,
    /// Whether vectors passed the two dense heads.
    pub dense_heads: bool,
    /// The length of vectors.
    pub dims: usize,
    /// How their values are stored.
    pub precision: Precision,
    /// What was done with texts that are too long.
    pub overflow: OverflowPolicy,
}

impl Space {
    /// The space of an embedder's vectors for such inputs. Reads the whole model file for its digest.
    pub fn new(
        embedder: &Embedder,
        input: Input<'_>,
        dense_heads: bool,
        precision: Precision,
        overflow: OverflowPolicy,
    ) -> io::Result<Self> {
        let gguf = embedder.model().gguf();
        let name = gguf.optional_str("general.name").ok().flatten();
        Ok(Self {
            version: env!("CARGO_PKG_VERSION").into(),
            model: name.unwrap_or_default().into(),
            model_sha256: sha256(gguf.path())?,
            prompt: input.prompt.name().into(),
            prompt_text: input.prompt.prefix(input.title).into_owned(),
            dense_heads,
            dims: embedder.dims(),
            precision,
            overflow,
        })
    }

    /// The same as names and values, for the metadata of files.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        let fields = match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(fields)) => fields,
            _ => unreachable!("a struct of plain fields is an object"),
        };
        let text = |value| match value {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        fields
            .into_iter()
            .map(|(name, value)| (format!("lanewise.{name}"), text(value)))
            .collect()
    }
}

fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match io::Read::read(&mut file, &mut buffer)? {
            0 => break,
            read => hash.update(&buffer[..read]),
        }
    }
    Ok(hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// What a run does, all that its rows depend on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The space of the vectors.
    pub space: Space,
    /// The input files, in order.
    pub inputs: Vec<InputFile>,
    /// The format given for them, if one was.
    pub input_format: Option<String>,
    /// The column with the text.
    pub field: String,
    /// The column with the id.
    pub id_field: Option<String>,
    /// The columns carried along.
    pub keep: Vec<KeptColumn>,
    /// Which part of the rows.
    pub shard: Shard,
}

impl Settings {
    /// The first setting in which `other` differs, with both values; the shard does not count.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let [mine, theirs] = [self, other].map(|settings| {
            let mut fields: BTreeMap<String, String> = settings.space.metadata();
            let inputs: Vec<String> = settings.inputs.iter().map(InputFile::identity).collect();
            let list = |name: &str, value: String| (name.to_owned(), value);
            fields.extend([
                list("the input", inputs.join(", ")),
                list("--input-format", format!("{:?}", settings.input_format)),
                list("--field", settings.field.clone()),
                list("--id-field", format!("{:?}", settings.id_field)),
                list("--keep", format!("{:?}", settings.keep)),
            ]);
            fields
        });
        let differs = mine
            .iter()
            .find(|(name, value)| theirs.get(*name) != Some(value));
        differs.map(|(name, value)| {
            let other = theirs.get(name).map_or("nothing", String::as_str);
            let name = name.strip_prefix("lanewise.").unwrap_or(name);
            format!("{name} is {value} there and {other} here")
        })
    }
}

/// An input file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    /// Its path, as it was given; messages say `standard input` for `-`.
    pub path: String,
    /// Its size, if it has one.
    pub bytes: Option<u64>,
}

impl InputFile {
    /// Looks at a file, which messages call `name`.
    pub fn new(path: &Path, name: &str) -> Self {
        let regular = std::fs::metadata(path)
            .ok()
            .filter(|found| found.is_file() && path.as_os_str() != "-");
        Self {
            path: name.into(),
            bytes: regular.map(|found| found.len()),
        }
    }

    /// What stays the same when the file is copied to another machine.
    fn identity(&self) -> String {
        let name = Path::new(&self.path).file_name();
        let name = name.map_or(self.path.as_str().into(), |name| name.to_string_lossy());
        match self.bytes {
            Some(bytes) => format!("{name} of {bytes} bytes"),
            None => name.into_owned(),
        }
    }
}

/// A column carried along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptColumn {
    /// Its name.
    pub name: String,
    /// Its type, where the input says so.
    pub cells: Option<CellType>,
}

/// Part `number` of `of`, counted from 1: the rows whose index, counted from 0, is `number - 1` modulo `of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Which.
    pub number: u64,
    /// Of how many.
    pub of: u64,
}

/// More parts than this are a slip.
const MAX_SHARDS: u64 = 100_000;

impl Shard {
    /// All rows.
    pub const WHOLE: Self = Self { number: 1, of: 1 };

    /// Whether there are no other parts.
    pub fn is_whole(self) -> bool {
        self.of == 1
    }

    /// The index of its first row.
    pub fn first(self) -> u64 {
        self.number - 1
    }

    /// Whether the numbers go together.
    pub fn is_valid(self) -> bool {
        (1..=MAX_SHARDS).contains(&self.of) && (1..=self.of).contains(&self.number)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.number, self.of)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (number, of) = text.split_once('/')?;
            let (number, of) = (number.parse().ok()?, of.parse().ok()?);
            Some(Self { number, of }).filter(|shard| shard.is_valid())
        };
        parse()
            .ok_or_else(|| format!("give i/n with i from 1 to n (at most {MAX_SHARDS}), as in 2/4"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_counted_from_one() {
        assert_eq!("2/4".parse(), Ok(Shard { number: 2, of: 4 }));
        assert_eq!("1/1".parse(), Ok(Shard::WHOLE));
        for wrong in ["", "0/4", "5/4", "1", "a/b", "1/0", "1/1000000", "-1/2"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
