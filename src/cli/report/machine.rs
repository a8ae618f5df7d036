//! What was measured on: the CPU, the threads, the file, the versions, the day.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use lanewise::internals::Runtime;
use lanewise::internals::models::Model;
use serde::Serialize;

/// Names without which figures mean nothing.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// Day of the measurement, UTC.
    pub date: String,
    /// The CPU's name, family and model.
    pub cpu: String,
    /// The kernel of the operating system.
    pub system: String,
    /// The instruction set of the kernels.
    pub instruction_set: &'static str,
    /// Number of threads, and why.
    pub threads: String,
    /// The model file.
    pub file: String,
    /// Its size.
    pub file_bytes: u64,
    /// GGUF version of the file.
    pub gguf_version: u32,
    /// Whether the vectors passed the dense heads.
    pub dense_heads: Option<bool>,
    /// Of Lanewise.
    pub version: &'static str,
    /// The compiler of the kernels.
    pub compiler: &'static str,
}

impl Machine {
    /// Of this process.
    pub fn new(model: &dyn Model, runtime: &Runtime) -> Self {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            date: date(since_epoch.as_secs() / 86_400),
            cpu: cpu(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
            system: format!("{} {}", std::env::consts::OS, release.trim()),
            instruction_set: runtime.isa().name(),
            threads: runtime.threads().to_string(),
            file: model.gguf().path().display().to_string(),
            file_bytes: model.gguf().file_len(),
            gguf_version: model.gguf().version(),
            dense_heads: model.dense_heads(),
            version: env!("CARGO_PKG_VERSION"),
            compiler: lanewise_kernels::RUSTC,
        }
    }
}

/// The CPU of `/proc/cpuinfo`. Virtual machines hide the name's end, so the family says which one
/// it is.
fn cpu(cpuinfo: &str) -> String {
    let field = |name: &str| {
        cpuinfo.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key.trim() == name).then(|| value.trim())
        })
    };
    match (field("model name"), field("cpu family"), field("model")) {
        (Some(name), Some(family), Some(model)) => {
            format!("{name}, family {family}, model {model}")
        }
        (Some(name), ..) => name.to_owned(),
        _ => format!("unknown ({})", std::env::consts::ARCH),
    }
}

/// The day that is `days` after 1970-01-01 in the Gregorian calendar.
///
/// Years are counted from a 1st of March, so that the leap day comes last; 400 of them have 146,097
/// days.
fn date(days: u64) -> String {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    // 0000-03-01 is 719,468 days before 1970-01-01.
    let days = days + 719_468;
    let (era, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Months from March on have 31, 30, 31, 30, 31 days, again and again: 153 in five.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 {
        (year, month + 3)
    } else {
        (year + 1, month - 9)
    };
    format!("{:04}-{month:02}-{day:02}", 400 * era + year)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_gregorian_dates() {
        for (days, expected) in [
            (0, "1970-01-01"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (20_781, "2026-11-24"),
            (47_541, "2100-03-01"),
        ] {
            assert_eq!(date(days), expected);
        }
    }

    #[test]
    fn the_cpu_is_named_as_far_as_the_system_does() {
        let cpuinfo = "model\t\t: 2\ncpu family\t: 26\nmodel name\t: AMD EPYC\n";
        assert_eq!(cpu(cpuinfo), "AMD EPYC, family 26, model 2");
        assert!(cpu("").starts_with("unknown"));
    }
}
