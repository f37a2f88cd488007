//! Where frames come from: a mirror port or a file. Both yield [`Drain`](crate::flow::Drain)s.

pub mod live;
pub mod merge;

pub mod file;
pub mod replay;
