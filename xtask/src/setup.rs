//! `cargo xtask setup`: finds what is missing and installs it, and nothing else.
//!
//! Each need is looked for first, so that a complete machine is left alone within a second and needs
//! neither root nor network. What Debian packages is installed from there; what it does not package, or
//! packages as a service that would be started, goes to `target/tools` and disappears with it.

pub mod apt;
mod ebpf;

use std::{path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::exec::{cargo, exec, has, is_root, output, path, tools};

/// Programs that the tests with the real kernel and the demo run, with their Debian packages.
const PROGRAMS: [(&str, &str); 14] = [
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("ethtool", "ethtool"),
    ("setpriv", "util-linux"),
    ("nft", "nftables"),
    ("aria2c", "aria2"),
    ("transmission-cli", "transmission-cli"),
    ("curl", "curl"),
    ("unbound-host", "unbound-host"),
    ("fping", "fping"),
    ("tcpdump", "tcpdump"),
    ("slowhttptest", "slowhttptest"),
    ("chromium", "chromium"),
    ("chromedriver", "chromium-driver"),
];

const FUZZ_VERSION: &str = "0.13.2";

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

/// What fuzzing needs: a nightly compiler for its sanitizers, and cargo-fuzz.
pub fn fuzzer() -> Result<()> {
    if output(Command::new("rustup").args(["run", "nightly", "rustc", "--version"])).is_none() {
        exec(Command::new("rustup").args(["toolchain", "install", "nightly", "--profile", "minimal"]))
            .context("fuzzing needs a nightly compiler")?;
    }
    if has("cargo-fuzz") {
        return Ok(());
    }
    exec(
        cargo().args(["install", "--locked", "cargo-fuzz", "--version", FUZZ_VERSION, "--root"]).arg(tools()),
    )
}

/// What the benchmarks run: the cable, and the programs that replay is compared with.
pub fn bench() -> Result<()> {
    network()?;
    tshark()?;
    if has("nfpcapd") { Ok(()) } else { apt::install(&["nfdump"]) }
}

/// What dissects the captures that `inspect` is compared on.
pub fn tshark() -> Result<()> {
    if has("tshark") { Ok(()) } else { apt::install(&["tshark"]) }
}

fn programs(wanted: impl Fn(&str) -> bool) -> Result<()> {
    let missing = PROGRAMS.into_iter().filter(|(program, package)| wanted(package) && !has(program));
    let mut packages: Vec<_> = missing.map(|(_, package)| package).collect();
    packages.dedup();
    apt::install(&packages)
}

/// Prometheus, Alertmanager and their checkers. Their packages would start servers, so only the programs are
/// taken out of them.
pub fn prometheus() -> Result<()> {
    programs_of("prometheus", &["promtool", "prometheus"])?;
    programs_of("prometheus-alertmanager", &["amtool", "prometheus-alertmanager"])?;
    alertmanager_template()
}

/// Takes those of `programs` that are missing out of `package`.
fn programs_of(package: &str, programs: &[&'static str]) -> Result<()> {
    let missing: Vec<_> = programs.iter().filter(|program| !has(program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let archive = apt::download(package)?;
    let members: Vec<_> = missing.iter().map(|program| format!("./usr/bin/{program}")).collect();
    extract(&archive, &tools(), 2, &members)?;
    if let Some(program) = missing.into_iter().find(|program| !has(program)) {
        bail!("{} holds no {program}", archive.display());
    }
    remove(&archive)
}

/// The one file that Debian's Alertmanager needs beside itself: it ends at once where this is missing, and
/// the path is compiled into it.
fn alertmanager_template() -> Result<()> {
    const DIRECTORY: &str = "/usr/share/prometheus/alertmanager";
    if Path::new(DIRECTORY).join("default.tmpl").is_file() || !is_root() {
        return Ok(());
    }
    let archive = apt::download("prometheus-alertmanager")?;
    extract(&archive, Path::new("/"), 0, &[format!(".{DIRECTORY}")])?;
    remove(&archive)
}

/// Extracts `members` of a Debian package into `directory`, without the first `strip` parts of their paths.
fn extract(archive: &Path, directory: &Path, strip: u8, members: &[String]) -> Result<()> {
    let script = "archive=$0 directory=$1 strip=$2; shift 2; dpkg-deb --fsys-tarfile \"$archive\" | \
                  tar --extract --directory \"$directory\" --strip-components \"$strip\" \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-ec", script]).arg(archive).arg(directory).arg(strip.to_string());
    exec(command.args(members).env("PATH", path()))
}

fn remove(archive: &Path) -> Result<()> {
    std::fs::remove_file(archive).with_context(|| format!("cannot remove {}", archive.display()))
}
