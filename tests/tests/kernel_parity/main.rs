//! The kernel's instance of the parser against the one in this process, and both against etherparse where it
//! can read, or in what was put into a tunnel: on generated frames, right and wrong, and on captures.

use std::env;

use anyhow::{Context, Result, ensure};
use sensor_common::{
    control::Inspection,
    frame::CapturedFrame,
    parse::{Decapsulate, Link, find},
};
use sensor_tests::{captures, require_root};
use sensor_user::{
    capture::{file::CaptureFile, live::inspector::Inspector},
    cli::OutputFormat,
    commands::inspect::{Engine, UserEngine, View, inspect_file},
};

#[expect(dead_code, reason = "the parser's own tests use the rest")]
#[path = "../../../sensor-common/tests/parse/frames.rs"]
mod frames;
#[path = "../../../sensor-common/tests/parse/mutate.rs"]
mod mutate;
#[path = "../../../sensor-common/tests/parse/oracle.rs"]
mod oracle;
mod tally;
#[path = "../../../sensor-common/tests/parse/wrap.rs"]
mod wrap;

use mutate::{Random, mutate, plain_frame};
use oracle::{Comparison, DIFFERENCES};
use tally::Tally;
use wrap::built;

/// Names the number of frames that each test generates; `cargo xtask soak` wants many.
const FRAMES: &str = "SENSOR_PARITY_FRAMES";
const DEFAULT_FRAMES: usize = 100_000;

fn number_of_frames() -> Result<usize> {
    let Ok(text) = env::var(FRAMES) else { return Ok(DEFAULT_FRAMES) };
    text.parse().with_context(|| format!("{FRAMES}: {text:?} is no number of frames"))
}

/// Both instances of the parser, which open the same tunnels.
struct Parsers {
    decapsulate: Decapsulate,
    kernel: Inspector,
}

impl Parsers {
    fn load(decapsulate: Decapsulate) -> Result<Self> {
        Ok(Self { decapsulate, kernel: Inspector::load(decapsulate)? })
    }

    /// All that both say of a frame: its flow, or why it has none and which it quotes or belongs to.
    fn agreed(&mut self, frame: &CapturedFrame<'_>, link: Link) -> Result<Inspection> {
        let CapturedFrame { bytes, wire_len } = frame;
        let mut here = Inspection::question(u32::try_from(bytes.len())?, u32::try_from(*wire_len)?, link);
        here.answer(&find(frame, link, self.decapsulate));
        let kernel = self.kernel.answer(frame, link)?;
        ensure!(
            kernel == here,
            "the kernel says {kernel:?}, user space {here:?} of {wire_len} bytes on {link:?}: {bytes:02x?}"
        );
        Ok(here)
    }
}

#[test]
fn the_kernel_and_user_space_agree_on_any_frame_and_read_what_was_built_into_it() -> Result<()> {
    require_root()?;
    let frames = number_of_frames()?;
    let mut parsers = Parsers::load(Decapsulate::ALL)?;
    let mut random = Random::new(0x5eed);
    let (mut tally, mut comparison) = (Tally::default(), Comparison::default());
    for _ in 0..frames {
        let built = built(&mut random);
        let mut bytes = built.bytes.clone();
        if random.below(2) == 0 {
            mutate(&mut bytes, &mut random);
        }
        let wire_len = bytes.len() + random.pick(&[0, 0, 0, 1, 1400]);
        if random.below(6) == 0 {
            bytes.truncate(random.below(bytes.len() + 1));
        }
        let link = if random.below(12) == 0 { random.pick(&Link::ALL) } else { Link::Ethernet };
        let frame = CapturedFrame { bytes: &bytes, wire_len };
        let answer = parsers.agreed(&frame, link)?;
        let key = answer.parsed().map(|packet| packet.key);
        tally.add(&built, &frame, link, key.err());
        if bytes == built.bytes && link == Link::Ethernet {
            comparison.add_built(&built, &key, answer.quoted());
        }
    }
    let Comparison { flows, too_deep, unlisted, .. } = comparison;
    eprintln!(
        "{tally}{flows:>9}  flows agreed upon by all three, quoted ones included\n{too_deep:>9}  too deep"
    );
    ensure!(unlisted.is_empty(), "what was built and what was read: {unlisted:#?}");
    tally.check()
}

#[test]
fn the_kernel_user_space_and_etherparse_agree_on_frames_without_tunnels() -> Result<()> {
    require_root()?;
    let frames = number_of_frames()?;
    let mut parsers = Parsers::load(Decapsulate::NONE)?;
    let mut random = Random::new(0xfeed);
    let mut comparison = Comparison::default();
    for _ in 0..frames {
        let mut bytes = plain_frame(&mut random);
        if random.below(2) == 0 {
            mutate(&mut bytes, &mut random);
        }
        let answer = parsers.agreed(&CapturedFrame::whole(&bytes), Link::Ethernet)?;
        comparison.add(&bytes, &answer.parsed().map(|packet| packet.key));
    }
    let Comparison { flows, differences, unlisted, .. } = comparison;
    eprintln!("{frames} frames: {flows} flows agreed upon by all three");
    for (difference, times) in DIFFERENCES.iter().zip(differences) {
        eprintln!("{times:>9}  {}", difference.why);
    }
    ensure!(unlisted.is_empty(), "unlisted differences from etherparse: {unlisted:#?}");
    ensure!(flows > frames / 4, "only {flows} flows agreed upon");
    Ok(())
}

#[test]
fn both_engines_of_inspect_print_the_same_for_every_capture() -> Result<()> {
    require_root()?;
    let mut kernel = Inspector::load(Decapsulate::ALL)?;
    let (mut files, mut frames) = (0, 0);
    for path in captures()? {
        let printed = |engine: &mut dyn Engine| -> Result<String> {
            let mut out = Vec::new();
            let view = View { format: OutputFormat::Json, explain: None };
            inspect_file(CaptureFile::open(&path)?, engine, view, &mut out)?;
            Ok(String::from_utf8(out)?)
        };
        let here = printed(&mut UserEngine(Decapsulate::ALL))?;
        let there = printed(&mut kernel)?;
        let different = here.lines().zip(there.lines()).find(|(here, there)| here != there);
        ensure!(here == there, "{}: user space and kernel: {different:?}", path.display());
        files += 1;
        frames += here.lines().count();
    }
    eprintln!("the same line from both engines for {frames} frames in {files} captures");
    Ok(())
}
