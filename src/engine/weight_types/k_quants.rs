//! Blocks of 256 values in groups, each with a scale of its own in units of the block's.

use lanewise_kernels::{BLOCK, BlockFormat};

use super::blocks::{Values, float};
use crate::gguf::TensorType;

/// Values of a block.
const VALUES: usize = 256;
/// Groups of 32 of a block.
const GROUPS: usize = VALUES / BLOCK;

/// Scale and minimum of each group of 32, six bits each.
#[inline(always)]
fn scales_and_minima(bytes: &[u8; 12]) -> [[u8; 2]; GROUPS] {
    std::array::from_fn(|group| match group {
        0..4 => [bytes[group] & 63, bytes[group + 4] & 63],
        _ => {
            let (low, of_scale, of_minimum) = (bytes[group + 4], bytes[group - 4], bytes[group]);
            [
                low & 15 | of_scale >> 6 << 4,
                low >> 4 | of_minimum >> 6 << 4,
            ]
        }
    })
}

/// The values of a block of groups with minima; `quant` gives the integer at a place of a group.
#[inline(always)]
fn groups(block: &[u8; 16], quant: impl Fn(usize, usize) -> u8) -> [f32; VALUES] {
    let [_, _, _, _, scales @ ..] = block;
    let (unit, unit_of_minima) = (float(block, 0), float(block, 2));
    let mut out = [0.0; VALUES];
    let groups = out.as_chunks_mut::<BLOCK>().0.iter_mut();
    for ((group, out), [scale, minimum]) in groups.enumerate().zip(scales_and_minima(scales)) {
        let scale = unit * f32::from(scale);
        let minimum = unit_of_minima * f32::from(minimum);
        for (place, out) in out.iter_mut().enumerate() {
            *out = scale * f32::from(quant(group, place)) - minimum;
        }
    }
    out
}

/// The four bits at a place of a group: two groups share 32 bytes.
#[inline(always)]
fn nibble(bytes: &[u8; VALUES / 2], group: usize, place: usize) -> u8 {
    bytes[group / 2 * BLOCK + place] >> (4 * (group % 2)) & 15
}

/// Groups of 32 integers of 4 bits with a scale and a minimum.
#[derive(Debug)]
pub struct Q4K;

impl Values<144, VALUES> for Q4K {
    const TYPE: TensorType = TensorType::Q4K;
    const FORMAT: BlockFormat = BlockFormat::Q4K;
    const FLOATS: &'static [usize] = &[0, 2];

    #[inline(always)]
    fn values(block: &[u8; 144]) -> [f32; VALUES] {
        let (Some(head), Some(low)) = (block.first_chunk(), block.last_chunk()) else {
            unreachable!("both are shorter than a block");
        };
        groups(head, |group, place| nibble(low, group, place))
    }
}

/// Groups of 32 integers of 5 bits with a scale and a minimum.
#[derive(Debug)]
pub struct Q5K;

impl Values<176, VALUES> for Q5K {
    const TYPE: TensorType = TensorType::Q5K;
    const FORMAT: BlockFormat = BlockFormat::Q5K;
    const FLOATS: &'static [usize] = &[0, 2];

    #[inline(always)]
    fn values(block: &[u8; 176]) -> [f32; VALUES] {
        let (Some(head), Some(low)) = (block.first_chunk(), block.last_chunk()) else {
            unreachable!("both are shorter than a block");
        };
        let high = &block[16..][..BLOCK];
        groups(head, |group, place| {
            nibble(low, group, place) | (high[place] >> group & 1) << 4
        })
    }
}

/// Groups of 16 integers of 6 bits from −32 on, with a scale.
#[derive(Debug)]
pub struct Q6K;

impl Values<210, VALUES> for Q6K {
    const TYPE: TensorType = TensorType::Q6K;
    const FORMAT: BlockFormat = BlockFormat::Q6K;
    const FLOATS: &'static [usize] = &[208];

    #[inline(always)]
    fn values(block: &[u8; 210]) -> [f32; VALUES] {
        let (low, rest) = block.split_at(128);
        let (high, rest) = rest.split_at(64);
        let scales = &rest[..16];
        let unit = float(block, 208);
        let mut out = [0.0; VALUES];
        // Two halves of four groups of 32: of a half's 64 bytes each serves two groups.
        for (group, out) in out.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
            let (half, quarter) = (group / 4, group % 4);
            let low = &low[64 * half + 32 * (quarter & 1)..][..BLOCK];
            let high = &high[32 * half..][..BLOCK];
            let scales = [0, 1].map(|part| scales[2 * group + part].cast_signed());
            let scales = scales.map(|scale| unit * f32::from(scale));
            for (place, out) in out.iter_mut().enumerate() {
                let low = low[place] >> (4 * (quarter / 2)) & 15;
                let quant = low | (high[place] >> (2 * quarter) & 3) << 4;
                *out = scales[place / 16] * f32::from(quant.cast_signed() - 32);
            }
        }
        out
    }
}
