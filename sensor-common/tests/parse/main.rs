//! The parser against stated cases, against laws, and against an independent parser.

mod etherparse;
mod frames;
mod headers;
mod laws;
mod mutate;
mod oracle;
mod wrap;
