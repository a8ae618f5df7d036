//! The first page of a file of packed weights.

use lanewise_kernels::PanelLayout;

use super::checksum::{chunk_sum, combine};

/// Bytes of the header: panels begin at a page, so that they are lines of the map.
pub const HEADER: usize = 4096;

const MAGIC: [u8; 16] = *b"Lanewise packed\n";
/// The version of the header and of the order of panels.
const FORMAT: u64 = 1;

/// Words after [`MAGIC`]: format, layout, its version, bytes, identity, sum of the panels.
const WORDS: usize = 5 + IDENTITY;
/// Words of a model's identity.
pub const IDENTITY: usize = 7;

/// What a file of packed weights says of itself. All numbers are little-endian words of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// How panels are laid out.
    pub layout: PanelLayout,
    /// Bytes of the panels.
    pub bytes: u64,
    /// The model whose panels they are.
    pub model: [u64; IDENTITY],
    /// The checksum of the panels.
    pub sum: u64,
}

impl Header {
    /// The header's page.
    pub fn encode(&self) -> [u8; HEADER] {
        let mut page = [0; HEADER];
        page[..MAGIC.len()].copy_from_slice(&MAGIC);
        let words = self.words();
        let sum = combine(words);
        let places = page[MAGIC.len()..].as_chunks_mut::<8>().0;
        for (place, word) in places.iter_mut().zip(words.into_iter().chain([sum])) {
            *place = word.to_le_bytes();
        }
        page
    }

    /// Checks that the page at the start of a file is this header, but for the sum of the panels,
    /// which is returned.
    ///
    /// # Errors
    /// What is wrong with the file, as a sentence without its subject.
    pub fn check(&self, file: &[u8]) -> Result<u64, String> {
        let page = file.get(..HEADER).filter(|page| page.starts_with(&MAGIC));
        let Some(page) = page else {
            return Err("is no file of packed weights".into());
        };
        let mut words = page[MAGIC.len()..].as_chunks::<8>().0.iter();
        let mut found = [0; WORDS];
        for (found, word) in found.iter_mut().zip(words.by_ref()) {
            *found = u64::from_le_bytes(*word);
        }
        let sum = words.next().copied().map(u64::from_le_bytes);
        let rest = words.flatten().any(|&byte| byte != 0);
        if sum != Some(combine(found)) || rest {
            return Err("its header is damaged".into());
        }
        let expected = Self {
            sum: found[WORDS - 1],
            ..*self
        };
        let words = expected.words();
        if found[..3] != words[..3] {
            return Err("was written by another version of Lanewise".into());
        }
        if found[4..] != words[4..] {
            return Err("was made from another model, or from this one before it changed".into());
        }
        let length = HEADER as u64 + self.bytes;
        if found[3] != self.bytes || file.len() as u64 != length {
            return Err(format!("has {} bytes, not {length}", file.len()));
        }
        Ok(expected.sum)
    }

    fn words(&self) -> [u64; WORDS] {
        let layout = match self.layout {
            PanelLayout::Scalar => 0,
            PanelLayout::Avx2 => 1,
            PanelLayout::Vnni => 2,
        };
        let mut words = [0; WORDS];
        words[..4].copy_from_slice(&[FORMAT, layout, PanelLayout::VERSION.into(), self.bytes]);
        words[4..4 + IDENTITY].copy_from_slice(&self.model);
        words[4 + IDENTITY] = self.sum;
        words
    }
}

/// The name of a file of packed weights: one for a path of a model and a layout.
pub fn file_name(model: &std::path::Path, layout: PanelLayout) -> String {
    let path = chunk_sum(model.as_os_str().as_encoded_bytes());
    let layout = match layout {
        PanelLayout::Scalar => "scalar",
        PanelLayout::Avx2 => "avx2",
        PanelLayout::Vnni => "vnni",
    };
    format!("{path:016x}.{layout}-{}.packed", PanelLayout::VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_of_the_header_is_checked() {
        let header = Header {
            layout: PanelLayout::Vnni,
            bytes: 64,
            model: [7; IDENTITY],
            sum: 9,
        };
        let mut file = header.encode().to_vec();
        file.resize(HEADER + 64, 1);
        let expected = Header { sum: 0, ..header };
        assert_eq!(expected.check(&file), Ok(9));
        for bit in 0..HEADER * 8 {
            file[bit / 8] ^= 1 << (bit % 8);
            assert!(expected.check(&file).is_err(), "bit {bit}");
            file[bit / 8] ^= 1 << (bit % 8);
        }
        let reason = |header: Header| header.check(&file).unwrap_err();
        assert!(
            reason(Header {
                model: [8; IDENTITY],
                ..header
            })
            .contains("another model")
        );
        let other = Header {
            layout: PanelLayout::Avx2,
            ..header
        };
        assert!(reason(other).contains("another version"));
        assert!(
            reason(Header {
                bytes: 128,
                ..header
            })
            .contains("4160 bytes, not 4224")
        );
        assert!(expected.check(&file[..100]).is_err());
        file.pop();
        assert!(expected.check(&file).unwrap_err().contains("4159 bytes"));
    }
}
