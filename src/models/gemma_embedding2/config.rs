//! The hyperparameters, each read from the file.

use lanewise_kernels::BLOCK;

use super::FAMILY;
use crate::Result;
use crate::engine::{HeadShape, Pooling, Reach};
use crate::gguf::{Gguf, Value};
use crate::models::gemma_embedding::{
    Config, LayerKind, MAX_CONTEXT_2, OTHER_MODEL, Version, check_bidirectional, check_divides,
    every_nth,
};
use crate::models::keys::{Keys, RECONVERT};
use crate::models::{OpenOptions, pooling};

/// Bases of RoPE in files that do not state them.
const DEFAULT_ROPE_BASE: f32 = 10_000.0;

/// What keys of layers that see a window end with.
const LOCAL: &str = "_swa";

/// Reads and checks the hyperparameters.
///
/// # Errors
/// If a key is missing, out of its limits, or requires what this engine does not support.
pub(super) fn of_file(gguf: &Gguf, options: &OpenOptions) -> Result<Config> {
    let keys = Keys {
        gguf,
        architecture: FAMILY.architecture,
    };
    let layers = keys.size("block_count", 1..=1 << 10)?;
    // Two positions are `<bos>` and `<eos>`.
    let context = keys.max_tokens(keys.size("context_length", 3..=1 << 24)?)?;
    let sliding_window = keys.size("attention.sliding_window", 1..=1 << 24)?;
    let global_layers = global_layers(&keys, layers)?;
    let kv_heads = kv_heads(&keys, &global_layers)?;
    let config = Config {
        version: Version::Second {
            signal: keys.size("embedding_length_per_layer_input", 1..=1 << 16)?,
            width: keys.size("embedding_length_out", 1..=1 << 16)?,
        },
        hidden: keys.size("embedding_length", 1..=1 << 16)?,
        feed_forward: keys.size("feed_forward_length", 1..=1 << 18)?,
        global: kind(&keys, "", kv_heads[0], Reach::ALL)?,
        local: kind(&keys, LOCAL, kv_heads[1], Reach::within(sliding_window / 2))?,
        global_layers,
        context: context.min(MAX_CONTEXT_2),
        rms_norm_eps: keys.positive("attention.layer_norm_rms_epsilon")?,
        sliding_window,
        vocabulary: keys.vocabulary()?,
    };
    config.check_relations(&keys)?;
    check_widths(&keys, &config)?;
    check_unsupported(&keys, options)?;
    Ok(config)
}

/// The attention of the layers whose keys end with `suffix`.
fn kind(keys: &Keys, suffix: &str, kv_heads: usize, reach: Reach) -> Result<LayerKind> {
    let key = |name: &str| format!("{name}{suffix}");
    let base = keys.optional_positive(&key("rope.freq_base"))?;
    let heads = HeadShape {
        heads: keys.size("attention.head_count", 1..=1 << 10)?,
        kv_heads,
        head_dim: keys.size(&key("attention.key_length"), 1..=1 << 12)?,
    };
    check_divides(keys, heads)?;
    let value_dim = key("attention.value_length");
    let limits = 0..=u32::MAX;
    if let Some(value) = keys.optional_size(&value_dim, limits)?
        && value != heads.head_dim
    {
        let problem = format!("is {value}, but key_length{suffix} is {}", heads.head_dim);
        return Err(keys.error(&value_dim, problem, OTHER_MODEL));
    }
    keys.check_plain_rope(suffix, heads.head_dim)?;
    Ok(LayerKind {
        heads,
        scale: 1.0,
        rope_base: base.unwrap_or(DEFAULT_ROPE_BASE),
        reach,
    })
}

