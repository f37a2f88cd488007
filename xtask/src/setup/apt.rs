//! Debian packages: installed where this is root on Debian, else named.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::exec::{exec, has, is_root, output, tools};

/// Installs `packages`; nothing to do where there are none.
pub fn install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let line = format!("apt-get install --no-install-recommends {}", packages.join(" "));
    require_apt(packages)?;
    if !is_root() {
        bail!("{} missing, and only root may install: run `sudo {line}`", packages.join(", "));
    }
    know(packages)?;
    with_new_lists(&mut install_command(packages))
}

/// Fetches the archive of `package` without installing it and returns its path.
pub fn download(package: &str) -> Result<PathBuf> {
    require_apt(&[package])?;
    let directory = tools();
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    know(&[package])?;
    with_new_lists(Command::new("apt-get").args(["download", package]).current_dir(&directory))?;
    let files = fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let prefix = format!("{package}_");
    files
        .filter_map(|file| Some(file.ok()?.path()))
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix)))
        .with_context(|| format!("apt-get downloaded no {prefix}*.deb to {}", directory.display()))
}

/// Fetches the archives of `packages`, and of what they need and this system lacks, into `directory`, without
/// installing any. Needs no root, as long as apt's lists are there.
pub fn download_all(packages: &[&str], directory: &Path) -> Result<()> {
    require_apt(packages)?;
    know(packages)?;
    let partial = directory.join("partial");
    fs::create_dir_all(&partial).with_context(|| format!("cannot make {}", partial.display()))?;
    let mut command = Command::new("apt-get");
    command.args(["install", "--download-only", "--yes", "--no-install-recommends"]);
    // Nothing of the system's is written, so no lock is needed.
    command.args(["-o", "Debug::NoLocking=true", "-o"]);
    command.arg(format!("Dir::Cache::archives={}", directory.display())).args(packages);
    with_new_lists(&mut command)
}

/// The names of the packages that match `pattern`; reads apt's lists anew where they have none.
pub fn names(pattern: &str) -> Result<Vec<String>> {
    let search = || {
        let found = output(Command::new("apt-cache").args(["search", "--names-only", pattern]));
        let found = found.unwrap_or_default();
        found.lines().filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).collect()
    };
    let names: Vec<_> = search();
    if !names.is_empty() || !is_root() {
        return Ok(names);
    }
    update()?;
    Ok(search())
}

/// Runs a command that fetches packages. Lists that were read long ago name files that are gone: where it
/// fails, and this is root, once more with new ones.
fn with_new_lists(command: &mut Command) -> Result<()> {
    let first = exec(command);
    if first.is_ok() || !is_root() {
        return first;
    }
    update()?;
    exec(command)
}

/// Reads apt's lists anew if they lack one of `packages`; a new machine has none.
fn know(packages: &[&str]) -> Result<()> {
    if all_known(packages) || !is_root() { Ok(()) } else { update() }
}

fn require_apt(packages: &[&str]) -> Result<()> {
    if !has("apt-get") {
        bail!(
            "{} missing, and there is no apt-get to install them: install what they hold with this system's \
             package manager (the names are Debian's)",
            packages.join(", ")
        );
    }
    Ok(())
}

fn all_known(packages: &[&str]) -> bool {
    packages.iter().all(|package| output(Command::new("apt-cache").args(["show", package])).is_some())
}

fn update() -> Result<()> {
    exec(Command::new("apt-get").arg("update"))
}

fn install_command(packages: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.args(["install", "--yes", "--no-install-recommends"]).args(packages);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}
