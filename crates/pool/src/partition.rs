//! Buffers cut into disjoint parts, one for each task.
//!
//! A [`Partition`] holds the exclusive borrow of its buffers. [`Pool::for_each_part`] consumes it
//! and takes every part once, so each task has exclusive access to its part and callers need no
//! `unsafe`.
//!
//! [`Pool::for_each_part`]: crate::Pool::for_each_part

use std::marker::PhantomData;
use std::ops::Range;

use crate::ranges::initial_tasks;

/// Something that is cut into parts for the tasks of a pool.
///
/// A tuple of two to five partitions is a partition too, for tasks that write to several buffers.
/// Its members must have equally many parts; [`parts`](Self::parts) panics if they do not.
///
/// # Safety
///
/// - Parts with different indices must not overlap.
/// - [`parts`](Self::parts) must return the same number each time.
/// - Concurrent calls of [`part`](Self::part) from several threads must be sound, also if a part is
///   then used on a thread other than the one that made the partition.
pub unsafe trait Partition: Sync {
    /// What one task gets.
    type Part;

    /// The number of parts.
    fn parts(&self) -> usize;

    /// Takes part `index`.
    ///
    /// # Safety
    ///
    /// - `index < self.parts()`.
    /// - Each index is taken at most once in the life of the partition.
    unsafe fn part(&self, index: usize) -> Self::Part;
}

/// Calls `body(index, part)` once for each part of `partition`, in order, on the calling thread.
pub fn for_each_in_order<P: Partition>(partition: P, mut body: impl FnMut(usize, P::Part)) {
    for index in 0..partition.parts() {
        // SAFETY: the index is below the number of parts, and this function owns the partition and takes
        // each part once.
        body(index, unsafe { partition.part(index) });
    }
}

/// A `&mut [T]` whose elements are handed out range by range.
struct Buffer<'a, T> {
    pointer: *mut T,
    length: usize,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: a shared `Buffer` gives access to elements through `slice` only, whose callers guarantee
// disjoint ranges. One thread at most thus reaches an element, for which `T: Send` is enough.
unsafe impl<T: Send> Sync for Buffer<'_, T> {}

impl<'a, T> Buffer<'a, T> {
    fn new(buffer: &'a mut [T]) -> Self {
        Self {
            pointer: buffer.as_mut_ptr(),
            length: buffer.len(),
            borrow: PhantomData,
        }
    }

    /// The elements `start..end`.
    ///
    /// # Safety
    ///
    /// - `start <= end <= self.length`.
    /// - The range overlaps no other range that was handed out in the life of this buffer.
    unsafe fn slice(&self, start: usize, end: usize) -> &'a mut [T] {
        debug_assert!(start <= end && end <= self.length);
        // SAFETY: `start <= self.length`, so the pointer stays inside the slice or at its end.
        let first = unsafe { self.pointer.add(start) };
        // SAFETY: the `end - start` elements from `first` lie inside the slice, which is borrowed
        // exclusively for 'a, and no other reference to them exists, as the caller guarantees.
        unsafe { std::slice::from_raw_parts_mut(first, end - start) }
    }
}

/// Parts of equal length. See [`chunks`].
pub struct Chunks<'a, T> {
    buffer: Buffer<'a, T>,
    length: usize,
}

/// Cuts `buffer` into parts of `length` elements; the last one may be shorter.
///
/// # Panics
///
/// If `length` is 0.
pub fn chunks<T>(buffer: &mut [T], length: usize) -> Chunks<'_, T> {
    assert!(length > 0, "chunks of no elements");
    Chunks {
        buffer: Buffer::new(buffer),
        length,
    }
}

// SAFETY: part i is i·length..(i+1)·length, cut at the end of the buffer, so no two parts overlap.
// The number of parts depends on two fields that never change. `Buffer` is `Sync` for `T: Send`,
// and a `&mut [T]` may be sent to another thread then.
unsafe impl<'a, T: Send> Partition for Chunks<'a, T> {
    type Part = &'a mut [T];

    fn parts(&self) -> usize {
        self.buffer.length.div_ceil(self.length)
    }

    unsafe fn part(&self, index: usize) -> &'a mut [T] {
        let start = index * self.length;
        let end = start + self.length.min(self.buffer.length - start);
        // SAFETY: index < parts, so start < buffer.length, and end is at most buffer.length. Each
        // index is taken at most once, and the ranges of different indices do not overlap.
        unsafe { self.buffer.slice(start, end) }
    }
}

/// Parts that end where a list says. See [`uneven`] and [`uneven_rows`].
pub struct Uneven<'a, T> {
    buffer: Buffer<'a, T>,
    ends: &'a [usize],
    width: usize,
}

/// Cuts `buffer` at `ends`: part `i` reaches from the previous end, or from 0, up to `ends[i]`.
///
/// # Panics
///
/// If `ends` decreases anywhere, or if its last element (0 if it is empty) is not the length of
/// `buffer`.
pub fn uneven<'a, T>(buffer: &'a mut [T], ends: &'a [usize]) -> Uneven<'a, T> {
    uneven_rows(buffer, 1, ends)
}

