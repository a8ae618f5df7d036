//! The hyperparameters, each read from the file.

use lanewise_kernels::Activation;

use super::FAMILY;
use crate::Result;
use crate::engine::{Pooling, Reach};
use crate::gguf::{Gguf, Value, ValueType};
use crate::models::keys::{Keys, RECONVERT};
use crate::models::pre_norm::{Config, Norm, Sight, Sizes, Windows};
use crate::models::{OpenOptions, pooling};

/// The longest text of a model, in tokens. Scratch for scores grows with it.
const MAX_CONTEXT: u32 = 8192;

/// The base of RoPE in layers with a window, in files that do not state it.
const DEFAULT_WINDOW_ROPE_BASE: f32 = 10_000.0;

const OTHER_MODEL: &str = "use a ModernBERT model whose hyperparameters this engine supports";

/// Reads and checks the hyperparameters.
///
/// # Errors
/// If a key is missing, out of its limits, or requires what this engine does not support.
pub(super) fn read(gguf: &Gguf, options: &OpenOptions) -> Result<Config> {
    let keys = Keys {
        gguf,
        architecture: FAMILY.architecture,
    };
    let sizes = Sizes::from_keys(&keys)?;
    let positions = keys.size("context_length", 3..=MAX_CONTEXT)?;
    let known = [Pooling::Mean, Pooling::Cls];
    let config = Config {
        kv_heads: sizes.heads,
        head_dim: sizes.hidden / sizes.heads,
        context: keys.max_tokens(positions)?,
        norm: Norm::Layer(keys.positive("attention.layer_norm_epsilon")?),
        activation: activation(&keys)?,
        pooling: pooling::one_of(&known, gguf, FAMILY.architecture, options)?,
        full: Sight {
            reach: Reach::ALL,
            rope_base: keys.positive("rope.freq_base")?,
        },
        windows: Some(windows(&keys, sizes.layers)?),
        sizes,
    };
    check(&config, &keys)?;
    Ok(config)
}

fn check(config: &Config, keys: &Keys) -> Result<()> {
    let (hidden, heads) = (config.sizes.hidden, config.sizes.heads);
    if !hidden.is_multiple_of(heads) {
        let problem = format!("is {heads}, which does not divide embedding_length, {hidden}");
        return Err(keys.error("attention.head_count", problem, RECONVERT));
    }
    config.check_relations(keys, "attention.head_count")?;
    for (name, expected) in [
        ("attention.head_count_kv", heads),
        ("attention.key_length", config.head_dim),
    ] {
        let stated = keys.optional_size(name, 0..=u32::MAX)?;
        if let Some(stated) = stated.filter(|&stated| stated != expected) {
            let problem = format!("is {stated}, but ModernBERT with {heads} heads has {expected}");
            return Err(keys.error(name, problem, OTHER_MODEL));
        }
    }
    keys.check_bidirectional(FAMILY.name)
}

/// The function of the gate; files state it only where it is another than GELU.
fn activation(keys: &Keys) -> Result<Activation> {
    const KEY: &str = "hidden_activation";
    match keys.gguf.optional_str(&keys.key(KEY))?.as_deref() {
        None | Some("gelu") => Ok(Activation::Gelu),
        Some("silu") => Ok(Activation::Silu),
        Some(other) => {
            let problem = format!("is {other:?}, but only \"gelu\" and \"silu\" are supported");
            Err(keys.error(KEY, problem, OTHER_MODEL))
        }
    }
}

/// The layers that see a window: all but every n-th, or those that an array names.
fn windows(keys: &Keys, layers: usize) -> Result<Windows> {
    const PATTERN: &str = "attention.sliding_window_pattern";
    let size = keys.size("attention.sliding_window", 1..=1 << 24)?;
    let base = keys.optional_positive("rope.freq_base_swa")?;
    let windowed = match keys.gguf.value(&keys.key(PATTERN)) {
        Some(Value::Array(array)) => {
            if array.element() != ValueType::Bool || array.len() != layers {
                let problem = format!(
                    "is an array of {} of type {}, not of a bool for each of {layers} layers",
                    array.len(),
                    array.element()
                );
                return Err(keys.error(PATTERN, problem, RECONVERT));
            }
            let bytes = keys.gguf.bytes(array.range());
            bytes.iter().map(|&byte| byte != 0).collect()
        }
        _ => {
            let pattern = keys.size(PATTERN, 1..=1 << 10)?;
            (0..layers).map(|layer| layer % pattern != 0).collect()
        }
    };
    Ok(Windows {
        size,
        sight: Sight {
            reach: Reach::within(size / 2),
            rope_base: base.unwrap_or(DEFAULT_WINDOW_ROPE_BASE),
        },
        layers: windowed,
    })
}
