//! Record batches, whatever is made of them: the readers of Parquet and Arrow IPC are written once
//! for rows of an input and for vectors of an output.

use arrow_array::RecordBatch;

/// The columns that are read.
pub trait BatchColumns {
    /// What a record batch becomes.
    type Rows: BatchRows;

    /// Their names behind those of the structs that they are in, from the outermost inwards.
    fn paths(&self) -> impl Iterator<Item = &Vec<String>>;

    /// The rows of a batch that has these columns.
    ///
    /// # Errors
    /// If the columns of the batch are not what the file's schema says, in words.
    fn batch(&self, batch: &RecordBatch) -> Result<Self::Rows, String>;
}

/// The rows of a record batch.
pub trait BatchRows {
    /// How many they are.
    fn rows(&self) -> usize;
}
