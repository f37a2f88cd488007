//! The `flow-sensor` command.

fn main() {}
