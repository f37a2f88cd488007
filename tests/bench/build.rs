//! Builds the kernel side of the benchmarks as `$OUT_DIR/bench.bpf.o`; an empty file with
//! `SENSOR_EBPF_SKIP=1`.

#[path = "../../sensor-ebpf/object.rs"]
mod object;

use std::{env, fs, path::PathBuf};

use object::{fail, variable};

fn main() {
    println!("cargo::rerun-if-env-changed=SENSOR_EBPF_SKIP");
    let workspace = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("../..");
    object::watch(&workspace);
    let object = PathBuf::from(variable("OUT_DIR")).join("bench.bpf.o");
    if env::var_os("SENSOR_EBPF_SKIP").is_some_and(|value| value == "1") {
        fs::write(&object, []).unwrap_or_else(|error| fail(&format!("{}: {error}", object.display())));
    } else {
        object::build(&workspace, "bench-bpf", &["--features", "bench"], &object);
    }
}
