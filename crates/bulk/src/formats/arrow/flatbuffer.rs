//! FlatBuffers for untrusted bytes: as much of the format as finds the vectors in Arrow's messages
//! and footers.
//!
//! Polars aligns the length of a vector and not what follows it, which the verifier of `arrow_ipc`
//! refuses; other readers do not mind.

/// Structs and 64-bit numbers begin at a multiple of this.
pub const ALIGNMENT: usize = 8;

/// The slots of `Message` (Message.fbs).
const HEADER_TYPE: usize = 1;
const HEADER: usize = 2;
/// The values of its header's type.
const DICTIONARY_BATCH: u8 = 2;
const RECORD_BATCH: u8 = 3;
/// The slot of `DictionaryBatch` with its `RecordBatch`.
const DATA: usize = 1;
/// The slots of `RecordBatch` with vectors, and the bytes of an element.
const VECTORS: [(usize, usize); 3] = [(1, 16), (2, 16), (4, 8)];

/// A table: where it and its vtable are.
#[derive(Clone, Copy)]
pub struct Table<'a> {
    bytes: &'a [u8],
    start: usize,
    vtable: usize,
}

impl<'a> Table<'a> {
    /// The table that the buffer begins with.
    pub fn root(bytes: &'a [u8]) -> Option<Self> {
        Self::at(bytes, uoffset(bytes, 0)?)
    }

    fn at(bytes: &'a [u8], start: usize) -> Option<Self> {
        let back = i32::from_le_bytes(array(bytes, start)?);
        let vtable = i64::try_from(start).ok()? - i64::from(back);
        Some(Self {
            bytes,
            start,
            vtable: vtable.try_into().ok()?,
        })
    }

    /// Where its field of a slot is; `None` also if it has the default value.
    fn field(&self, slot: usize) -> Option<usize> {
        let entry = 2 * (2 + slot);
        let size = u16::from_le_bytes(array(self.bytes, self.vtable)?);
        if entry + 2 > usize::from(size) {
            return None;
        }
        let offset = u16::from_le_bytes(array(self.bytes, self.vtable.checked_add(entry)?)?);
        (offset > 0).then_some(self.start + usize::from(offset))
    }

    /// The field of a slot, of `N` bytes.
    pub fn scalar<const N: usize>(&self, slot: usize) -> Option<[u8; N]> {
        array(self.bytes, self.field(slot)?)
    }

    /// The table in the field of a slot.
    pub fn table(&self, slot: usize) -> Option<Self> {
        Self::at(self.bytes, uoffset(self.bytes, self.field(slot)?)?)
    }

    /// Where it is.
    pub fn start(&self) -> usize {
        self.start
    }

    /// The elements of a vector, of `size` bytes each, in the field of a slot.
    pub fn vector(&self, slot: usize, size: usize) -> Option<&'a [u8]> {
        let start = uoffset(self.bytes, self.field(slot)?)?;
        let count = u32::from_le_bytes(array(self.bytes, start)?) as usize;
        let elements = self.bytes.get(start + 4..)?;
        elements.get(..count.checked_mul(size)?)
    }
}

/// Appends copies of the vectors of a `Message` that are not aligned, and refers to those; then
/// zeros up to a multiple of [`ALIGNMENT`]. What is damaged is left as it is.
///
/// No more than three times its bytes are added.
pub fn align(message: &mut Vec<u8>) {
    for (slot, size) in VECTORS {
        if let Some((field, elements)) = vector_of_batch(message, slot, size)
            && !aligned(message, field)
        {
            let elements = elements.to_vec();
            replace(message, field, size, &elements);
        }
    }
    message.resize(message.len().next_multiple_of(ALIGNMENT), 0);
}

