//! A matrix of the model file: a view of its rows, and how to read them.

use std::collections::TryReserveError;
use std::mem;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use lanewise_kernels::{BLOCK, Kernels, Line, PANEL, Prefetcher, Q8_0_BYTES, Q8Rows};

use super::packed::{PackedFile, PackedPanels, PackedPlace};
use super::scratch::sized;
use super::weight_types::{PackPanel, Panels, WeightType, quantize_q8_0};
use crate::Result;
use crate::gguf::Gguf;

/// A matrix in the file, row after row without padding, little-endian.
#[derive(Debug)]
pub struct Matrix {
    name: String,
    weight_type: &'static dyn WeightType,
    rows: usize,
    columns: usize,
    gguf: Arc<Gguf>,
    range: Range<usize>,
    /// The rows as Q8_0, where products are not packed from the file's own.
    quantized: OnceLock<Vec<u8>>,
    /// The panels of products, if there is a file of them.
    packed: OnceLock<PackedPanels>,
}

impl Matrix {
    /// The matrix of `rows` rows of `columns` values, a multiple of 32, at `range` of the file.
    ///
    /// # Panics
    /// If the range is not as long as the rows of that type are.
    pub fn new(
        gguf: Arc<Gguf>,
        name: &str,
        weight_type: &'static dyn WeightType,
        [rows, columns]: [usize; 2],
        range: Range<usize>,
    ) -> Self {
        let row_bytes = weight_type.tensor_type().row_bytes(columns as u64);
        let bytes = row_bytes.and_then(|bytes| bytes.checked_mul(rows as u64));
        assert_eq!(bytes, Some(range.len() as u64), "bytes of {name}");
        Self {
            name: name.to_owned(),
            weight_type,
            rows,
            columns,
            gguf,
            range,
            quantized: OnceLock::new(),
            packed: OnceLock::new(),
        }
    }

