//! The columns of an output that come from the input: their names and types.

use crate::error::{Error, Result};
use crate::format::OutputFormat;
use crate::formats::check_column;
use crate::message::{Setting, message};
use crate::output::OWN_COLUMNS;
use crate::row::CellType;
use crate::settings::Settings;
use crate::spool::{SeenTypes, Summary};

/// The name of the ids' column.
pub const ID: &str = "id";
/// What comes before the name of a kept column that the output has one of by itself.
const PREFIX: &str = "input_";

/// A column that comes from the input.
#[derive(Debug, Clone)]
pub struct OutputColumn {
    /// Its name in the output.
    pub name: String,
    /// Its type.
    pub cells: CellType,
    /// Whether all bytes in it are UTF-8.
    pub bytes_are_text: bool,
}

impl OutputColumn {
    fn new(name: String, cells: Option<&CellType>, seen: SeenTypes) -> Self {
        Self {
            name,
            cells: cells.cloned().unwrap_or_else(|| seen.common()),
            bytes_are_text: seen.bytes_are_text(),
        }
    }
}

/// The ids' column, if there are ids, and those carried along.
pub fn output_columns(
    settings: &Settings,
    summary: &Summary,
    format: OutputFormat,
) -> (Option<OutputColumn>, Vec<OutputColumn>) {
    let ids = settings.id_field.as_ref().map(|_| {
        let seen = summary.seen.last().copied().unwrap_or_default();
        OutputColumn::new(ID.into(), settings.id_type.as_ref(), seen)
    });
    let kept = settings.keep.iter().zip(&summary.seen);
    let kept = kept.map(|(column, seen)| {
        let name = output_name(&column.name, settings.id_field.is_some(), format);
        OutputColumn::new(name, column.cells.as_ref(), *seen)
    });
    (ids, kept.collect())
}

/// The names of the columns carried along, in an output of this format.
pub fn kept_names(settings: &Settings, format: OutputFormat) -> Vec<String> {
    let has_ids = settings.id_field.is_some();
    let kept = settings.keep.iter();
    kept.map(|column| output_name(&column.name, has_ids, format))
        .collect()
}

/// The name of a kept column in the output. One that the output has by itself is that of the
/// input's only behind [`PREFIX`].
fn output_name(name: &str, has_ids: bool, format: OutputFormat) -> String {
    let numbered = |name: &str| {
        let number = name.strip_prefix('e');
        number
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    };
    let taken = match name {
        ID => has_ids,
        name => OWN_COLUMNS.contains(&name) || (format == OutputFormat::Csv && numbered(name)),
    };
    if taken {
        format!("{PREFIX}{name}")
    } else {
        name.into()
    }
}

/// Leaves out what is in the output anyway: `id`, if it is the id; refuses columns that would have
/// the same name.
pub fn check_names(
    keep: &mut Vec<String>,
    id_field: Option<&str>,
    format: OutputFormat,
) -> Result<()> {
    let given = keep.iter().enumerate();
    let twice = given
        .clone()
        .find(|(position, name)| keep[..*position].contains(name));
    if let Some((_, name)) = twice {
        let problem = format!(": '{name}' is given twice");
        return Err(Error::argument(message![Setting::Keep, problem]));
    }
    let names = |name: &String| output_name(name, id_field.is_some(), format);
    let names: Vec<String> = keep.iter().map(names).collect();
    for (position, name) in names.iter().enumerate() {
        if let Some(other) = names[..position].iter().position(|other| other == name) {
            let problem = format!(
                ": '{}' and '{}' would both be the output's column '{name}'; give one of them only",
                keep[other], keep[position]
            );
            return Err(Error::argument(message![Setting::Keep, problem]));
        }
    }
    keep.retain(|name| name != ID || id_field != Some(ID));
    Ok(())
}

/// Refuses columns that the output's format cannot hold.
pub fn check_types(settings: &Settings, format: OutputFormat) -> Result<()> {
    let id = settings.id_field.iter().zip(&settings.id_type);
    let id = id.map(|(name, cells)| (Setting::IdField, name, cells));
    let kept = settings.keep.iter().filter_map(|column| {
        let cells = column.cells.as_ref()?;
        Some((Setting::Keep, &column.name, cells))
    });
    for (setting, name, cells) in id.chain(kept) {
        if let CellType::Arrow(data_type) = cells
            && let Err(problem) = check_column(format, data_type)
        {
            return Err(Error::argument(message![
                setting,
                format!(
                    ": the column \"{name}\" is {data_type}, which the output cannot hold ({problem}); leave it out, or take another "
                ),
                Setting::OutputFormat,
            ]));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_column_gives_way_to_the_output_s_own() {
        let name = |name, has_ids| output_name(name, has_ids, OutputFormat::Csv);
        assert_eq!(name("id", false), "id");
        assert_eq!(name("id", true), "input_id");
        assert_eq!(name("embedding", false), "input_embedding");
        assert_eq!(name("e12", false), "input_e12");
        assert_eq!(name("e1x", false), "e1x");
        assert_eq!(output_name("e12", true, OutputFormat::Jsonl), "e12");
    }

    #[test]
    fn the_id_is_kept_once_and_two_columns_have_two_names() {
        let check = |keep: &[&str], id: Option<&str>| {
            let mut keep = keep.iter().map(|name| name.to_string()).collect();
            let checked = check_names(&mut keep, id, OutputFormat::Jsonl);
            checked.map(|()| keep).map_err(|error| error.to_string())
        };
        assert_eq!(check(&["id", "url"], Some("id")), Ok(vec!["url".into()]));
        assert_eq!(check(&["id"], None), Ok(vec!["id".into()]));
        assert_eq!(check(&["id"], Some("key")), Ok(vec!["id".into()]));
        let twice = check(&["url", "url"], None).unwrap_err();
        assert!(twice.contains("'url' is given twice"), "{twice}");
        let same = check(&["index", "input_index"], None).unwrap_err();
        assert!(same.contains("'index' and 'input_index'"), "{same}");
    }
}
