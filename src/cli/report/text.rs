//! The report for people.

use std::fmt;

use super::accuracy::Accuracy;
use super::forward::Forward;
use super::go_engine::GoEngine;
use super::lengths::Lengths;
use super::machine::Machine;
use super::memory::{Memory, Part, Snapshot};
use super::{Report, TEXT};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let go = self.go_engine.as_ref();
        forward(f, &self.forward_int8, go)?;
        match &self.memory_usage {
            Some(usage) => memory(f, usage, go)?,
            None => writeln!(
                f,
                "\nMemory usage\n  not available: this system has no /proc/self/smaps_rollup"
            )?,
        }
        accuracy(f, &self.int8_accuracy, go)?;
        machine(f, &self.machine)?;
        match &self.lengths {
            Some(all) => lengths(f, all),
            None => Ok(()),
        }
    }
}

fn forward(f: &mut fmt::Formatter<'_>, forward: &Forward, go: Option<&GoEngine>) -> fmt::Result {
    let ids: Vec<String> = forward.ids.iter().map(u32::to_string).collect();
    writeln!(f, "Forward INT8, ids {}: {TEXT:?}", ids.join(" "))?;
    writeln!(
        f,
        "  {} ns/op (median of {} passes)",
        grouped(forward.median_ns),
        forward.count
    )?;
    writeln!(
        f,
        "  mean {}, minimum {}, quartiles {} and {}, maximum {}",
        grouped(forward.mean_ns),
        grouped(forward.minimum_ns),
        grouped(forward.first_quartile_ns),
        grouped(forward.third_quartile_ns),
        grouped(forward.maximum_ns)
    )?;
    let Some(go) = go else {
        return Ok(());
    };
    writeln!(
        f,
        "  Go engine: {} ns/op on a {}, {:.1} times as much",
        grouped(go.ns_per_op),
        go.machine,
        go.ns_per_op as f64 / forward.median_ns.max(1) as f64
    )
}

fn memory(f: &mut fmt::Formatter<'_>, memory: &Memory, go: Option<&GoEngine>) -> fmt::Result {
    writeln!(
        f,
        "\nMemory usage, MB          resident   private  file-mapped"
    )?;
    let snapshot = |f: &mut fmt::Formatter<'_>, name: &str, at: Snapshot| {
        writeln!(
            f,
            "  {name:<22} {:>9.2} {:>9.2} {:>12.2}",
            mb(at.resident),
            mb(at.private),
            mb(at.file_mapped)
        )
    };
    let after = memory.after_forward_pass;
    snapshot(f, "before loading", memory.before_loading)?;
    snapshot(f, "after loading", memory.after_loading)?;
    snapshot(f, "after a forward pass", after)?;
    if let Some(peak) = memory.peak_resident {
        writeln!(f, "  peak                   {:>9.2}", mb(peak))?;
    }
    let parts = &memory.private_parts;
    writeln!(
        f,
        "  private: program {:.2}, model's header and norms {:.2}, tokenizer index {:.2}, threads {:.2}, scratch {:.2}",
        mb(memory.before_loading.private),
        mb(parts.model),
        mb(parts.tokenizer_index),
        mb(parts.threads),
        mb(parts.scratch)
    )?;
    if let Some(parts) = &memory.file_parts {
        let part = |part: Part| format!("{:.2} of {:.2}", mb(part.resident), mb(part.size));
        writeln!(
            f,
            "  file-mapped: layers {}, embedding table {}, dense heads {}, rest of the model's file {}, program {:.2}",
            part(parts.layers),
            part(parts.embedding_table),
            part(parts.dense_heads),
            part(parts.rest),
            mb(after.file_mapped.saturating_sub(parts.resident()))
        )?;
    }
    let Some(go) = go else {
        return Ok(());
    };
    writeln!(
        f,
        "  Go engine: {:.2} MB on a {}, {:.1} times as much as is resident after a forward pass",
        go.memory_mb,
        go.machine,
        go.memory_mb / mb(after.resident)
    )
}

