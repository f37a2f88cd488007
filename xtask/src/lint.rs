//! `cargo xtask lint`: formatting, clippy and rustdoc, warnings being errors.

use anyhow::Result;

use crate::{
    exec::{cargo, exec},
    setup,
};

/// Runs all three; the first that complains ends it.
pub fn run() -> Result<()> {
    setup::lints()?;
    exec(cargo().args(["fmt", "--all", "--check"]))?;
    // Checking needs no kernel object, and the eBPF crate is checked for the host: its logic is
    // portable, only its entry point is not.
    exec(
        cargo()
            .args(["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"])
            .env("SENSOR_EBPF_SKIP", "1"),
    )?;
    exec(
        cargo()
            // Two crates have a `main` of their own to document; private items are what contributors read.
            .args(["doc", "--locked", "--workspace", "--no-deps", "--document-private-items"])
            .env("SENSOR_EBPF_SKIP", "1")
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
}
