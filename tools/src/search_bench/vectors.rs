//! Random unit vectors as f32, INT8 and bits.

use lanewise_pool::Pool;
use lanewise_pool::partition::chunks;
use lanewise_testkit::random::Random;

/// Vectors of one width, row after row.
pub struct Vectors {
    pub rows: usize,
    pub dims: usize,
    pub f32: Vec<f32>,
    pub i8: Vec<i8>,
    /// A bit a value, set where it is positive.
    pub binary: Vec<u8>,
}

impl Vectors {
    /// Vectors whose directions are about uniform.
    ///
    /// # Errors
    ///
    /// If they do not fit into memory.
    pub fn random(pool: &mut Pool, rows: usize, dims: usize) -> Result<Self, String> {
        let bytes = dims.div_ceil(8);
        let mut vectors = Vectors {
            rows,
            dims,
            f32: zeros(rows, dims)?,
            i8: zeros(rows, dims)?,
            binary: zeros(rows, bytes)?,
        };
        let parts = (
            chunks(&mut vectors.f32, dims),
            chunks(&mut vectors.i8, dims),
            chunks(&mut vectors.binary, bytes),
        );
        let mut scratch = vec![(); pool.threads()];
        pool.for_each_part(parts, &mut scratch, |row, (f32, i8, binary), ()| {
            let mut random = Random(row as u64 ^ (rows as u64) << 32);
            for value in &mut *f32 {
                // The sum of four uniform numbers is nearly normal.
                let bits = random.bits();
                let sum: i64 = (0..4)
                    .map(|part| (bits >> (16 * part) & 0xffff) as i64)
                    .sum();
                *value = (sum - 2 * 0xffff) as f32;
            }
            let norm = f32.iter().map(|value| value * value).sum::<f32>().sqrt();
            f32.iter_mut().for_each(|value| *value /= norm);
            let largest = f32
                .iter()
                .fold(0.0f32, |largest, value| largest.max(value.abs()));
            for (at, (value, i8)) in f32.iter().zip(i8).enumerate() {
                *i8 = (value * 127.0 / largest).round() as i8;
                binary[at / 8] |= u8::from(*value > 0.0) << (at % 8);
            }
        });
        Ok(vectors)
    }

    /// Bytes of a row of bits.
    pub fn binary_bytes(&self) -> usize {
        self.dims.div_ceil(8)
    }
}

fn zeros<T: Clone + Default>(rows: usize, width: usize) -> Result<Vec<T>, String> {
    let mut values = Vec::new();
    let fits = rows
        .checked_mul(width)
        .is_some_and(|count| values.try_reserve_exact(count).is_ok());
    if !fits {
        return Err(format!(
            "{rows} vectors of {width} values do not fit into memory; take fewer --rows"
        ));
    }
    values.resize(rows * width, T::default());
    Ok(values)
}
