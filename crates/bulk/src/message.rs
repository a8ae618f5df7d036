//! Messages that mention settings without knowing a program's names for them.

use std::fmt;

/// A setting of a run or a merge that messages speak of.
///
/// A message holds the setting itself, so that a command line can put its flag there
/// ([`Error::message`](crate::Error::message)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Setting {
    /// [`Dialect::delimiter`](crate::Dialect::delimiter).
    Delimiter,
    /// The length of vectors, which the caller's model is opened with.
    Dims,
    /// [`Dialect::escape`](crate::Dialect::escape).
    Escape,
    /// [`Job::field`](crate::Job::field).
    Field,
    /// [`Job::force`](crate::Job::force).
    Force,
    /// [`Job::id_field`](crate::Job::id_field).
    IdField,
    /// [`Job::input`](crate::Job::input).
    Input,
    /// [`Job::input_format`](crate::Job::input_format).
    InputFormat,
    /// [`Job::keep`](crate::Job::keep).
    Keep,
    /// [`Job::max_memory`](crate::Job::max_memory).
    MaxMemory,
    /// [`Dialect::no_header`](crate::Dialect::no_header).
    NoHeader,
    /// [`Job::output`](crate::Job::output).
    Output,
    /// [`Job::output_format`](crate::Job::output_format).
    OutputFormat,
    /// [`Space::precision`](crate::Space::precision).
    Precision,
    /// [`Dialect::quote`](crate::Dialect::quote).
    Quote,
    /// [`Job::resume`](crate::Job::resume).
    Resume,
    /// [`Job::reuse`](crate::Job::reuse).
    Reuse,
    /// [`Job::shard`](crate::Job::shard).
    Shard,
}

impl Setting {
    /// The name of the field that holds it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delimiter => "delimiter",
            Self::Dims => "dims",
            Self::Escape => "escape",
            Self::Field => "field",
            Self::Force => "force",
            Self::IdField => "id_field",
            Self::Input => "input",
            Self::InputFormat => "input_format",
            Self::Keep => "keep",
            Self::MaxMemory => "max_memory",
            Self::NoHeader => "no_header",
            Self::Output => "output",
            Self::OutputFormat => "output_format",
            Self::Precision => "precision",
            Self::Quote => "quote",
            Self::Resume => "resume",
            Self::Reuse => "reuse",
            Self::Shard => "shard",
        }
    }
}

/// Text with settings in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message(Vec<Part>);

/// A piece of a [`Message`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    Text(String),
    Setting(Setting),
}

impl Message {
    pub(crate) fn new(parts: Vec<Part>) -> Self {
        Self(parts)
    }

    /// The message with a text in front of it.
    pub(crate) fn after(mut self, text: String) -> Self {
        self.0.insert(0, Part::Text(text));
        self
    }

    /// The message with another one after it.
    pub(crate) fn join(mut self, between: &str, mut other: Self) -> Self {
        self.0.push(between.into());
        self.0.append(&mut other.0);
        self
    }

    /// Whether the setting is spoken of.
    pub(crate) fn mentions(&self, setting: Setting) -> bool {
        self.0.contains(&Part::Setting(setting))
    }

    /// The text, with `name` naming the settings.
    pub fn with_names(&self, name: &dyn Fn(Setting) -> String) -> String {
        let parts = self.0.iter().map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::Setting(setting) => name(*setting),
        });
        parts.collect()
    }
}

/// Settings are called by the names of their fields.
impl fmt::Display for Message {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.with_names(&|setting| format!("`{}`", setting.name())))
    }
}

impl From<&str> for Part {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Part {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Setting> for Part {
    fn from(setting: Setting) -> Self {
        Self::Setting(setting)
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self(vec![text.into()])
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self(vec![text.into()])
    }
}

/// A [`Message`] of texts and [`Setting`]s, one after the other.
macro_rules! message {
    ($($part:expr),+ $(,)?) => {
        $crate::message::Message::new(vec![$($crate::message::Part::from($part)),+])
    };
}
pub(crate) use message;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_called_what_the_caller_calls_them() {
        let message = message!["give ", Setting::MaxMemory, format!(" {}M", 10)];
        assert_eq!(message.to_string(), "give `max_memory` 10M");
        let flag = |setting: Setting| format!("--{}", setting.name().replace('_', "-"));
        assert_eq!(message.with_names(&flag), "give --max-memory 10M");
    }
}
