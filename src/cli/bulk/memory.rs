//! How much memory a run may use, and how much it does.

use std::fs;

use crate::cli::failure::Failure;

/// What the forward pass needs for a token of a batch: residual stream, queries, keys, values and the products' outputs.
const BYTES_PER_TOKEN: u64 = 40 << 10;
/// The tokenizer's index, the rows that are read, wait and are written, and the output's buffers.
const FIXED_BYTES: u64 = 256 << 20;
/// More tokens at a time would not be faster.
const MAX_TOKENS: u64 = 8192;

/// The tokens of a batch with which the run stays within `max_memory` bytes, the pages of the mapped model file of
/// `model_bytes` counted.
pub fn batch_tokens(max_memory: u64, model_bytes: u64, context: usize) -> Result<usize, Failure> {
    let context = context as u64;
    let needed = model_bytes + FIXED_BYTES + context * BYTES_PER_TOKEN;
    if max_memory < needed {
        return Err(Failure::usage(format!(
            "--max-memory: {} MB are too little for this model; give it {}M or more",
            max_memory >> 20,
            needed.div_ceil(1 << 20)
        )));
    }
    let tokens = (max_memory - model_bytes - FIXED_BYTES) / BYTES_PER_TOKEN;
    Ok(tokens.clamp(context.min(MAX_TOKENS), MAX_TOKENS) as usize)
}

/// A number of bytes: `512M`, `2G`, in powers of 1024.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = text.split_at(text.trim_end_matches(|c: char| c.is_alphabetic()).len());
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err("give bytes as in 512M or 2G".into()),
    };
    let bytes = number.trim().parse::<u64>().ok();
    bytes
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| "give bytes as in 512M or 2G".into())
}

/// The memory of this process now and at its peak, mapped file pages counted, in bytes; `None` where the system does not
/// tell.
pub fn resident() -> Option<(u64, u64)> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kilobytes << 10)
    };
    Some((field("VmRSS:")?, field("VmHWM:")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_with_their_unit() {
        assert_eq!(parse_bytes("512M"), Ok(512 << 20));
        assert_eq!(parse_bytes("2g"), Ok(2 << 30));
        assert_eq!(parse_bytes("1000"), Ok(1000));
        for wrong in ["", "M", "-1M", "1.5G", "1X", "99999999999T"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_batch_shrinks_with_the_memory_and_holds_the_longest_text() {
        let model = 330 << 20;
        assert_eq!(batch_tokens(4 << 30, model, 2048).unwrap(), 8192);
        let small = batch_tokens(700 << 20, model, 2048).unwrap();
        assert!((2048..8192).contains(&small), "{small}");
        assert!(batch_tokens(300 << 20, model, 2048).is_err());
    }
}
