//! Buffers cut into disjoint parts, one a task.
//!
//! A [`Split`] owns the exclusive borrow of its buffers and is used up by
//! [`Pool::for_each_part`](crate::Pool::for_each_part), which takes every part
//! once: so each task has its part to itself, and callers need no `unsafe`.

use std::marker::PhantomData;

/// Something that can be cut into parts for the tasks of a pool.
///
/// # Safety
///
/// Parts of different indices must not overlap, and calls of [`part`](Split::part) from several
/// threads at once must be sound.
pub unsafe trait Split: Sync {
    /// What one task gets.
    type Part;

    /// How many parts there are.
    fn parts(&self) -> usize;

    /// Takes part `index`.
    ///
    /// # Safety
    ///
    /// `index` is below [`parts`](Split::parts), and each is taken at most once in the life of
    /// the split.
    unsafe fn part(&self, index: usize) -> Self::Part;
}

/// A `&mut [T]` whose elements are handed out piece by piece.
struct Buffer<'a, T> {
    pointer: *mut T,
    length: usize,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: a shared `Buffer` gives access to elements only through `slice`, whose callers promise
// disjoint ranges; an element is thus reached by one thread only, for which `T: Send` suffices.
unsafe impl<T: Send> Sync for Buffer<'_, T> {}

impl<'a, T> Buffer<'a, T> {
    fn new(buffer: &'a mut [T]) -> Self {
        Self {
            pointer: buffer.as_mut_ptr(),
            length: buffer.len(),
            borrow: PhantomData,
        }
    }

    /// # Safety
    ///
    /// `start <= end <= self.length`, and no range given out before overlaps.
    unsafe fn slice(&self, start: usize, end: usize) -> &'a mut [T] {
        debug_assert!(start <= end && end <= self.length);
        // SAFETY: inside the buffer that is borrowed for 'a, and disjoint, as the caller promises.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.add(start), end - start) }
    }
}

/// No data: `parts` tasks with the part `()`. See [`count`].
pub struct Count(usize);

/// A split of nothing, for tasks that only read.
pub fn count(parts: usize) -> Count {
    Count(parts)
}

// SAFETY: the parts hold no data.
unsafe impl Split for Count {
    type Part = ();

    fn parts(&self) -> usize {
        self.0
    }

    unsafe fn part(&self, _index: usize) {}
}

/// Pieces of equal length. See [`chunks`].
pub struct Chunks<'a, T> {
    buffer: Buffer<'a, T>,
    chunk: usize,
}

/// Cuts `buffer` into pieces of `chunk` elements; the last may be shorter.
///
/// # Panics
///
/// If `chunk` is 0.
pub fn chunks<T>(buffer: &mut [T], chunk: usize) -> Chunks<'_, T> {
    assert!(chunk > 0, "chunks of no elements");
    Chunks {
        buffer: Buffer::new(buffer),
        chunk,
    }
}

// SAFETY: part i is [i·chunk, (i+1)·chunk) cut at the end of the buffer: no two overlap.
unsafe impl<'a, T: Send> Split for Chunks<'a, T> {
    type Part = &'a mut [T];

    fn parts(&self) -> usize {
        self.buffer.length.div_ceil(self.chunk)
    }

    unsafe fn part(&self, index: usize) -> &'a mut [T] {
        let start = index * self.chunk;
        let end = start + self.chunk.min(self.buffer.length - start);
        // SAFETY: index < parts, so start < length; each index is taken once, so ranges differ.
        unsafe { self.buffer.slice(start, end) }
    }
}

/// Pieces that end where a list says. See [`uneven`].
pub struct Uneven<'a, T> {
    buffer: Buffer<'a, T>,
    ends: &'a [usize],
}

/// Cuts `buffer` at `ends`: part i goes from the end before (at first 0) up to `ends[i]`.
///
/// # Panics
///
/// If `ends` falls anywhere, or its last is not the length of `buffer` (0 if there is none).
pub fn uneven<'a, T>(buffer: &'a mut [T], ends: &'a [usize]) -> Uneven<'a, T> {
    assert!(ends.is_sorted(), "the ends of parts must not fall");
    assert_eq!(
        ends.last().copied().unwrap_or(0),
        buffer.len(),
        "the last part must end with the buffer"
    );
    Uneven {
        buffer: Buffer::new(buffer),
        ends,
    }
}