/// [`uneven`], where the ends count rows of `width` elements.
///
/// # Panics
///
/// As [`uneven`].
pub fn uneven_rows<'a, T>(buffer: &'a mut [T], width: usize, ends: &'a [usize]) -> Uneven<'a, T> {
    assert!(ends.is_sorted(), "the ends of parts must not decrease");
    let rows = ends.last().copied().unwrap_or(0);
    assert_eq!(
        rows.checked_mul(width),
        Some(buffer.len()),
        "the last part must end with the buffer"
    );
    Uneven {
        buffer: Buffer::new(buffer),
        ends,
        width,
    }
}

// SAFETY: the ends are sorted, and so are their products with `width`, which are at most the length of
// the buffer and so do not overflow. Thus the ranges between neighboring ends do not overlap, and shared
// borrows keep them as they are. `Buffer` is `Sync` for `T: Send`, and a `&mut [T]` may be sent to
// another thread then.
unsafe impl<'a, T: Send> Partition for Uneven<'a, T> {
    type Part = &'a mut [T];

    fn parts(&self) -> usize {
        self.ends.len()
    }

    unsafe fn part(&self, index: usize) -> &'a mut [T] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        let (start, end) = (start * self.width, self.ends[index] * self.width);
        // SAFETY: the ends are sorted and the last times `width` is the buffer's length, so
        // start <= end <= buffer.length. Each index is taken at most once, and the ranges
        // of different indices do not overlap.
        unsafe { self.buffer.slice(start, end) }
    }
}

/// A length cut into parts of whole units. The parts are in order, and differ by at most one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Elements in all.
    pub length: usize,
    /// Elements of a unit; the last unit may be shorter.
    pub unit: usize,
    /// Number of parts; those beyond the number of units are empty.
    pub parts: usize,
}

impl Cut {
    /// The elements of part `part`.
    ///
    /// # Panics
    ///
    /// If `unit` or `parts` is 0.
    pub fn range(self, part: usize) -> Range<usize> {
        let units = initial_tasks(self.length.div_ceil(self.unit), self.parts, part);
        let at = |units: usize| (units * self.unit).min(self.length);
        at(units.start)..at(units.end)
    }

    /// The same parts where each element is `count` of them.
    #[must_use]
    pub fn times(self, count: usize) -> Self {
        Self {
            length: self.length * count,
            unit: self.unit * count,
            parts: self.parts,
        }
    }
}

/// Rows that are all cut in the same way. See [`grid`].
pub struct Grid<'a, T> {
    buffer: Buffer<'a, T>,
    stride: usize,
    cut: Cut,
}

/// Cuts each row of `buffer`, one every `stride` elements, as `cut` says: part `i` is part
/// `i % cut.parts` of row `i / cut.parts`. What a row has beyond the length of the cut is in no
/// part.
///
/// # Panics
///
/// If `stride`, or the unit or the parts of the cut, are 0; if the cut is longer than `stride`, or
/// `buffer` is not whole rows.
pub fn grid<T>(buffer: &mut [T], stride: usize, cut: Cut) -> Grid<'_, T> {
    assert!(cut.unit > 0 && cut.parts > 0, "a cut into no parts");
    assert!(
        cut.length <= stride && stride > 0 && buffer.len().is_multiple_of(stride),
        "rows of {} in a buffer of {}, one every {stride}",
        cut.length,
        buffer.len()
    );
    Grid {
        buffer: Buffer::new(buffer),
        stride,
        cut,
    }
}

// SAFETY: parts of one row are disjoint, since those of `Cut` are, and lie inside it, since the cut
// is no longer than `stride`; rows do not overlap. The number of parts depends on fields that never
// change. `Buffer` is `Sync` for `T: Send`, and a `&mut [T]` may be sent to another thread then.
unsafe impl<'a, T: Send> Partition for Grid<'a, T> {
    type Part = &'a mut [T];

    fn parts(&self) -> usize {
        self.buffer.length / self.stride * self.cut.parts
    }

    unsafe fn part(&self, index: usize) -> &'a mut [T] {
        let start = index / self.cut.parts * self.stride;
        let part = self.cut.range(index % self.cut.parts);
        // SAFETY: index < parts, so the row is one of the buffer, and the part ends inside it. Each
        // index is taken at most once, and the ranges of different indices do not overlap.
        unsafe { self.buffer.slice(start + part.start, start + part.end) }
    }
}

macro_rules! partition_tuple {
    ($($member:ident $field:tt),+) => {
        // SAFETY: different parts of the tuple consist of different parts of each member. The
        // members' numbers of parts never change, and `parts` returns them only if they are equal.
        // Each member allows concurrent calls, which the tuple passes on.
        unsafe impl<$($member: Partition),+> Partition for ($($member,)+) {
            type Part = ($($member::Part,)+);

            fn parts(&self) -> usize {
                let parts = self.0.parts();
                $(assert_eq!(self.$field.parts(), parts, "partitions of different lengths");)+
                parts
            }

            unsafe fn part(&self, index: usize) -> Self::Part {
                ($(
                    // SAFETY: `parts` of the tuple is `parts` of this member, so the index is
                    // below it; and taking it once from the tuple takes it once from the member.
                    unsafe { self.$field.part(index) },
                )+)
            }
        }
    };
}

partition_tuple!(A 0, B 1);
partition_tuple!(A 0, B 1, C 2);
partition_tuple!(A 0, B 1, C 2, D 3);
partition_tuple!(A 0, B 1, C 2, D 3, E 4);
