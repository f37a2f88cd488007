//! Builds the eBPF object, hands it to the crate as `$OUT_DIR/sensor.bpf.o`, and tells it the revision.
//!
//! `SENSOR_EBPF_OBJECT=<file>` takes a prebuilt object; `SENSOR_EBPF_SKIP=1` makes an empty one, enough for
//! checks and for everything but `run`.

#[path = "../sensor-ebpf/object.rs"]
mod object;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use object::{copy, fail, output, variable};

fn main() {
    for name in ["SENSOR_EBPF_OBJECT", "SENSOR_EBPF_SKIP"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let workspace = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("..");
    tell_revision(&workspace);
    object::watch(&workspace);
    let object = PathBuf::from(variable("OUT_DIR")).join("sensor.bpf.o");
    if let Some(prebuilt) = env::var_os("SENSOR_EBPF_OBJECT") {
        println!("cargo::rerun-if-changed={}", Path::new(&prebuilt).display());
        copy(Path::new(&prebuilt), &object);
    } else if env::var_os("SENSOR_EBPF_SKIP").is_some_and(|value| value == "1") {
        fs::write(&object, []).unwrap_or_else(|error| fail(&format!("{}: {error}", object.display())));
    } else {
        object::build(&workspace, "sensor-bpf", &[], &object);
    }
}

/// Tells the crate which commit it is built from, where it is built in a checkout.
fn tell_revision(workspace: &Path) {
    let head = output(Command::new("git").arg("-C").arg(workspace).args(["rev-parse", "--git-path", "HEAD"]));
    let revision =
        output(Command::new("git").arg("-C").arg(workspace).args(["rev-parse", "--short=12", "HEAD"]));
    let (Some(head), Some(revision)) = (head, revision) else { return };
    // HEAD changes on checkout, its log on commit.
    println!("cargo::rerun-if-changed={}", workspace.join(head.trim()).display());
    println!("cargo::rerun-if-changed={}", workspace.join(head.trim()).with_file_name("logs/HEAD").display());
    println!("cargo::rustc-env=FLOW_SENSOR_REVISION={}", revision.trim());
}
