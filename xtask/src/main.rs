//! The project's one door for building, testing and showing.

fn main() {}
