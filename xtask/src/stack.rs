//! `cargo xtask stack`: sensor, Prometheus, Alertmanager and a pager on the demo's office, to look at.

use std::process::Command;

use anyhow::{Result, bail};

use crate::{
    exec::{cargo, exec, is_root, path, root, target},
    setup,
};

/// Builds what it takes and hands over to the `stack` program of the tests crate.
pub fn run() -> Result<()> {
    if !is_root() {
        bail!(
            "the stack makes network namespaces and loads an XDP program: run it as root, such as `sudo -E env PATH=\"$PATH\" cargo xtask stack`"
        );
    }
    setup::toolchain()?;
    setup::network()?;
    setup::prometheus()?;
    let packages = ["--package", "sensor-user", "--package", "sensor-tests"];
    exec(cargo().args(["build", "--locked", "--release"]).args(packages))?;
    exec(Command::new(target().join("release/stack")).current_dir(root()).env("PATH", path()))
}
