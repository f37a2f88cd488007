//! Builds a program of this crate for the kernel, with whichever toolchain can: a module of the build scripts
//! that embed one.
//!
//! In this order: a rustup nightly with `rust-src`; Debian's `rustc-web` with its core library for BPF, or
//! with `rust-web-src`.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, exit},
};

const TARGET: &str = "bpfel-unknown-none";

const REMEDY: &str = "\
no toolchain that can build the eBPF program was found.\n\
Run `cargo xtask setup`, which installs what is missing, and build again.\n\
(By hand: a rustup nightly with the component rust-src, or Debian's packages rustc-web, cargo-web and \
libstd-rust-web-dev-bpf; and bpf-linker in PATH or in target/tools/bin. SENSOR_EBPF_SKIP=1 builds all but \
the live sensor.)";

/// What a program is built from, for cargo to watch.
pub fn watch(workspace: &Path) {
    for input in ["sensor-ebpf", "sensor-common", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }
}

/// Builds `program` into `object`. `arguments` are more arguments to cargo.
pub fn build(workspace: &Path, program: &str, arguments: &[&str], object: &Path) {
    // OUT_DIR is <target>/<profile>/build/<package>/out. The inner build has a folder of its own that
    // all profiles and cargo commands share; each would build the BPF core library again otherwise.
    let out_dir = PathBuf::from(variable("OUT_DIR"));
    let target_dir = out_dir.ancestors().nth(4).expect("OUT_DIR must lie in the target folder");
    copy(&run_cargo(workspace, target_dir, program, arguments), object);
}

fn run_cargo(workspace: &Path, target_dir: &Path, program: &str, arguments: &[&str]) -> PathBuf {
    let tools = workspace.join("target/tools/bin");
    let path = search_path(&tools);
    let linker = output(Command::new("bpf-linker").arg("--version").env("PATH", &path));
    let Some(toolchain) = linker.and_then(|_| Toolchain::find()) else { fail(REMEDY) };
    let target_dir = target_dir.join("ebpf");
    let architecture = variable("CARGO_CFG_TARGET_ARCH");
    let mut command = Command::new(toolchain.cargo[0]);
    isolate(&mut command)
        .args(&toolchain.cargo[1..])
        .args(["build", "--quiet", "--release", "--locked", "--package", "sensor-ebpf", "--bin", program])
        .args(arguments)
        .args(["--target", TARGET, "--target-dir"])
        .arg(&target_dir)
        .env("PATH", path)
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            // Debug information and BTF: map definitions of `btf_map` live in BTF. Given here, not in a
            // profile, so that compiler_builtins has function information too (aya-rs/aya#1649).
            format!("--cfg=bpf_target_arch=\"{architecture}\"\x1f-Cdebuginfo=2\x1f-Clink-arg=--btf"),
        )
        .current_dir(workspace);
    if toolchain.build_core {
        command.arg("-Zbuild-std=core");
    }
    if let Some(rustc) = toolchain.rustc {
        command.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
    }
    let result = command.output().unwrap_or_else(|error| fail(&format!("{command:?}: {error}")));
    let messages = String::from_utf8_lossy(&result.stderr);
    if !result.status.success() {
        fail(&format!("the eBPF program did not build: {command:?}\n{messages}"));
    }
    for line in messages.lines() {
        println!("cargo::warning={line}");
    }
    target_dir.join(TARGET).join("release").join(program)
}

/// A compiler that can target BPF.
struct Toolchain {
    /// Program and leading arguments.
    cargo: &'static [&'static str],
    /// A stable compiler, to be used with `RUSTC_BOOTSTRAP`: aya-ebpf needs `asm_experimental_arch`.
    rustc: Option<&'static str>,
    /// Whether core must be built from source.
    build_core: bool,
}

impl Toolchain {
    fn find() -> Option<Self> {
        const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
        let sysroot = |command: &mut Command| {
            output(command.args(["--print", "sysroot"])).map(|text| PathBuf::from(text.trim()))
        };
        let nightly = sysroot(Command::new("rustup").args(["run", "nightly", "rustc"]));
        if nightly.is_some_and(|root| has_sources(&root)) {
            return Some(Self {
                cargo: &["rustup", "run", "nightly", "cargo"],
                rustc: None,
                build_core: true,
            });
        }
        let root = sysroot(&mut Command::new(DEBIAN_RUSTC))?;
        let compiled = has_compiled_core(DEBIAN_RUSTC);
        (compiled || has_sources(&root)).then_some(Self {
            cargo: &["/usr/bin/cargo"],
            rustc: Some(DEBIAN_RUSTC),
            build_core: !compiled,
        })
    }
}

fn has_sources(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib/src/rust/library/Cargo.lock").is_file()
}

fn has_compiled_core(rustc: &str) -> bool {
    let directory = output(Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]));
    let entries = directory.and_then(|directory| fs::read_dir(directory.trim()).ok());
    entries.into_iter().flatten().flatten().any(|entry| {
        let name = entry.file_name();
        name.to_string_lossy().starts_with("libcore-")
            && Path::new(&name).extension().is_some_and(|e| e == "rlib")
    })
}

/// Removes what the outer cargo set for this build: it would select its compiler, its flags and its
/// target folder for the inner one, and spoil the inner fingerprints.
fn isolate(command: &mut Command) -> &mut Command {
    const EXACT: [&str; 14] = [
        "RUSTC",
        "RUSTDOC",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_LINKER",
        "RUSTFLAGS",
        "CARGO",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_TARGET_DIR",
        "RUSTUP_TOOLCHAIN",
        "LD_LIBRARY_PATH",
        "TARGET",
        "HOST",
        "CLIPPY_ARGS",
    ];
    const PREFIXES: [&str; 7] = [
        "CARGO_BUILD_",
        "CARGO_CFG_",
        "CARGO_FEATURE_",
        "CARGO_MANIFEST_",
        "CARGO_PKG_",
        "CARGO_PROFILE_",
        "DEP_",
    ];
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if EXACT.contains(&&*text) || PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command
}

fn search_path(first: &Path) -> OsString {
    let existing = env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(first.to_path_buf()).chain(env::split_paths(&existing));
    env::join_paths(folders).unwrap_or(existing)
}

/// The standard output of `command`, without what the outer cargo set for this build.
pub fn output(command: &mut Command) -> Option<String> {
    let result = isolate(command).output().ok()?;
    result.status.success().then(|| String::from_utf8_lossy(&result.stdout).into_owned())
}

/// Copies a file.
pub fn copy(from: &Path, to: &Path) {
    if let Err(error) = fs::copy(from, to) {
        fail(&format!("copying the eBPF object {} failed: {error}", from.display()));
    }
}

/// What cargo tells build scripts in their environment.
pub fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| fail(&format!("cargo did not set {name}")))
}

/// Ends the build with a message.
pub fn fail(message: &str) -> ! {
    for line in message.lines() {
        println!("cargo::error={line}");
    }
    exit(1)
}
