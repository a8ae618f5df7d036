//! Formats of blocks of weights that products read as Q8_0.

use crate::ops;

/// Defines [`BlockFormat`], and the list of a function of each, so that none can be left out.
macro_rules! block_formats {
    ($($(#[$doc:meta])* $variant:ident,)*) => {
        /// A format of blocks of weights of a few bits, as ggml has them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum BlockFormat {
            $($(#[$doc])* $variant,)*
        }

        impl BlockFormat {
            /// All formats.
            pub const ALL: [BlockFormat; [$(stringify!($variant)),*].len()] =
                [$(BlockFormat::$variant),*];

            /// Values of a block, a multiple of [`BLOCK`](crate::BLOCK).
            pub const fn values(self) -> usize {
                match self {
                    $(BlockFormat::$variant => <ops::$variant as ops::Format>::VALUES,)*
                }
            }

            /// Bytes of a block.
            pub const fn bytes(self) -> usize {
                match self {
                    $(BlockFormat::$variant => <ops::$variant as ops::Format>::BYTES,)*
                }
            }
        }

        /// What a generic function is for each format.
        macro_rules! each_format {
            ($function:ident) => {
                [$($function::<$crate::ops::$variant>),*]
            };
        }
    };
}

block_formats! {
    /// 32 integers of 4 bits times a scale.
    Q4_0,
    /// 32 integers of 4 bits times a scale, plus a minimum.
    Q4_1,
    /// 32 integers of 5 bits times a scale.
    Q5_0,
    /// 32 integers of 5 bits times a scale, plus a minimum.
    Q5_1,
    /// 32 places of a table of 16 integers, times a scale.
    Iq4Nl,
    /// 8 groups of 32 integers of 4 bits, each with a scale and a minimum.
    Q4K,
    /// 8 groups of 32 integers of 5 bits, each with a scale and a minimum.
    Q5K,
    /// 16 groups of 16 integers of 6 bits, each with a scale.
    Q6K,
}

// Gives the macro, which is of this file only, a path.
#[allow(clippy::single_component_path_imports)]
pub(crate) use each_format;
