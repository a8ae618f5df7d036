//! How much memory a run may use, and how much it does.

use std::fs;

use super::input::Share;
use crate::cli::failure::Failure;

/// What the forward pass needs for a token: residual stream, queries, keys, values and the products' outputs.
const BYTES_PER_TOKEN: u64 = 40 << 10;
/// The engine passes over so many tokens at a time, whatever the batch, or over the longest text.
const PASS_TOKENS: u64 = 2048;
/// More tokens in a batch would not be faster.
const MAX_BATCH_TOKENS: u64 = 8192;
/// The tokenizer's index, the rows that are read, wait and are written, and the output's buffers.
const FIXED_BYTES: u64 = 256 << 20;
/// What [`Share`] is at least.
const LEAST_SHARE: u64 = 64 << 20;

/// What a run does with the memory that it may use.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Tokens of a batch.
    pub batch_tokens: usize,
    /// The rest, for what is read.
    pub share: Share,
}

/// Shares out `max_memory` bytes, the pages of the mapped model file of `model_bytes` counted.
pub fn plan(max_memory: u64, model_bytes: u64, context: usize) -> Result<Plan, Failure> {
    let context = context as u64;
    let fixed = model_bytes + FIXED_BYTES + LEAST_SHARE;
    let needed = fixed + context * BYTES_PER_TOKEN;
    if max_memory < needed {
        return Err(Failure::usage(format!(
            "--max-memory: {} MB are too little for this model; give it {}M or more",
            max_memory >> 20,
            needed.div_ceil(1 << 20)
        )));
    }
    let most = context.max(PASS_TOKENS);
    let pass = ((max_memory - fixed) / BYTES_PER_TOKEN).min(most);
    let batch_tokens = match pass {
        ..PASS_TOKENS => pass,
        _ => MAX_BATCH_TOKENS,
    };
    Ok(Plan {
        batch_tokens: batch_tokens as usize,
        share: Share {
            bytes: LEAST_SHARE + (max_memory - fixed - pass * BYTES_PER_TOKEN),
            beside: fixed - LEAST_SHARE + most * BYTES_PER_TOKEN,
        },
    })
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
        let large = plan(4 << 30, model, 2048).unwrap();
        assert_eq!(large.batch_tokens, 8192);
        assert!(large.share.bytes > 3 << 30);
        let small = plan(700 << 20, model, 512).unwrap();
        assert!((512..2048).contains(&small.batch_tokens), "{small:?}");
        assert!(plan(300 << 20, model, 2048).is_err());
    }
}
