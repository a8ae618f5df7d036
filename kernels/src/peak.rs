//! Upper limits of a machine, against which kernels are measured.
//!
//! These functions only do the work; callers measure the time.

use std::hint::black_box;

use crate::Isa;
use crate::layout::Line;
use crate::prefetch::prefetch_scan;

/// Multiplies and adds INT8 values in registers for `iterations` rounds, with the multiply
/// instruction of the kernels of `isa`. Returns the number of multiply-adds.
///
/// # Panics
///
/// If this CPU does not support `isa`.
pub fn int8_peak(isa: Isa, iterations: u64) -> u64 {
    assert!(isa.is_supported(), "this CPU does not support {isa}");
    match isa {
        Isa::Scalar => portable(iterations),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the CPU supports AVX2, as asserted above.
        Isa::Avx2 => unsafe { x86::vpmaddwd(iterations) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the CPU supports AVX-VNNI and AVX2, as asserted above.
        Isa::AvxVnni => unsafe { x86::vpdpbusd_256(iterations) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the CPU supports AVX-512 with VNNI, as asserted above.
        Isa::Avx512 | Isa::Avx512Zen4 => unsafe { x86::vpdpbusd(iterations) },
        #[cfg(not(target_arch = "x86_64"))]
        Isa::Avx2 | Isa::AvxVnni | Isa::Avx512 | Isa::Avx512Zen4 => {
            unreachable!("supported on x86-64 only")
        }
    }
}

/// Reads all of `region` with the loads of `isa`. Returns the wrapping sum of its values.
///
/// # Panics
///
/// If this CPU does not support `isa`.
pub fn read(isa: Isa, region: &[u64]) -> u64 {
    assert!(isa.is_supported(), "this CPU does not support {isa}");
    match isa {
        Isa::Scalar => sum(region),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the CPU supports AVX2, as asserted above.
        Isa::Avx2 | Isa::AvxVnni => unsafe { x86::sum_avx2(region) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the CPU supports AVX-512, as asserted above.
        Isa::Avx512 | Isa::Avx512Zen4 => unsafe { x86::sum_avx512(region) },
        #[cfg(not(target_arch = "x86_64"))]
        Isa::Avx2 | Isa::AvxVnni | Isa::Avx512 | Isa::Avx512Zen4 => {
            unreachable!("supported on x86-64 only")
        }
    }
}

/// As [`read`], with the prefetch instructions of a scan: faster where the hardware prefetcher stops at the end
/// of each page.
///
/// # Panics
///
/// If this CPU does not support `isa`.
pub fn read_ahead(isa: Isa, region: &[u64]) -> u64 {
    const LINE: usize = size_of::<Line>();
    let mut total = 0u64;
    for part in region.chunks(8 * LINE / size_of::<u64>()) {
        for line in 0..8 {
            prefetch_scan(part.as_ptr().cast(), line * LINE);
        }
        total = total.wrapping_add(read(isa, part));
    }
    total
}

/// A dot product of bytes, which the compiler may vectorize as it does in the scalar kernels.
fn portable(iterations: u64) -> u64 {
    const VALUES: usize = 256;
    let (left, right) = ([3i8; VALUES], [-5i8; VALUES]);
    let mut total = 0i32;
    for _ in 0..iterations {
        // Hidden from the compiler in each round: otherwise it would multiply once for all of them.
        let (left, right) = (black_box(&left), black_box(&right));
        let products = left
            .iter()
            .zip(right)
            .map(|(&a, &b)| i32::from(a) * i32::from(b));
        total = total.wrapping_add(products.sum());
    }
    black_box(total);
    iterations * VALUES as u64
}

/// The compiler turns this simple loop into full-width loads and several independent sums; more
/// elaborate forms become gathers.
#[inline(always)]
fn sum(region: &[u64]) -> u64 {
    region.iter().fold(0, |sum, &value| sum.wrapping_add(value))
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;
    use std::hint::black_box;

    /// Two multipliers with a latency of 4 or 5 cycles need 10 independent sums; 24 are ample.
    const SUMS_512: usize = 24;
    /// As many as the products have of the 16 registers; enough for the latency as well.
    const SUMS_256: usize = 12;

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub fn vpdpbusd(iterations: u64) -> u64 {
        let left = black_box(_mm512_set1_epi8(3));
        let right = black_box(_mm512_set1_epi8(-5));
        let mut sums = [_mm512_setzero_si512(); SUMS_512];
        for _ in 0..iterations {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, left, right);
            }
        }
        black_box(sums);
        iterations * (SUMS_512 * 64) as u64
    }

    #[target_feature(enable = "avxvnni,avx2")]
    pub fn vpdpbusd_256(iterations: u64) -> u64 {
        let left = black_box(_mm256_set1_epi8(3));
        let right = black_box(_mm256_set1_epi8(-5));
        let mut sums = [_mm256_setzero_si256(); SUMS_256];
        for _ in 0..iterations {
            for sum in &mut sums {
                *sum = _mm256_dpbusd_avx_epi32(*sum, left, right);
            }
        }
        black_box(sums);
        iterations * (SUMS_256 * 32) as u64
    }

    #[target_feature(enable = "avx2")]
    pub fn vpmaddwd(iterations: u64) -> u64 {
        let right = black_box(_mm256_set1_epi16(-5));
        let mut sums = black_box([_mm256_set1_epi16(3); SUMS_256]);
        for _ in 0..iterations {
            for sum in &mut sums {
                // The sum itself is multiplied: a constant product would be moved out of the loop.
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(*sum, right));
            }
        }
        black_box(sums);
        iterations * (SUMS_256 * 16) as u64
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub fn sum_avx512(region: &[u64]) -> u64 {
        super::sum(region)
    }

    #[target_feature(enable = "avx2")]
    pub fn sum_avx2(region: &[u64]) -> u64 {
        super::sum(region)
    }
}
