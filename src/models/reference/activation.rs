//! Activation functions in f32, and the error function, which the standard library lacks.

use lanewise_kernels::Activation;

/// erf(x) to the precision of f64: its series near 0, and the continued fraction of its complement beyond.
fn erf(x: f64) -> f64 {
    const SERIES_UP_TO: f64 = 2.5;
    const LEVELS: u32 = 60;
    if x.abs() > SERIES_UP_TO {
        let mut tail = 0.0;
        for level in (1..=LEVELS).rev() {
            tail = f64::from(level) / 2.0 / (x.abs() + tail);
        }
        let complement = (-x * x).exp() / (x.abs() + tail);
        return (1.0 - complement * std::f64::consts::FRAC_2_SQRT_PI / 2.0).copysign(x);
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..=100 {
        term *= -x * x / f64::from(n);
        let next = sum + term / f64::from(2 * n + 1);
        if next == sum {
            break;
        }
        sum = next;
    }
    sum * std::f64::consts::FRAC_2_SQRT_PI
}

/// The activation function of a value; the exact GELU in f64.
pub(in crate::models) fn activate(activation: Activation, x: f32) -> f32 {
    match activation {
        Activation::Gelu => {
            let x = f64::from(x);
            (0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2))) as f32
        }
        // Hendrycks and Gimpel, arXiv 1606.08415.
        Activation::GeluTanh => {
            let root = std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::FRAC_1_SQRT_2;
            0.5 * x * (1.0 + (root * (x + 0.044_715 * x * x * x)).tanh())
        }
        Activation::Silu => x / (1.0 + (-x).exp()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values to 16 digits (Abramowitz and Stegun; GNU MPFR).
    #[test]
    fn erf_has_the_known_values() {
        for (x, expected) in [
            (0.0, 0.0),
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (2.0, 0.995_322_265_018_952_7),
            (2.5, 0.999_593_047_982_555),
            (3.0, 0.999_977_909_503_001_4),
            (3.5, 0.999_999_256_901_627_7),
            (6.0, 1.0),
        ] {
            for (x, expected) in [(x, expected), (-x, -expected)] {
                assert!((erf(x) - expected).abs() < 1e-14, "erf({x}) = {}", erf(x));
            }
        }
        assert!(erf(f64::NAN).is_nan());
    }

    #[test]
    fn erf_goes_on_where_its_form_changes() {
        let (below, above) = (erf(2.5 - 1e-9), erf(2.5 + 1e-9));
        assert!(above > below && above - below < 1e-10);
    }
}