// SAFETY: the ends are sorted, so the ranges between neighbours do not overlap.
unsafe impl<'a, T: Send> Split for Uneven<'a, T> {
    type Part = &'a mut [T];

    fn parts(&self) -> usize {
        self.ends.len()
    }

    unsafe fn part(&self, index: usize) -> &'a mut [T] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        // SAFETY: the ends rise up to the buffer's length, and each index is taken once.
        unsafe { self.buffer.slice(start, self.ends[index]) }
    }
}

/// Ranges of columns of a matrix. See [`columns`].
pub struct Columns<'a, T> {
    matrix: Buffer<'a, T>,
    rows: usize,
    columns: usize,
    columns_per_part: usize,
}

/// Cuts a row-major matrix `[rows][columns]` into ranges of `columns_per_part` columns; the last
/// may be narrower. Without rows there are no columns, hence no parts.
///
/// # Panics
///
/// If the length of `matrix` is not a multiple of `rows`, or `columns_per_part` is 0.
pub fn columns<T>(matrix: &mut [T], rows: usize, columns_per_part: usize) -> Columns<'_, T> {
    assert!(columns_per_part > 0, "parts of no columns");
    let columns = matrix.len().checked_div(rows).unwrap_or(0);
    assert_eq!(rows * columns, matrix.len(), "a matrix of {rows} rows");
    Columns {
        matrix: Buffer::new(matrix),
        rows,
        columns,
        columns_per_part,
    }
}

// SAFETY: part i reaches the columns [i·per, (i+1)·per) of each row, cut at the last column.
unsafe impl<'a, T: Send> Split for Columns<'a, T> {
    type Part = ColumnsMut<'a, T>;

    fn parts(&self) -> usize {
        self.columns.div_ceil(self.columns_per_part)
    }

    unsafe fn part(&self, index: usize) -> ColumnsMut<'a, T> {
        let first = index * self.columns_per_part;
        ColumnsMut {
            // SAFETY: index < parts, so `first` is a column of the first row.
            pointer: unsafe { self.matrix.pointer.add(first) },
            rows: self.rows,
            stride: self.columns,
            width: self.columns_per_part.min(self.columns - first),
            borrow: PhantomData,
        }
    }
}

/// A range of columns in all rows of a row-major matrix, exclusively borrowed.
pub struct ColumnsMut<'a, T> {
    pointer: *mut T,
    rows: usize,
    stride: usize,
    width: usize,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: it is a `&mut` to its elements, which is `Send` for `T: Send`.
unsafe impl<T: Send> Send for ColumnsMut<'_, T> {}
// SAFETY: a shared one gives no access to elements.
unsafe impl<T: Sync> Sync for ColumnsMut<'_, T> {}

impl<T> ColumnsMut<'_, T> {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns in this range.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The elements of `row` in this range.
    ///
    /// # Panics
    ///
    /// If there is no such row.
    pub fn row(&mut self, row: usize) -> &mut [T] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        // SAFETY: row < rows, and the range lies inside each row; this object alone reaches it,
        // and is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.add(row * self.stride), self.width) }
    }
}

macro_rules! split_tuple {
    ($($split:ident $field:tt),+) => {
        /// Several buffers split at once, for tasks that write to all of them.
        ///
        /// [`parts`](Split::parts) panics if they are not cut into equally many parts.
        // SAFETY: different parts of the tuple consist of different parts of each split, and all
        // have as many parts as the first.
        unsafe impl<$($split: Split),+> Split for ($($split,)+) {
            type Part = ($($split::Part,)+);

            fn parts(&self) -> usize {
                let parts = self.0.parts();
                $(assert_eq!(self.$field.parts(), parts, "splits of different lengths");)+
                parts
            }

            unsafe fn part(&self, index: usize) -> Self::Part {
                // SAFETY: the caller's promise for the tuple is the one for each member.
                unsafe { ($(self.$field.part(index),)+) }
            }
        }
    };
}

split_tuple!(A 0, B 1);
split_tuple!(A 0, B 1, C 2);
split_tuple!(A 0, B 1, C 2, D 3);
