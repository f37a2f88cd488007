//! A hand on the real `flow-sensor`.
