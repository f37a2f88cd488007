//! What the sensor says of its process and of its HTTP server.

use super::{
    family::{self, Samples},
    sensor::single,
};
use crate::output::{http::HttpStatus, process::ProcessStatus};

pub(super) fn collect_process(process: &ProcessStatus, samples: &mut Vec<Samples>) {
    let ProcessStatus { cpu, resident_bytes, virtual_bytes, threads, start, open_fds, max_fds } = process;
    samples.push(single(&family::PROCESS_CPU, cpu.as_secs_f64()));
    samples.push(single(&family::PROCESS_RESIDENT, *resident_bytes as f64));
    samples.push(single(&family::PROCESS_VIRTUAL, *virtual_bytes as f64));
    samples.push(single(&family::PROCESS_THREADS, *threads as f64));
    samples.push(single(&family::PROCESS_START, start.as_secs_f64()));
    samples.push(single(&family::PROCESS_OPEN_FDS, *open_fds as f64));
    if let Some(max) = max_fds {
        samples.push(single(&family::PROCESS_MAX_FDS, *max as f64));
    }
}

pub(super) fn collect_http(http: &HttpStatus, samples: &mut Vec<Samples>) {
    let HttpStatus { connections, requests, cut, render } = http;
    samples.push(single(&family::HTTP_CONNECTIONS, *connections as f64));
    let mut by_path = Samples::of(&family::HTTP_REQUESTS);
    for (path, code, count) in requests {
        by_path.add(&[path, &code.to_string()], *count as f64);
    }
    let mut by_reason = Samples::of(&family::HTTP_CLOSED);
    for (reason, count) in cut {
        by_reason.add(&[reason], *count as f64);
    }
    samples.extend([by_path, by_reason]);
    if let Some(render) = render {
        samples.push(single(&family::RENDER_DURATION, render.as_secs_f64()));
    }
}
