//! The characters that byte-level vocabularies spell bytes with: each byte is one, so that every piece is
//! printable text. Printable bytes of Latin-1 stand for themselves, the others for characters from U+0100 on,
//! in their order.

/// Whether a byte stands for itself.
const fn is_itself(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

/// The character of each byte.
static CHARACTERS: [char; 256] = {
    let mut characters = ['\0'; 256];
    let (mut byte, mut next) = (0, 0x100);
    while byte < 256 {
        let code = if is_itself(byte as u8) {
            byte as u32
        } else {
            next += 1;
            next - 1
        };
        characters[byte] = char::from_u32(code).unwrap();
        byte += 1;
    }
    characters
};

/// The byte of each character up to U+0143, the last that stands for one.
static BYTES: [Option<u8>; 0x144] = {
    let mut bytes = [None; 0x144];
    let mut byte = 0;
    while byte < 256 {
        bytes[CHARACTERS[byte] as usize] = Some(byte as u8);
        byte += 1;
    }
    bytes
};

/// The character of a byte.
pub(super) fn character(byte: u8) -> char {
    CHARACTERS[byte as usize]
}

/// The byte of a character, if it stands for one.
pub(super) fn byte(character: char) -> Option<u8> {
    BYTES.get(character as usize).copied().flatten()
}

/// Appends the bytes that a piece stands for. What is not of the alphabet stands for itself.
pub(super) fn extend_bytes(piece: &[u8], bytes: &mut Vec<u8>) {
    for chunk in piece.utf8_chunks() {
        for character in chunk.valid().chars() {
            match byte(character) {
                Some(byte) => bytes.push(byte),
                None => bytes.extend(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        bytes.extend(chunk.invalid());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_a_character_of_its_own() {
        for value in 0..=255 {
            assert_eq!(byte(character(value)), Some(value));
        }
        assert_eq!([b' ', b'\n', b'a'].map(character), ['Ġ', 'Ċ', 'a']);
        assert_eq!(byte(' '), None);
        let mut bytes = Vec::new();
        extend_bytes("Ġaé日".as_bytes(), &mut bytes);
        assert_eq!(bytes, [&b" a\xe9"[..], "日".as_bytes()].concat());
    }
}
