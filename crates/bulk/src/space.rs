//! The space that vectors belong to, so that vectors of different spaces are not mixed.

use std::collections::BTreeMap;
use std::io::{self, Read};

use lanewise_vectors::Precisions;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::windows::OverflowPolicy;

/// Everything that decides which vector a text gets; every output states it. Vectors of different
/// spaces do not compare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// The version of the program that computes them.
    pub version: String,
    /// The model's name, as its file states it.
    pub model: String,
    /// The SHA-256 of the model file, as [`sha256`] gives it.
    pub model_sha256: String,
    /// The prompt's name.
    pub prompt: String,
    /// What stands in front of every text.
    pub prompt_text: String,
    /// How the vectors of a text's tokens become one.
    pub pooling: String,
    /// Whether vectors passed the two dense heads.
    pub dense_heads: bool,
    /// The length of vectors.
    pub dims: usize,
    /// How their values are stored: in one precision, or in several side by side.
    pub precision: Precisions,
    /// What was done with texts that are too long.
    pub overflow: OverflowPolicy,
}

/// What stands before the names of fields in metadata.
const PREFIX: &str = "lanewise.";

impl Space {
    /// A short name of the space: vectors compare if theirs are equal.
    ///
    /// It is `lw1-` and the first 16 hexadecimal digits of the SHA-256 of these lines, each ended by
    /// a newline: the digest of the model file, the pooling, whether vectors passed the dense heads
    /// (`true` or `false`), the length of the prompt in bytes, the prompt, the number of dimensions,
    /// the precision (`i8`, or `i8+binary`), and the norm, which is `l2`. Neither the version of the program counts nor what
    /// was done with texts that are too long.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for line in [
            self.model_sha256.as_str(),
            &self.pooling,
            &self.dense_heads.to_string(),
            &self.prompt_text.len().to_string(),
            &self.prompt_text,
            &self.dims.to_string(),
            &self.fields()["precision"],
            "l2",
        ] {
            hash.update(line);
            hash.update("\n");
        }
        format!("lw1-{}", hexadecimal(&hash.finalize()[..8]))
    }

    /// The fields and the fingerprint as names and values, for the metadata of files.
    pub(crate) fn metadata(&self) -> BTreeMap<String, String> {
        let fields = self.fields().into_iter();
        let fields = fields.map(|(name, value)| (format!("{PREFIX}{name}"), value));
        fields
            .chain([(format!("{PREFIX}space"), self.fingerprint())])
            .collect()
    }

    /// The first field by which equal tokens may have another vector in `other`: its name and both
    /// values.
    pub fn difference(&self, other: &Self) -> Option<(String, String, String)> {
        // How the model is called, and what became of long texts, makes no difference to a vector.
        const NO_DIFFERENCE: [&str; 3] = ["model", "prompt", "overflow"];
        let pairs = self.fields().into_iter().zip(other.fields().into_values());
        let mut pairs = pairs.filter(|((name, _), _)| !NO_DIFFERENCE.contains(&name.as_str()));
        let differs = pairs.find(|((_, own), other)| own != other);
        differs.map(|((name, own), other)| (name, own, other))
    }

    /// Names and values.
    fn fields(&self) -> BTreeMap<String, String> {
        let fields = match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(fields)) => fields,
            _ => unreachable!("a struct of plain fields is an object"),
        };
        let text = |value| match value {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        let fields = fields.into_iter();
        fields.map(|(name, value)| (name, text(value))).collect()
    }
}

/// The SHA-256 of what is read, in hexadecimal digits.
///
/// # Errors
/// If it cannot be read.
pub fn sha256(mut content: impl Read) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match content.read(&mut buffer)? {
            0 => break,
            read => hash.update(&buffer[..read]),
        }
    }
    Ok(hexadecimal(&hash.finalize()))
}

/// The digits of a hash.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use lanewise_vectors::Precision;

    use super::*;

    fn space() -> Space {
        Space {
            version: "0.2.0".into(),
            model: "a model".into(),
            model_sha256: "00ff".into(),
            prompt: "query".into(),
            prompt_text: "query: ".into(),
            pooling: "mean".into(),
            dense_heads: true,
            dims: 768,
            precision: Precision::I8.into(),
            overflow: OverflowPolicy::Split,
        }
    }

    /// Files and servers state it: it must stay what it is.
    #[test]
    fn the_fingerprint_is_what_its_documentation_says() {
        let text = "00ff\nmean\ntrue\n7\nquery: \n768\ni8\nl2\n";
        let digest = hexadecimal(&Sha256::digest(text)[..8]);
        assert_eq!(space().fingerprint(), format!("lw1-{digest}"));
        let other = Space {
            prompt_text: "query:".into(),
            ..space()
        };
        assert_ne!(other.fingerprint(), space().fingerprint());
        let newer = Space {
            version: "9".into(),
            ..space()
        };
        assert_eq!(newer.fingerprint(), space().fingerprint());
    }

    #[test]
    fn only_what_changes_vectors_is_a_difference() {
        let other = Space {
            model: "renamed".into(),
            overflow: OverflowPolicy::Truncate,
            ..space()
        };
        assert_eq!(space().difference(&other), None);
        let other = Space {
            dims: 256,
            ..space()
        };
        let difference = ("dims".into(), "768".into(), "256".into());
        assert_eq!(space().difference(&other), Some(difference));
    }
}
