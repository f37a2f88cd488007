//! Loading the XDP program and attaching it: native where the driver can, generic where not, never silently.

use std::{io, time::Instant};

use aya::{
    Ebpf, EbpfError, EbpfLoader,
    programs::{ProgramError, Xdp, xdp},
    sys::SyscallError,
};
use sensor_common::control::CPU_STATE;
use sensor_common::parse::Decapsulate;
use sensor_common::table::{FLOWS_V4, FLOWS_V6, HashSecret, OVERFLOW, USED_V4, USED_V6};

use super::{interface, kernel_log::KernelLog, sys, table::TableSize};

/// The eBPF object; empty in a build that left it out.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/sensor.bpf.o"));

/// The largest frame buffer in which drivers keep a whole frame for XDP: a page less headroom and tail.
const SINGLE_BUFFER_MTU: u32 = 3498;

/// How the program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver, before the kernel allocates anything.
    Native,
    /// In the kernel's generic path: works everywhere, several times slower.
    Generic,
}

impl XdpMode {
    /// Every mode.
    pub const ALL: [Self; 2] = [Self::Native, Self::Generic];

    /// The name in metrics and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
}

/// Why the program could not be loaded or attached.
#[derive(Debug, thiserror::Error)]
pub enum ProgramFailure {
    /// The binary was built with `SENSOR_EBPF_SKIP`.
    #[error("this flow-sensor was built without its eBPF program: unset SENSOR_EBPF_SKIP and build again")]
    NotBuilt,
    /// The kernel refuses `bpf()` to this process.
    #[error(
        "no permission to load the XDP program: run as root, or with the capabilities CAP_BPF, CAP_NET_ADMIN and \
         CAP_PERFMON (and CAP_NET_RAW for promiscuous mode)"
    )]
    NoPermission,
    /// The kernel refused the object.
    #[error("loading the XDP program failed: kernel {kernel}, flow-sensor needs 6.1 or newer")]
    Load {
        /// Release of the running kernel.
        kernel: String,
        /// What it said.
        #[source]
        error: Box<EbpfError>,
    },
    /// The verifier refused the program.
    #[error("the kernel (release {kernel}) refuses the XDP program; flow-sensor needs 6.1 or newer")]
    Verify {
        /// Release of the running kernel.
        kernel: String,
        /// What it said.
        #[source]
        error: Box<ProgramError>,
    },
    /// No interface of that name.
    #[error("no interface {interface:?}; there are: {}", present.join(", "))]
    NoInterface {
        /// The name asked for.
        interface: String,
        /// The names that there are.
        present: Vec<String>,
    },
    /// Another program holds the interface.
    #[error(
        "{interface} already runs another XDP program: `ip link show dev {interface}` names it, `ip link set dev \
         {interface} xdp off` removes it (also try xdpgeneric off)"
    )]
    Occupied {
        /// The interface.
        interface: String,
    },
    /// Neither mode could be attached.
    #[error("attaching to {interface} failed in native and in generic mode")]
    Attach {
        /// The interface.
        interface: String,
        /// Why generic mode failed.
        #[source]
        error: Box<ProgramError>,
    },
    /// The kernel gave no random numbers.
    #[error("drawing the secret of the flow table's hash failed")]
    Random(#[source] io::Error),
}

/// A loaded object, not attached yet.
pub struct Program {
    ebpf: Ebpf,
    name: &'static str,
    log: Option<KernelLog>,
}

impl Program {
    /// Loads the object with a table of `size`, the one verdict for every frame, and the tunnels to open.
    pub fn load(size: &TableSize, drop: bool, decapsulate: Decapsulate) -> Result<Self, ProgramFailure> {
        const XDP_DROP: u32 = 1;
        const XDP_PASS: u32 = 2;
        if OBJECT.is_empty() {
            return Err(ProgramFailure::NotBuilt);
        }
        let secret = draw_secret().map_err(ProgramFailure::Random)?;
        let verdict = if drop { XDP_DROP } else { XDP_PASS };
        let [buckets_v4, buckets_v6] = [size.bucket_bits_v4, size.bucket_bits_v6].map(|bits| 1_u32 << bits);
        let log_level = KernelLog::level();
        let begun = Instant::now();
        // Reads the kernel's types, which is most of what it takes to load.
        let mut loader = EbpfLoader::new();
        let types_read = begun.elapsed();
        let mut ebpf = loader
            .override_global("AYA_LOG_LEVEL", &log_level, true)
            .override_global("VERDICT", &verdict, true)
            .override_global("BUCKETS_V4", &buckets_v4, true)
            .override_global("BUCKETS_V6", &buckets_v6, true)
            .override_global("HASH_SECRET", &secret.0, true)
            .override_global("DECAPSULATE", &decapsulate.to_words(), true)
            .map_max_entries(CPU_STATE, size.cpus)
            .map_max_entries(FLOWS_V4, size.buckets(size.bucket_bits_v4))
            .map_max_entries(FLOWS_V6, size.buckets(size.bucket_bits_v6))
            .map_max_entries(USED_V4, size.words(size.bucket_bits_v4))
            .map_max_entries(USED_V6, size.words(size.bucket_bits_v6))
            .map_max_entries(OVERFLOW[0], size.overflow())
            .map_max_entries(OVERFLOW[1], size.overflow())
            .load(OBJECT)
            .map_err(load_failure)?;
        tracing::debug!(
            "eBPF object loaded in {:?}, {types_read:?} of it for the kernel's types, the rest for maps of {:.1} MiB",
            begun.elapsed(),
            size.bytes() as f64 / f64::from(1 << 20),
        );
        let log = KernelLog::of(&mut ebpf, log_level);
        Ok(Self { ebpf, name: "", log })
    }

