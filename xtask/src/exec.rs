//! Running commands so that a failure names the command that failed.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// Runs `command` with this terminal, after showing it.
pub fn exec(command: &mut Command) -> Result<()> {
    let line = line_of(command);
    eprintln!("$ {line}");
    let status = command.status().with_context(|| format!("cannot run `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed: {status}");
    }
    Ok(())
}

/// The standard output of `command`, or nothing where it cannot be run or fails.
pub fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether `program` is in PATH or among the project's own tools.
pub fn has(program: &str) -> bool {
    search_path().iter().any(|directory| directory.join(program).is_file())
}

/// Cargo, in the workspace root, with the project's own tools at the end of PATH.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(root()).env("PATH", path());
    command
}

/// PATH with the project's own tools at its end.
pub fn path() -> OsString {
    env::join_paths(search_path()).expect("directories that came out of PATH must fit into it")
}

fn search_path() -> Vec<PathBuf> {
    let inherited = env::var_os("PATH").unwrap_or_default();
    // An ordinary user's PATH leaves out /usr/sbin, where ip, tc and ethtool are.
    let more = [PathBuf::from("/usr/sbin"), tools().join("bin")];
    env::split_paths(&inherited).chain(more).collect()
}

/// The workspace root.
pub fn root() -> PathBuf {
    let manifest = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let manifest = PathBuf::from(manifest);
    manifest.parent().map(Path::to_path_buf).expect("a member of the workspace must have a parent directory")
}

/// Where the project keeps the tools that it installed for itself: `target/tools`, programs in `bin`.
/// Not below another `CARGO_TARGET_DIR`: the build script of sensor-user looks here too.
pub fn tools() -> PathBuf {
    root().join("target/tools")
}

/// The directory that cargo builds into.
pub fn target() -> PathBuf {
    // An absolute CARGO_TARGET_DIR replaces the root, as cargo has it.
    root().join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// Whether this process may do everything.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The command as one would type it.
fn line_of(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    words.join(" ")
}
