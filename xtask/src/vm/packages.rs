//! QEMU and kernels out of Debian's packages, unpacked and not installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::directory;
use crate::{
    exec::{exec, has},
    setup::apt,
};

/// The machine that kernels run on.
pub struct Emulator {
    /// QEMU.
    pub program: PathBuf,
    /// Where it finds its firmware, unless it is installed.
    pub arguments: Vec<PathBuf>,
    /// Where it finds its libraries, unless it is installed.
    pub libraries: Option<PathBuf>,
    /// A busybox without libraries, for the inside.
    pub busybox: PathBuf,
}

/// A kernel and its modules.
pub struct Kernel {
    /// The package's name.
    pub name: String,
    /// Where it is unpacked.
    pub directory: PathBuf,
    /// What to boot.
    pub image: PathBuf,
}

/// QEMU of this system, or else of a package.
pub fn emulator() -> Result<Emulator> {
    const PROGRAM: &str = "qemu-system-x86_64";
    let root = directory().join("root");
    let busybox = root.join("bin/busybox");
    let installed = has(PROGRAM);
    let unpacked = root.join("usr/bin").join(PROGRAM);
    if !busybox.is_file() {
        fetch(&["busybox-static"], &root)?;
    }
    if installed {
        return Ok(Emulator { program: PROGRAM.into(), arguments: Vec::new(), libraries: None, busybox });
    }
    if !unpacked.is_file() {
        fetch(&["qemu-system-x86"], &root)?;
    }
    let firmware = ["usr/share/qemu", "usr/share/seabios"];
    let arguments = firmware.iter().flat_map(|path| [PathBuf::from("-L"), root.join(path)]).collect();
    let libraries = Some(root.join("usr/lib/x86_64-linux-gnu"));
    Ok(Emulator { program: unpacked, arguments, libraries, busybox })
}

/// Unpacks `packages`, with what they need and this system lacks, below `root`.
fn fetch(packages: &[&str], root: &Path) -> Result<()> {
    let archives = directory().join("archives");
    apt::download_all(packages, &archives)?;
    let files = fs::read_dir(&archives).with_context(|| format!("cannot read {}", archives.display()))?;
    for file in files {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            unpack(&path, root)?;
        }
    }
    fs::remove_dir_all(&archives).with_context(|| format!("cannot remove {}", archives.display()))
}

fn unpack(archive: &Path, root: &Path) -> Result<()> {
    exec(Command::new("dpkg-deb").arg("--extract").arg(archive).arg(root))
}

/// The newest of Debian's kernels for virtual machines whose version begins with `version`.
pub fn kernel(version: &str) -> Result<Kernel> {
    let pattern = format!("^linux-image-{}\\.[0-9].*-cloud-amd64$", version.replace('.', "\\."));
    let name = apt::names(&pattern)?.into_iter().max_by_key(|name| numbers(name)).with_context(|| {
        format!("no package {pattern}: `apt-get update`, or a version that this system's sources have")
    })?;
    let directory = directory().join(&name);
    if !directory.is_dir() {
        let archive = apt::download(&name)?;
        // Under its name only when all of it is there.
        let partial = super::directory().join("partial");
        if partial.exists() {
            fs::remove_dir_all(&partial).with_context(|| format!("cannot remove {}", partial.display()))?;
        }
        unpack(&archive, &partial)?;
        fs::rename(&partial, &directory).with_context(|| format!("cannot make {}", directory.display()))?;
        fs::remove_file(&archive).with_context(|| format!("cannot remove {}", archive.display()))?;
    }
    let image = files_below(&directory.join("boot"))?
        .into_iter()
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz")))
        .with_context(|| format!("no kernel in {}", directory.display()))?;
    Ok(Kernel { name, directory, image })
}

/// The numbers in a name, by which versions are ordered.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|letter: char| !letter.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// Every file below `directory`.
pub fn files_below(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files.extend(files_below(&entry.path())?);
        } else {
            files.push(entry.path());
        }
    }
    Ok(files)
}
