//! The initramfs: a test, the programs that it runs, their libraries, and a script that runs it.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use super::{
    STATUS,
    packages::{Kernel, files_below},
};
use crate::exec::{exec, output, path};

/// What the test runs.
const PROGRAMS: [&str; 2] = ["ip", "ethtool"];

/// The first process. It powers the machine off at the end, whatever the test says.
const INIT: &str = "\
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/programs:/bin
mkdir -p /proc /sys /dev /tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
[ -e /veth.ko.xz ] && unxz /veth.ko.xz
insmod /veth.ko
uname -r
/programs/test --nocapture --test-threads 1 2>&1
";

/// Builds the initramfs for `kernel`.
pub fn build(kernel: &Kernel, busybox: &Path, test: &Path) -> Result<PathBuf> {
    let root = kernel.directory.join("initramfs");
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
    }
    copy(busybox, &root.join("bin/busybox"))?;
    add_program(test, "test", &root)?;
    for name in PROGRAMS {
        add_program(&find(name)?, name, &root)?;
    }
    // What was built with debug information is ten times as large.
    exec(Command::new("strip").arg(root.join("programs/test")))?;
    let modules = files_below(&kernel.directory.join("lib/modules"))?;
    let is_veth =
        |path: &&PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("veth.ko"));
    let module = modules.iter().find(is_veth).context("the kernel has no module veth")?;
    copy(module, &root.join(module.file_name().unwrap_or_default()))?;
    let init = root.join("init");
    let script = format!("{INIT}echo \"{STATUS}$?\"\npoweroff -f\n");
    fs::write(&init, script).with_context(|| format!("cannot write {}", init.display()))?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} executable", init.display()))?;
    pack(&root, busybox)
}

/// Adds a program with the libraries that it is linked with.
fn add_program(program: &Path, name: &str, root: &Path) -> Result<()> {
    copy(program, &root.join("programs").join(name))?;
    let text = output(Command::new("ldd").arg(program))
        .with_context(|| format!("ldd cannot read {}", program.display()))?;
    let libraries = text.split_whitespace().filter(|word| word.starts_with('/'));
    for library in libraries {
        copy(Path::new(library), &root.join(library.trim_start_matches('/')))?;
    }
    Ok(())
}

/// Where a program of this system is.
fn find(name: &str) -> Result<PathBuf> {
    let path = path();
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
        .with_context(|| format!("no program {name} (cargo xtask setup)"))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let directory = to.parent().context("a file must be in a directory")?;
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

/// Packs a directory as the kernel unpacks it.
fn pack(root: &Path, busybox: &Path) -> Result<PathBuf> {
    let archive = root.with_extension("cpio");
    let file = File::create(&archive).with_context(|| format!("cannot make {}", archive.display()))?;
    let mut command = Command::new("sh");
    command.args(["-ec", "find . | \"$0\" cpio -o -H newc"]).arg(busybox).current_dir(root);
    let status = command.stdout(file).stderr(Stdio::null()).status().context("cannot run sh")?;
    ensure!(status.success(), "cannot pack {}: {status}", root.display());
    Ok(archive)
}
