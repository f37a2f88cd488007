//! The toolchain for the kernel program: a compiler that can build `core` for BPF, and bpf-linker.
//!
//! Two compilers serve. Debian's `rustc-web` comes with `core` compiled for BPF, so it needs neither
//! nightly nor the library's sources. A rustup nightly with `rust-src` is used where it is there already.

use std::{env, fs, path::Path, process::Command};

use anyhow::{Result, bail};

use super::apt;
use crate::exec::{cargo, exec, has, output, tools};

const TARGET: &str = "bpfel-unknown-none";
const LINKER_VERSION: &str = "0.13.0";

/// The LLVM that bpf-linker is built against. It must be able to read what the compiler writes, so it
/// is the one of Debian's `rustc-web`.
const LLVM: &str = "22";

/// Sees to a compiler.
pub fn compiler() -> Result<()> {
    if nightly_with_sources() || compiled_core("/usr/bin/rustc") {
        return Ok(());
    }
    eprintln!("setup: no compiler for eBPF (neither a rustup nightly with rust-src nor Debian's rustc-web)");
    apt::install(&["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf"])?;
    if !compiled_core("/usr/bin/rustc") {
        bail!("/usr/bin/rustc has no core for {TARGET} although its packages are installed");
    }
    Ok(())
}

/// Sees to bpf-linker; an own one is built into `target/tools`, about a minute on two cores.
pub fn linker() -> Result<()> {
    if has("bpf-linker") {
        return Ok(());
    }
    eprintln!("setup: no bpf-linker; building it into {}", tools().display());
    let llvm = format!("/usr/lib/llvm-{LLVM}/bin");
    if !Path::new(&llvm).join("llvm-config").is_file() || !has("c++") {
        let [dev, polly] = [format!("llvm-{LLVM}-dev"), format!("libpolly-{LLVM}-dev")];
        apt::install(&[&dev, &polly, "g++", "zlib1g-dev", "libzstd-dev"])?;
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([llvm.into()].into_iter().chain(env::split_paths(&path)))?;
    exec(
        cargo()
            .args(["install", "--locked", "bpf-linker", "--version", LINKER_VERSION])
            .args(["--no-default-features", "--features", &format!("llvm-{LLVM}")])
            .arg("--root")
            .arg(tools())
            .env("PATH", path),
    )
}

fn nightly_with_sources() -> bool {
    let sysroot = output(
        Command::new("rustup")
            .args(["run", "nightly", "rustc", "--print", "sysroot"])
            // Looking must not download a toolchain.
            .env("RUSTUP_AUTO_INSTALL", "0"),
    );
    sysroot
        .is_some_and(|path| Path::new(path.trim()).join("lib/rustlib/src/rust/library/Cargo.lock").is_file())
}

fn compiled_core(rustc: &str) -> bool {
    let directory = output(Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]));
    let files = directory.and_then(|path| fs::read_dir(path.trim()).ok());
    files.is_some_and(|files| {
        files.flatten().any(|file| {
            let name = file.file_name();
            let name = name.to_string_lossy();
            name.starts_with("libcore-") && name.ends_with(".rlib")
        })
    })
}