/// Whether each layer sees the whole text: a bool for each says whether it does not, or a number that the last
/// of n does; without either it is every sixth.
fn global_layers(keys: &Keys, layers: usize) -> Result<Vec<bool>> {
    const NAME: &str = "attention.sliding_window_pattern";
    let whole_name = keys.key(NAME);
    if !keys.gguf.value(&whole_name).is_some_and(is_array) {
        let pattern = keys.optional_size(NAME, 1..=1 << 10)?;
        return Ok(every_nth(layers, pattern));
    }
    let array = keys.gguf.required_array(&whole_name)?;
    match keys.gguf.bools(array) {
        Some(windows) if windows.len() == layers => Ok(windows.map(|window| !window).collect()),
        _ => {
            let problem = format!("is no array of {layers} bools, one a layer");
            Err(keys.error(NAME, problem, RECONVERT))
        }
    }
}

fn is_array(value: &Value) -> bool {
    matches!(value, Value::Array(_))
}

/// Key/value heads of layers that see the whole text and of those that see a window: all of a kind have as
/// many.
fn kv_heads(keys: &Keys, global_layers: &[bool]) -> Result<[usize; 2]> {
    const NAME: &str = "attention.head_count_kv";
    let (whole_name, layers) = (keys.key(NAME), global_layers.len());
    let wrong = |problem: String| keys.error(NAME, problem, RECONVERT);
    if !keys.gguf.value(&whole_name).is_some_and(is_array) {
        return Ok([keys.size(NAME, 1..=1 << 10)?; 2]);
    }
    let array = keys.gguf.required_array(&whole_name)?;
    let Some(counts) = keys
        .gguf
        .i32s(array)
        .filter(|counts| counts.len() == layers)
    else {
        return Err(wrong(format!(
            "is no array of {layers} integers, one a layer"
        )));
    };
    let mut of_kind = [None, None];
    for (layer, (count, &is_global)) in counts.zip(global_layers).enumerate() {
        if !(1..=1 << 10).contains(&count) {
            return Err(wrong(format!(
                "is {count} for layer {layer}, not from 1 to 1024"
            )));
        }
        let known = of_kind[usize::from(!is_global)].get_or_insert(count);
        if *known != count {
            let problem =
                format!("is {count} for layer {layer}, but {known} for another of its kind");
            return Err(keys.error(NAME, problem, OTHER_MODEL));
        }
    }
    // Where all layers are of one kind, nothing has the heads of the other.
    let [global, local] = of_kind;
    let of = |kind: Option<i32>, other: Option<i32>| kind.or(other).unwrap_or(1) as usize;
    Ok([of(global, local), of(local, global)])
}

/// Refuses widths of the signal and of vectors that kernels and scratch are not made for.
fn check_widths(keys: &Keys, config: &Config) -> Result<()> {
    let Version::Second { signal, width } = config.version else {
        return Ok(());
    };
    for (name, size, most) in [
        ("embedding_length_per_layer_input", signal, config.hidden),
        ("embedding_length_out", width, usize::MAX),
    ] {
        if !size.is_multiple_of(BLOCK) {
            let problem = format!("is {size}, not a multiple of {BLOCK}");
            return Err(keys.error(name, problem, OTHER_MODEL));
        }
        if size > most {
            let problem = format!("is {size}, more than embedding_length, {most}");
            return Err(keys.error(name, problem, OTHER_MODEL));
        }
    }
    Ok(())
}

/// Refuses settings that this engine would ignore, with other vectors as the result.
fn check_unsupported(keys: &Keys, options: &OpenOptions) -> Result<()> {
    let pooling = pooling::of(keys.gguf, keys.architecture, options)?;
    if pooling != Pooling::Mean {
        let problem = format!("is {pooling}; only mean is supported");
        return Err(keys.error("pooling_type", problem, OTHER_MODEL));
    }
    check_bidirectional(keys)?;
    const SHARED: &str = "attention.shared_kv_layers";
    if let Some(layers) = keys.optional_size(SHARED, 0..=u32::MAX)?
        && layers > 0
    {
        let problem = format!("is {layers}, but no layer here uses the keys of another");
        return Err(keys.error(SHARED, problem, OTHER_MODEL));
    }
    Ok(())
}
