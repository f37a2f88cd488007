//! Every capture in the folder `SENSOR_CAPTURES`, or beside the workspace, is read to its end.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use sensor_user::{
    capture::{file::CaptureFile, replay::Replay},
    config::Config,
    error_chain,
    flow::{Drain, FrameCounts},
};

/// The captures, if they are there.
fn captures() -> Option<Vec<PathBuf>> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/captures");
    let folder = env::var_os("SENSOR_CAPTURES").map_or_else(beside, PathBuf::from);
    let Ok(entries) = fs::read_dir(&folder) else {
        eprintln!("left out: there is no {}", folder.display());
        return None;
    };
    let files = entries.map(|entry| entry.expect("the folder must be readable").path());
    let is_capture = |path: &PathBuf| {
        path.extension()
            .is_some_and(|extension| ["pcap", "pcapng", "cap"].iter().any(|known| extension == *known))
    };
    Some(files.filter(is_capture).collect())
}

#[test]
fn every_capture_is_read_to_its_end_and_every_frame_accounted_for() {
    let Some(captures) = captures() else { return };
    assert!(!captures.is_empty(), "there must be captures");
    for path in captures {
        let mut file = CaptureFile::open(&path).unwrap_or_else(|error| panic!("{}", error_chain(&error)));
        let mut replay = Replay::new(&Config::default());
        let mut total = FrameCounts::default();
        let mut feed = |drain: &Drain| {
            drain.frames.iter().for_each(|counts| total.add(counts));
            Ok::<_, std::convert::Infallible>(())
        };
        loop {
            match file.next_frame() {
                Ok(Some(frame)) => {
                    let Ok(()) = replay.push(&frame, &mut feed);
                }
                Ok(None) => break,
                Err(error) => panic!("{}", error_chain(&error)),
            }
        }
        let Ok(()) = replay.finish(&mut feed);
        let size = fs::metadata(&path).expect("the file must still be there").len();
        assert_eq!(file.position(), size, "{}", path.display());
        assert_eq!((total.seen, total.unaccounted()), (file.frames(), 0), "{}", path.display());
    }
}
