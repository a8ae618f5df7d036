//! Instruction sets that this crate has kernels for, and detection of those the CPU supports.

use std::fmt;
use std::str::FromStr;

/// Defines [`Isa`] with the list of its variants and their names, so that none can be left out.
macro_rules! instruction_sets {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// An instruction set with a complete set of kernels.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Isa {
            $($(#[$doc])* $variant,)*
        }

        impl Isa {
            /// All instruction sets. Of those that a CPU supports, a later one is faster, but for
            /// [`Isa::Avx512Zen4`] on other CPUs than Zen 4.
            pub const ALL: [Isa; [$($name),*].len()] = [$(Isa::$variant),*];

            /// The name, as the environment variable `LANEWISE_ISA` takes it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Isa::$variant => $name,)*
                }
            }
        }
    };
}

instruction_sets! {
    /// Portable Rust, the specification of all other kernels; every CPU supports it.
    Scalar = "scalar",
    /// AVX2 with FMA and F16C: 256-bit `vpmaddwd`.
    Avx2 = "avx2",
    /// AVX-VNNI with AVX2, FMA and F16C: 256-bit `vpdpbusd`.
    AvxVnni = "avx-vnni",
    /// AVX-512 F, BW, DQ, VL and VNNI: 512-bit `vpdpbusd`.
    Avx512 = "avx512",
    /// The same as [`Isa::Avx512`], with the kernels that are faster on Zen 4, whose 512-bit
    /// multiplier is the limit.
    Avx512Zen4 = "avx512-zen4",
}

impl Isa {
    /// Whether this CPU and this operating system support the instruction set.
    pub fn is_supported(self) -> bool {
        match self {
            Isa::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("f16c")
            }
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni => Isa::Avx2.is_supported() && is_x86_feature_detected!("avxvnni"),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Avx512Zen4 => {
                Isa::Avx2.is_supported()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 | Isa::AvxVnni | Isa::Avx512 | Isa::Avx512Zen4 => false,
        }
    }

    /// Whether the kernels are made for this CPU: those of [`Isa::Avx512Zen4`] are for one only,
    /// the others for every CPU.
    fn suits_cpu(self) -> bool {
        self != Isa::Avx512Zen4 || is_zen_4()
    }

    /// The instruction set that is supported and fastest on this CPU.
    pub fn detect() -> Isa {
        Isa::ALL
            .into_iter()
            .rev()
            .find(|isa| isa.suits_cpu() && isa.is_supported())
            .unwrap_or(Isa::Scalar)
    }
}

/// Whether the CPU is of AMD's family 25, of whose members only Zen 4 has AVX-512.
#[cfg(target_arch = "x86_64")]
fn is_zen_4() -> bool {
    use std::arch::x86_64::__cpuid;
    let vendor = __cpuid(0);
    if [vendor.ebx, vendor.edx, vendor.ecx]
        != [*b"Auth", *b"enti", *b"cAMD"].map(u32::from_le_bytes)
    {
        return false;
    }
    let version = __cpuid(1).eax;
    let family = (version >> 8 & 0xf) + (version >> 20 & 0xff);
    family == 25
}

#[cfg(not(target_arch = "x86_64"))]
fn is_zen_4() -> bool {
    false
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The error of parsing a name that no [`Isa`] has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownIsa;

impl fmt::Display for UnknownIsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown instruction set; known are ")?;
        for (index, isa) in Isa::ALL.iter().enumerate() {
            f.write_str(match index {
                0 => "",
                index if index + 1 == Isa::ALL.len() => " and ",
                _ => ", ",
            })?;
            f.write_str(isa.name())?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownIsa {}

impl FromStr for Isa {
    type Err = UnknownIsa;

    /// Parses a [`name`](Isa::name).
    fn from_str(name: &str) -> Result<Self, UnknownIsa> {
        Isa::ALL
            .into_iter()
            .find(|isa| isa.name() == name)
            .ok_or(UnknownIsa)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_and_unknown_names_list_the_known_ones() {
        for isa in Isa::ALL {
            assert_eq!(isa.name().parse(), Ok(isa));
        }
        let error = "mmx".parse::<Isa>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown instruction set; known are scalar, avx2, avx-vnni, avx512 and avx512-zen4"
        );
    }
}