    /// The tensor's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How its values are stored.
    pub fn weight_type(&self) -> &'static dyn WeightType {
        self.weight_type
    }

    /// The values that a product gives.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The values that a product takes; a multiple of 32.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Where its bytes are in the file.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// Bytes of a row in the file.
    pub fn row_bytes(&self) -> usize {
        self.range.len() / self.rows
    }

    /// Writes a row as `f32`, [`columns`](Self::columns) values, exact but for one rounding each.
    ///
    /// # Panics
    /// If there is no such row, or `out` has another length.
    pub fn dequantize_row(&self, row: usize, out: &mut [f32]) {
        assert_eq!(out.len(), self.columns, "values of a row of {}", self.name);
        let bytes = &self.bytes()[row * self.row_bytes()..][..self.row_bytes()];
        self.weight_type.dequantize(bytes, out);
    }

    /// Writes a row times `factor` into `out`, reading it from the file into `buffer` rather than
    /// through the map, which would bring the row's neighbors into resident memory.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn copy_row_scaled(
        &self,
        kernels: Kernels,
        row: usize,
        factor: f32,
        buffer: &mut Vec<u8>,
        out: &mut [f32],
    ) -> Result<()> {
        buffer.resize(self.row_bytes(), 0);
        self.gguf
            .copy(self.range.start + row * buffer.len(), buffer)?;
        self.weight_type
            .dequantize_scaled(kernels, buffer, factor, out);
        Ok(())
    }

    /// Checks that every value is finite (of Q8_0: every scale), which reads the whole matrix.
    ///
    /// # Errors
    /// Names the tensor and the first row that fails.
    pub fn verify(&self) -> Result<()> {
        for (row, bytes) in self.bytes().chunks_exact(self.row_bytes()).enumerate() {
            if let Some(what) = self.weight_type.non_finite(bytes) {
                return Err(self.gguf.file_error(
                    format!("tensor {}", self.name),
                    format!("row {row} has a {what} that is infinite or not a number"),
                    "fetch the file again, or convert it again from its checkpoint",
                ));
            }
        }
        Ok(())
    }

    /// Has the system map the pages of the matrix; where it cannot, nothing happens.
    pub fn prefault(&self) {
        self.gguf.prefault(self.range.clone());
    }

    /// From now on products read the panels at `place` of a file, where the kernels have its
    /// layout. Only the first call counts.
    pub fn attach_packed(&self, file: Arc<PackedFile>, place: PackedPlace) {
        // A second file would have the same panels.
        let _ = self.packed.set(PackedPanels { file, place });
    }

    /// The file that products read panels from, whatever its layout.
    pub fn packed_file(&self) -> Option<&Arc<PackedFile>> {
        self.packed.get().map(|packed| &packed.file)
    }

    /// Panel `index` as these kernels read it, and all panels that follow it in the file; `None` if
    /// it must be packed.
    pub(super) fn packed_from(&self, kernels: Kernels, index: usize) -> Option<&[Line]> {
        let packed = self.packed.get()?;
        packed
            .serve(kernels)
            .then(|| packed.panels_from(index))
            .flatten()
    }

    /// Quantizes the rows if products with these kernels do not read those of the file, nor packed
    /// panels, so that only this call can fail for lack of memory. The first call does the work.
    pub(crate) fn prepare(&self, kernels: Kernels) -> Result<(), TryReserveError> {
        let quantizes = matches!(self.weight_type.panels(), Panels::Quantized);
        let packed = self.packed.get();
        if quantizes
            && self.quantized.get().is_none()
            && !packed.is_some_and(|packed| packed.serve(kernels))
        {
            let mut memory = Vec::new();
            memory.try_reserve_exact(self.rows * self.product_row_bytes())?;
            self.quantized
                .get_or_init(|| self.quantize(0..self.rows, memory));
        }
        Ok(())
    }

    /// The bytes that products read of panel `index`: 32 rows, one after the other.
    ///
    /// # Panics
    /// If there is no such panel.
    pub(crate) fn panel_bytes(&self, index: usize) -> &[u8] {
        let bytes = match self.weight_type.panels() {
            Panels::Packed(_) | Panels::Unpacked(_) => self.bytes(),
            Panels::Quantized => self
                .quantized
                .get_or_init(|| self.quantize(0..self.rows, Vec::new())),
        };
        let panel = PANEL * self.product_row_bytes();
        &bytes[index * panel..][..panel]
    }

    /// Packs panel `index`, quantizing into `rows` what products do not read as it is in the file.
    ///
    /// # Panics
    /// If there is no such panel, or `panel` is not of its length.
    pub fn pack_whole_panel(
        &self,
        kernels: Kernels,
        index: usize,
        rows: &mut Vec<u8>,
        panel: &mut [Line],
    ) {
        let bytes = match (self.weight_type.panels(), self.quantized.get()) {
            (Panels::Quantized, None) => {
                rows.clear();
                let quantized = self.quantize(index * PANEL..(index + 1) * PANEL, mem::take(rows));
                *rows = quantized;
                rows
            }
            _ => self.packable_rows(kernels, self.panel_bytes(index), rows),
        };
        let blocks = 0..self.columns / BLOCK;
        assert_eq!(panel.len(), kernels.panel_lines(self.columns));
        self.pack_panel(kernels, bytes, blocks, panel, &mut Prefetcher::default());
    }

    /// The rows of a panel as [`pack_panel`](Self::pack_panel) reads them: `bytes`, which
    /// [`panel_bytes`](Self::panel_bytes) gives, or, where these are of another type, `rows`, written anew.
    pub(crate) fn packable_rows<'a>(
        &self,
        kernels: Kernels,
        bytes: &'a [u8],
        rows: &'a mut Vec<u8>,
    ) -> &'a [u8] {
        let Panels::Unpacked(format) = self.weight_type.panels() else {
            return bytes;
        };
        let rows = sized(rows, PANEL * self.columns / BLOCK * Q8_0_BYTES);
        // Rows are whole blocks without padding, so that those of a panel are one long row.
        kernels.unpack(format, bytes, rows);
        rows
    }

    /// Packs `blocks` of the rows of a panel, `bytes` as [`packable_rows`](Self::packable_rows) gives
    /// them, prefetching on the way.
    pub(crate) fn pack_panel(
        &self,
        kernels: Kernels,
        bytes: &[u8],
        blocks: Range<usize>,
        panel: &mut [Line],
        prefetcher: &mut Prefetcher<'_>,
    ) {
        let rows = Q8Rows {
            bytes,
            row_bytes: bytes.len() / PANEL,
        };
        self.pack()(&kernels, rows, blocks, panel, prefetcher);
    }

    /// Packs from the rows of the file, or from those made Q8_0.
    fn pack(&self) -> PackPanel {
        match self.weight_type.panels() {
            Panels::Packed(pack) => pack,
            Panels::Unpacked(_) | Panels::Quantized => Kernels::pack_panel,
        }
    }

    /// Bytes of a row as [`panel_bytes`](Self::panel_bytes) gives it.
    fn product_row_bytes(&self) -> usize {
        match self.weight_type.panels() {
            Panels::Packed(_) | Panels::Unpacked(_) => self.row_bytes(),
            Panels::Quantized => self.columns / BLOCK * Q8_0_BYTES,
        }
    }

    fn quantize(&self, rows: Range<usize>, mut out: Vec<u8>) -> Vec<u8> {
        let mut values = vec![0.0; self.columns];
        for row in rows {
            self.dequantize_row(row, &mut values);
            quantize_q8_0(&values, &mut out);
        }
        out
    }

    /// Its bytes in the file.
    pub fn bytes(&self) -> &[u8] {
        self.gguf.bytes(self.range.clone())
    }
}