fn accuracy(f: &mut fmt::Formatter<'_>, accuracy: &Accuracy, go: Option<&GoEngine>) -> fmt::Result {
    let difference = &accuracy.difference;
    writeln!(
        f,
        "\nINT8 accuracy: the INT8 path beside the f32 path, same file and ids"
    )?;
    writeln!(f, "  cosine              {:.8}", difference.cosine)?;
    writeln!(
        f,
        "  largest difference  {:.8}",
        difference.largest_difference
    )?;
    writeln!(f, "  mean difference     {:.8}", difference.mean_difference)?;
    writeln!(f, "  RMS difference      {:.8}", difference.rms_difference)?;
    let values = |values: &[f32]| -> String {
        values
            .iter()
            .map(|value| format!(" {value:>10.7}"))
            .collect()
    };
    writeln!(f, "  INT8{}", values(&accuracy.first_int8))?;
    writeln!(f, "  f32 {}", values(&accuracy.first_f32))?;
    if accuracy.different_paths {
        writeln!(
            f,
            "  two paths: their vectors differ, as those of different arithmetic must"
        )?;
    } else {
        writeln!(
            f,
            "  FAILURE: a difference of exactly zero; one path was compared with itself"
        )?;
    }
    if let Some(given) = &accuracy.to_float32_vectors {
        writeln!(f, "  to {} float32 vectors of {}:", given.texts, given.file)?;
        writeln!(
            f,
            "    cosine mean {:.6}, minimum {:.6}; difference largest {:.6}, mean {:.6}, RMS {:.6}",
            given.mean_cosine,
            given.minimum_cosine,
            given.largest_difference,
            given.mean_difference,
            given.rms_difference
        )?;
    }
    let Some(go) = go else {
        return Ok(());
    };
    writeln!(
        f,
        "  Go engine: cosine {:.6}, largest difference {}: exactly zero, so no proof of two paths",
        go.cosine, go.largest_difference
    )
}

fn machine(f: &mut fmt::Formatter<'_>, machine: &Machine) -> fmt::Result {
    writeln!(f, "\nMachine, {}", machine.date)?;
    writeln!(f, "  CPU              {}", machine.cpu)?;
    writeln!(f, "  system           {}", machine.system)?;
    writeln!(f, "  instruction set  {}", machine.instruction_set)?;
    writeln!(f, "  threads          {}", machine.threads)?;
    let heads = match machine.dense_heads {
        None => "",
        Some(true) => ", with dense heads",
        Some(false) => ", WITHOUT dense heads: its vectors are in a space of their own",
    };
    writeln!(
        f,
        "  file             {}, {:.1} MB, GGUF v{}{heads}",
        machine.file,
        mb(machine.file_bytes),
        machine.gguf_version
    )?;
    writeln!(
        f,
        "  versions         Lanewise {}, {}",
        machine.version, machine.compiler
    )
}

fn lengths(f: &mut fmt::Formatter<'_>, lengths: &Lengths) -> fmt::Result {
    writeln!(
        f,
        "\nTime against length; limit: {:.1} GB/s, {:.0} G INT8 multiply-adds/s",
        lengths.bandwidth_gb_per_s, lengths.peak_gmac_per_s
    )?;
    writeln!(f, "  tokens  median ms  limit ms  fraction")?;
    for point in &lengths.points {
        writeln!(
            f,
            "  {:6} {:10.2} {:9.2} {:9.2}",
            point.tokens,
            point.median_ms,
            point.limit_ms,
            point.limit_ms / point.median_ms
        )?;
    }
    Ok(())
}

/// Bytes in units of 10⁶.
fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// A number with its thousands set apart by commas.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_are_set_apart() {
        for (number, expected) in [(0, "0"), (999, "999"), (42_440_100, "42,440,100")] {
            assert_eq!(grouped(number), expected);
        }
    }
}
