//! Passes the compiler's version to the crate: instruction counts hold for one compiler only.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let compiler = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(compiler).arg("--version").output();
    let version = match &version {
        Ok(output) => String::from_utf8_lossy(&output.stdout),
        Err(_) => "".into(),
    };
    let version = Some(version.trim()).filter(|version| !version.is_empty());
    println!(
        "cargo::rustc-env=LANEWISE_KERNELS_RUSTC={}",
        version.unwrap_or("rustc of unknown version")
    );
}