/// Leaves out counts of variadic buffers, if there are as many as `keep` has entries.
pub fn keep_counts(message: &mut Vec<u8>, keep: &[bool]) {
    let (slot, size) = VECTORS[2];
    let Some((field, counts)) = vector_of_batch(message, slot, size) else {
        return;
    };
    let counts = counts.chunks_exact(size);
    if counts.len() == keep.len() {
        let kept = counts.zip(keep).filter(|(_, keep)| **keep);
        let kept: Vec<u8> = kept.flat_map(|(count, _)| count).copied().collect();
        replace(message, field, size, &kept);
        message.resize(message.len().next_multiple_of(ALIGNMENT), 0);
    }
}

/// Appends a vector and lets the reference at `field` lead to it.
fn replace(message: &mut Vec<u8>, field: usize, size: usize, elements: &[u8]) {
    let count = (elements.len() / size) as u32;
    // Its length comes before the elements.
    message.resize((message.len() + 4).next_multiple_of(ALIGNMENT) - 4, 0);
    if let Ok(offset) = u32::try_from(message.len() - field) {
        message[field..field + 4].copy_from_slice(&offset.to_le_bytes());
        message.extend(count.to_le_bytes());
        message.extend(elements);
    }
}

/// Whether the elements begin at a multiple of [`ALIGNMENT`].
fn aligned(message: &[u8], field: usize) -> bool {
    uoffset(message, field).is_none_or(|start| (start + 4).is_multiple_of(ALIGNMENT))
}

/// The place of the reference to a vector of the message's `RecordBatch`, and its elements.
fn vector_of_batch(message: &[u8], slot: usize, size: usize) -> Option<(usize, &[u8])> {
    let root = Table::root(message)?;
    let header = root.table(HEADER)?;
    let batch = match root.scalar(HEADER_TYPE)? {
        [RECORD_BATCH] => header,
        [DICTIONARY_BATCH] => header.table(DATA)?,
        _ => return None,
    };
    Some((batch.field(slot)?, batch.vector(slot, size)?))
}

/// Where the reference at `at` leads to.
fn uoffset(bytes: &[u8], at: usize) -> Option<usize> {
    at.checked_add(u32::from_le_bytes(array(bytes, at)?) as usize)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message with a batch of one node, whose vector begins at 52 and its element at 56 or, if
    /// shifted, at 60.
    fn message(shift: usize) -> Vec<u8> {
        let mut bytes = vec![0; 96];
        let mut put = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
        put(0, &16_u32.to_le_bytes());
        // The vtable of the message: header type at 4, header at 8.
        put(4, &[10, 0, 12, 0, 0, 0, 4, 0, 8, 0]);
        put(16, &12_i32.to_le_bytes());
        put(20, &[RECORD_BATCH]);
        put(24, &16_u32.to_le_bytes());
        // The vtable of the batch: nodes at 4.
        put(32, &[8, 0, 8, 0, 0, 0, 4, 0]);
        put(40, &8_i32.to_le_bytes());
        put(44, &(8 + shift as u32).to_le_bytes());
        put(52 + shift, &1_u32.to_le_bytes());
        put(56 + shift, &[7; 16]);
        bytes
    }

    #[test]
    fn a_vector_is_moved_to_where_it_is_aligned() {
        let before = message(0);
        let mut after = before.clone();
        align(&mut after);
        assert_eq!(before, after);
        let mut moved = message(4);
        align(&mut moved);
        assert!(moved.len() > before.len() && moved.len().is_multiple_of(ALIGNMENT));
        let (field, nodes) = vector_of_batch(&moved, 1, 16).unwrap();
        assert!(aligned(&moved, field));
        assert_eq!(nodes, [7; 16]);
    }

    #[test]
    fn damage_never_leads_out_of_the_buffer() {
        for shift in [0, 4] {
            let whole = message(shift);
            for end in 0..whole.len() {
                align(&mut whole[..end].to_vec());
            }
            for at in 0..whole.len() {
                for byte in [0, 1, 0x7f, 0x80, 0xff] {
                    let mut damaged = whole.clone();
                    damaged[at] = byte;
                    align(&mut damaged);
                    assert!(damaged.len() <= 4 * whole.len());
                }
            }
        }
    }
}
