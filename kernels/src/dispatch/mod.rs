//! The kernels of one instruction set behind safe methods that check every shape.

mod attention;
mod gemm;
mod rows;
mod search;

use crate::Isa;
use crate::arch;
use crate::layout::PanelLayout;
use crate::pieces::pieces_of;
use crate::table::Functions;

/// The kernels of one instruction set. A value exists only if the CPU supports the instruction set.
///
/// Sizes that do not fit each other are a bug of the caller and panic before anything is read or
/// written.
#[derive(Clone, Copy)]
pub struct Kernels(
    // Invariant, on which every method relies: the CPU supports the instruction set of the table.
    &'static Functions,
);

impl std::fmt::Debug for Kernels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Kernels").field(&self.isa()).finish()
    }
}

impl Kernels {
    /// The kernels of `isa`, or `None` if the CPU does not support it.
    #[inline]
    pub fn for_isa(isa: Isa) -> Option<Kernels> {
        let table = match isa {
            Isa::Scalar => &arch::scalar::TABLE,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => &arch::avx2::TABLE,
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni => &arch::avx_vnni::TABLE,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => &arch::avx512::TABLE,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Zen4 => &arch::avx512::ZEN4_TABLE,
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 | Isa::AvxVnni | Isa::Avx512 | Isa::Avx512Zen4 => return None,
        };
        isa.is_supported().then_some(Kernels(table))
    }

    /// The kernels of the fastest supported instruction set.
    #[inline]
    pub fn detect() -> Kernels {
        // Every CPU supports the scalar kernels.
        Kernels::for_isa(Isa::detect()).unwrap_or(Kernels(&arch::scalar::TABLE))
    }

    /// The instruction set.
    #[inline]
    pub fn isa(&self) -> Isa {
        self.0.isa
    }

    /// How packed panels are laid out.
    #[inline]
    pub fn panel_layout(&self) -> PanelLayout {
        match self.isa() {
            Isa::Scalar => PanelLayout::Scalar,
            Isa::Avx2 => PanelLayout::Avx2,
            Isa::AvxVnni | Isa::Avx512 | Isa::Avx512Zen4 => PanelLayout::Vnni,
        }
    }

    /// Lines of one packed panel of `columns` columns.
    ///
    /// # Panics
    ///
    /// If `columns` is not a multiple of [`BLOCK`](crate::BLOCK).
    #[inline]
    pub fn panel_lines(&self, columns: usize) -> usize {
        pieces_of(columns) * self.0.panel_lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_instruction_set_has_its_own_kernels_if_supported() {
        for isa in Isa::ALL {
            let kernels = Kernels::for_isa(isa);
            assert_eq!(kernels.is_some(), isa.is_supported());
            assert!(kernels.is_none_or(|kernels| kernels.isa() == isa));
        }
        assert_eq!(Kernels::detect().isa(), Isa::detect());
    }
}
