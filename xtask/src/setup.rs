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
const PROGRAMS: [(&str, &str); 8] = [
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("ethtool", "ethtool"),
    ("setpriv", "util-linux"),
    ("aria2c", "aria2"),
    ("tcpdump", "tcpdump"),
    ("chromium", "chromium"),
    ("chromedriver", "chromium-driver"),
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
    prometheus()
}

/// What the benchmarks run: the cable, and the programs that replay is compared with.
pub fn bench() -> Result<()> {
    network()?;
    let missing =
        [("tshark", "tshark"), ("nfpcapd", "nfdump")].into_iter().filter(|(program, _)| !has(program));
    let packages: Vec<_> = missing.map(|(_, package)| package).collect();
    apt::install(&packages)
}

fn programs(wanted: impl Fn(&str) -> bool) -> Result<()> {
    let missing = PROGRAMS.into_iter().filter(|(program, package)| wanted(package) && !has(program));
    let mut packages: Vec<_> = missing.map(|(_, package)| package).collect();
    packages.dedup();
    apt::install(&packages)
}

/// Prometheus and its checker. Their package would start a server, so only the programs are taken out of it.
fn prometheus() -> Result<()> {
    let missing: Vec<_> = ["promtool", "prometheus"].into_iter().filter(|program| !has(program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let archive = apt::download("prometheus")?;
    let script = "archive=$0 directory=$1; shift; dpkg-deb --fsys-tarfile \"$archive\" | \
                  tar --extract --directory \"$directory\" --strip-components 2 \"$@\"";
    let members = missing.iter().map(|program| format!("./usr/bin/{program}"));
    let mut command = Command::new("sh");
    command.args(["-ec", script]).arg(&archive).arg(tools()).args(members).env("PATH", path());
    exec(&mut command)?;
    if let Some(program) = missing.into_iter().find(|program| !has(program)) {
        bail!("{} holds no {program}", archive.display());
    }
    std::fs::remove_file(&archive).with_context(|| format!("cannot remove {}", archive.display()))
}
