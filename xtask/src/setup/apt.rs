//! Debian packages: installed where this is root on Debian, else named.

use std::{fs, path::PathBuf, process::Command};

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
    if !all_known(packages) {
        update()?;
    }
    // Lists that were read long ago name files that are gone: one more try with new ones.
    if exec(&mut install_command(packages)).is_err() {
        update()?;
        exec(&mut install_command(packages))?;
    }
    Ok(())
}

/// Fetches the archive of `package` without installing it and returns its path.
pub fn download(package: &str) -> Result<PathBuf> {
    require_apt(&[package])?;
    let directory = tools();
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    if !all_known(&[package]) && is_root() {
        update()?;
    }
    exec(Command::new("apt-get").args(["download", package]).current_dir(&directory))?;
    let files = fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let prefix = format!("{package}_");
    files
        .filter_map(|file| Some(file.ok()?.path()))
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix)))
        .with_context(|| format!("apt-get downloaded no {prefix}*.deb to {}", directory.display()))
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
