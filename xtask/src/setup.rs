//! `cargo xtask setup`: finds what is missing and installs it, and nothing else.
//!
//! Each need is looked for first, so that a complete machine is left alone within a second and needs
//! neither root nor network. What Debian packages is installed from there; what it does not package, or
//! packages as a service that would be started, goes to `target/tools` and disappears with it.

mod apt;
mod ebpf;

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::exec::{cargo, exec, has, output, path, tools};

/// Programs that the tests with the real kernel and the demo run, with their Debian packages.
const PROGRAMS: [(&str, &str); 6] = [
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("ethtool", "ethtool"),
    ("setpriv", "util-linux"),
    ("aria2c", "aria2"),
    ("tcpdump", "tcpdump"),
];

/// Everything that any task needs.
pub fn everything() -> Result<()> {
    lints()?;
    toolchain()?;
    tests()?;
    eprintln!("setup: everything is there");
    Ok(())
}

/// What building the sensor needs: a compiler and a linker for eBPF.
pub fn toolchain() -> Result<()> {
    ebpf::compiler()?;
    ebpf::linker()
}

/// What linting needs.
pub fn lints() -> Result<()> {
    for component in ["fmt", "clippy"] {
        if output(cargo().args([component, "--version"])).is_none() {
            let name = if component == "fmt" { "rustfmt" } else { component };
            exec(Command::new("rustup").args(["component", "add", name]))
                .with_context(|| format!("`cargo {component}` is missing"))?;
        }
    }
    Ok(())
}

/// What the namespaces of the tests and of the demo are made with.
pub fn network() -> Result<()> {
    programs(|package| matches!(package, "iproute2" | "ethtool"))
}

/// What the tests with the real kernel run.
pub fn tests() -> Result<()> {
    programs(|_| true)?;
    promtool()
}

fn programs(wanted: impl Fn(&str) -> bool) -> Result<()> {
    let missing = PROGRAMS.into_iter().filter(|(program, package)| wanted(package) && !has(program));
    let mut packages: Vec<_> = missing.map(|(_, package)| package).collect();
    packages.dedup();
    apt::install(&packages)
}

/// Prometheus' own checker. Its package would start a server, so only the program is taken out of it.
fn promtool() -> Result<()> {
    if has("promtool") {
        return Ok(());
    }
    let archive = apt::download("prometheus")?;
    let script = "dpkg-deb --fsys-tarfile \"$0\" | tar --extract --directory \"$1\" \
                  --strip-components 2 ./usr/bin/promtool";
    exec(Command::new("sh").args(["-ec", script]).arg(&archive).arg(tools()).env("PATH", path()))?;
    if !has("promtool") {
        bail!("{} holds no promtool", archive.display());
    }
    std::fs::remove_file(&archive).with_context(|| format!("cannot remove {}", archive.display()))
}
