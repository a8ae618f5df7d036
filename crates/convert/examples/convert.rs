//! Converts a directory: `cargo run -p lanewise-convert --example convert -- DIRECTORY OUT.gguf`.

use std::env;
use std::ops::ControlFlow;

use lanewise_convert::{ConvertJob, WeightType};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args_os().skip(1);
    let mut next = || {
        arguments
            .next()
            .ok_or("usage: convert DIRECTORY OUT.gguf [TYPE]")
    };
    let job = ConvertJob {
        directory: next()?.into(),
        output: next()?.into(),
        weights: match next().ok().as_ref().and_then(|kind| kind.to_str()) {
            Some("f32") => WeightType::F32,
            Some("f16") => WeightType::F16,
            Some("q4_0") => WeightType::Q4_0,
            _ => WeightType::Q8_0,
        },
        name: env::var("NAME").ok(),
        pooling: None,
        dense_heads: env::var_os("NO_DENSE").is_none(),
        force: true,
    };
    let converted = job.run(&mut |_, _| ControlFlow::Continue(()))?;
    println!("{} bytes", converted.bytes);
    Ok(())
}