    /// Hands what the program logged on to the log of this process.
    pub fn flush_log(&mut self) {
        if let Some(log) = &mut self.log {
            log.flush();
        }
    }

    /// The loaded object, for its maps.
    pub fn ebpf(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// The XDP program called `name`, loaded into the kernel.
    ///
    /// # Panics
    /// Where the object has no such program.
    pub fn verified(&mut self, name: &'static str) -> Result<&mut Xdp, ProgramFailure> {
        let program: &mut Xdp = self
            .ebpf
            .program_mut(name)
            .and_then(|program| program.try_into().ok())
            .expect("the object must hold the XDP programs that this crate was built with");
        let begun = Instant::now();
        match program.load() {
            Ok(()) => {
                let info = program.info().ok();
                let instructions =
                    info.and_then(|info| info.verified_instruction_count()).unwrap_or_default();
                tracing::debug!("{name} verified in {:?}, {instructions} instructions", begun.elapsed());
                Ok(program)
            }
            Err(ProgramError::AlreadyLoaded) => Ok(program),
            Err(error) if is_permission(&error) => Err(ProgramFailure::NoPermission),
            Err(error) => Err(ProgramFailure::Verify { kernel: kernel_release(), error: Box::new(error) }),
        }
    }

    /// Attaches to an interface. Frames that lie in several buffers (a large MTU) get the program that can
    /// take them.
    pub fn attach(&mut self, interface: &str, mtu: Option<u32>) -> Result<Attachment, ProgramFailure> {
        let Some(index) = interface::index_of(interface) else {
            return Err(ProgramFailure::NoInterface {
                interface: interface.to_owned(),
                present: interface::names(),
            });
        };
        let jumbo = mtu.is_some_and(|mtu| mtu > SINGLE_BUFFER_MTU);
        let name = if jumbo { "sensor_frags" } else { "sensor" };
        let why = match self.verified(name)?.attach_to_if_index(index, xdp::XdpMode::Driver) {
            Ok(link) => return Ok(self.attachment(name, index, XdpMode::Native, link, None)),
            Err(error) => error,
        };
        give_up_on(interface, &why)?;
        match self.verified("sensor")?.attach_to_if_index(index, xdp::XdpMode::Skb) {
            Ok(link) => {
                Ok(self.attachment("sensor", index, XdpMode::Generic, link, Some(crate::error_chain(&why))))
            }
            Err(error) => {
                give_up_on(interface, &error)?;
                Err(ProgramFailure::Attach { interface: interface.to_owned(), error: Box::new(error) })
            }
        }
    }

    fn attachment(
        &mut self,
        name: &'static str,
        index: u32,
        mode: XdpMode,
        link: xdp::XdpLinkId,
        not_native: Option<String>,
    ) -> Attachment {
        self.name = name;
        Attachment { index, mode, not_native, link }
    }

    /// Detaches. An interface that is gone has detached by itself.
    pub fn detach(&mut self, attachment: Attachment) {
        let Ok(program) = self.verified(self.name) else { return };
        if let Err(error) = program.detach(attachment.link) {
            tracing::debug!("detaching: {}", crate::error_chain(&error));
        }
    }
}

/// A program on an interface; detached by [`Program::detach`], or when the program is dropped.
#[derive(Debug)]
pub struct Attachment {
    /// The interface's index.
    pub index: u32,
    /// How.
    pub mode: XdpMode,
    /// Why native mode was refused.
    pub not_native: Option<String>,
    link: xdp::XdpLinkId,
}

/// Fails where another mode would fail for the same reason.
fn give_up_on(interface: &str, error: &ProgramError) -> Result<(), ProgramFailure> {
    match errno(error) {
        Some(libc::EPERM | libc::EACCES) => Err(ProgramFailure::NoPermission),
        Some(libc::EBUSY | libc::EEXIST) => Err(ProgramFailure::Occupied { interface: interface.to_owned() }),
        _ => Ok(()),
    }
}

fn draw_secret() -> io::Result<HashSecret> {
    let mut bytes = [0u8; size_of::<HashSecret>()];
    sys::random(&mut bytes)?;
    let word = |n: usize| u64::from_ne_bytes(std::array::from_fn(|i| bytes[n * 8 + i]));
    Ok(HashSecret::new(std::array::from_fn(word)))
}

fn load_failure(error: EbpfError) -> ProgramFailure {
    let permission = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .any(|error| error.raw_os_error() == Some(libc::EPERM));
    if permission {
        ProgramFailure::NoPermission
    } else {
        ProgramFailure::Load { kernel: kernel_release(), error: Box::new(error) }
    }
}

fn is_permission(error: &ProgramError) -> bool {
    errno(error) == Some(libc::EPERM)
}

fn errno(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::SyscallError(SyscallError { io_error, .. })
        | ProgramError::LoadError { io_error, .. } => io_error.raw_os_error(),
        _ => None,
    }
}

fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or("unknown".to_owned(), |text| text.trim().to_owned())
}
