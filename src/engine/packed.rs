//! Panels that were packed before, in a mapped file: what products read in place of packing.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use lanewise_kernels::{Kernels, Line, PANEL, PanelLayout};

use super::matrix::Matrix;
use crate::gguf::Map;

/// A mapped file with the panels of a model's products.
///
/// Any bytes are panels: damaged ones give other products, and never an access beyond them. Whoever
/// attaches the file to a matrix has checked that the panels are those of the model.
#[derive(Debug)]
pub struct PackedFile {
    map: Map,
    /// The panels' bytes, whole lines.
    panels: Range<usize>,
    layout: PanelLayout,
    /// Whether products may read it still.
    in_use: AtomicBool,
}

impl PackedFile {
    /// The panels at `panels` of a file, `None` if these are no whole lines of it.
    pub fn new(map: Map, panels: Range<usize>, layout: PanelLayout) -> Option<Self> {
        Line::of_bytes(map.get(panels.clone())?)?;
        Some(Self {
            map,
            panels,
            layout,
            in_use: AtomicBool::new(true),
        })
    }

    /// The length of the file in bytes.
    pub fn file_len(&self) -> usize {
        self.map.len()
    }

    /// Bytes of the panels.
    pub fn bytes(&self) -> &[u8] {
        &self.map[self.panels.clone()]
    }

    /// Has the system map the pages of a range of [`bytes`](Self::bytes); where it cannot, nothing
    /// happens.
    pub fn prefault(&self, range: Range<usize>) {
        let start = self.panels.start;
        self.map.prefault(start + range.start..start + range.end);
    }

    /// Whether products read it. From the call on that finds the file written to or cut short, they
    /// pack panels again.
    pub fn check_in_use(&self) -> bool {
        if !self.map.is_unchanged() {
            self.in_use.store(false, Relaxed);
        }
        self.is_in_use()
    }

    fn is_in_use(&self) -> bool {
        self.in_use.load(Relaxed)
    }
}

/// Where a file has the panels of a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedPlace {
    /// The first line of the first panel.
    pub first: usize,
    /// Lines from the start of one panel to that of the next.
    pub stride: usize,
    /// Lines of a panel.
    pub lines: usize,
}

impl PackedPlace {
    /// The places of the matrices of products, one after the other, and the lines of them all.
    ///
    /// `streams` are the matrices in the order of a pass; those of one entry take turns, a panel
    /// each, and must have the same number of rows. So what a thread reads in a row is in a row in
    /// the file.
    ///
    /// # Panics
    /// If the matrices of an entry have not the same number of rows.
    pub fn of_streams(streams: &[Vec<&Matrix>], kernels: Kernels) -> (Vec<Self>, usize) {
        let (mut places, mut first) = (Vec::new(), 0);
        for stream in streams {
            let lines = |matrix: &Matrix| kernels.panel_lines(matrix.columns());
            let stride = stream.iter().map(|matrix| lines(matrix)).sum();
            let rows = stream.first().map_or(0, |matrix| matrix.rows());
            let mut of_stream = first;
            for &matrix in stream {
                assert_eq!(matrix.rows(), rows, "rows of {}", matrix.name());
                let place = Self {
                    first: of_stream,
                    stride,
                    lines: lines(matrix),
                };
                places.push(place);
                of_stream += place.lines;
            }
            first += rows / PANEL * stride;
        }
        (places, first)
    }
}

/// The panels of one matrix.
#[derive(Clone, Debug)]
pub(super) struct PackedPanels {
    pub file: Arc<PackedFile>,
    pub place: PackedPlace,
}

impl PackedPanels {
    /// Whether these kernels can read them, and may still.
    pub fn serve(&self, kernels: Kernels) -> bool {
        self.file.layout == kernels.panel_layout() && self.file.is_in_use()
    }

    /// The lines of panel `index`, and those after them.
    pub fn panels_from(&self, index: usize) -> Option<&[Line]> {
        let first = self.place.first + index * self.place.stride;
        let lines = Line::of_bytes(self.file.bytes())?.get(first..)?;
        (lines.len() >= self.place.lines).then_some(lines)
    }
}
