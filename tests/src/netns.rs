//! Network namespaces that nobody has to clean up.
//!
//! A namespace is held by a file descriptor only: it has no name that could collide or be left behind,
//! and the kernel takes it down, devices included, when the last descriptor and the last process in it
//! are gone, also after a crash.

use std::{
    fs,
    fs::File,
    io::Write,
    os::fd::AsRawFd,
    panic::resume_unwind,
    process::{Command, id},
    thread,
    thread::JoinHandle,
};

use anyhow::{Context, Result, bail};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
};

use crate::process::Process;

const QUEUES: &str = "numtxqueues 2 numrxqueues 2";

/// A network namespace.
#[derive(Debug)]
pub struct Namespace {
    name: &'static str,
    net: File,
}

impl Namespace {
    /// A new namespace with its loopback up, routing between its interfaces and without IPv6, whose
    /// neighbour discovery would be traffic that no test sent. `name` is for messages.
    pub fn new(name: &'static str) -> Result<Self> {
        // A thread of its own: unshare would take this one along.
        let net = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("unshare(CLONE_NEWNET)")?;
            File::open("/proc/thread-self/ns/net").context("cannot open /proc/thread-self/ns/net")
        });
        let net = net.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        let namespace = Self { name, net };
        namespace.sysctl("net/ipv6/conf/all/disable_ipv6", "1")?;
        namespace.sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
        namespace.sysctl("net/ipv4/conf/all/rp_filter", "0")?;
        namespace.sysctl("net/ipv4/conf/default/rp_filter", "0")?;
        namespace.sysctl("net/ipv4/ip_forward", "1")?;
        namespace.run("ip link set lo up")?;
        Ok(namespace)
    }

    /// Turns IPv6 on, without the search for duplicate addresses and without listening to routers.
    pub fn enable_ipv6(&self) -> Result<()> {
        for interfaces in ["all", "default"] {
            self.sysctl(&format!("net/ipv6/conf/{interfaces}/accept_dad"), "0")?;
            self.sysctl(&format!("net/ipv6/conf/{interfaces}/accept_ra"), "0")?;
            self.sysctl(&format!("net/ipv6/conf/{interfaces}/disable_ipv6"), "0")?;
        }
        Ok(())
    }

    /// What `new` was given.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Calls `task` on a thread inside the namespace; sockets and processes that it makes are in there.
    pub fn inside<T: Send>(&self, task: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                self.enter()?;
                task()
            });
            worker.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
        .with_context(|| format!("in namespace {}", self.name))
    }

    /// Another handle to the same namespace.
    pub fn handle(&self) -> Result<Self> {
        Ok(Self { name: self.name, net: self.net.try_clone().context("cannot copy a descriptor")? })
    }

    /// Starts a thread inside the namespace that lives on by itself.
    pub fn thread<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<JoinHandle<Result<T>>> {
        let own = self.handle()?;
        Ok(thread::spawn(move || {
            own.enter()?;
            task()
        }))
    }

    /// Moves the calling thread into the namespace, for good. For threads that live in there; `inside`
    /// serves short tasks.
    pub fn enter(&self) -> Result<()> {
        setns(&self.net, CloneFlags::CLONE_NEWNET).context("setns")?;
        // /sys shows the interfaces of the namespace that it was mounted in, so programs need a mount of
        // their own, which the rest of the machine must not see.
        unshare(CloneFlags::CLONE_NEWNS).context("unshare(CLONE_NEWNS)")?;
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
            .context("cannot make / private")?;
        mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), none).context("cannot mount /sys")
    }

    /// Runs a command line (words separated by spaces) and returns its standard output.
    pub fn run(&self, line: &str) -> Result<String> {
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().context("an empty command line")?);
        command.args(words);
        let output = self.inside(|| {
            command.output().with_context(|| format!("cannot run `{line}` (cargo xtask setup)"))
        })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("in namespace {}: `{line}`: {}: {}", self.name, output.status, said.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs many `ip` commands, given without the word `ip`, by one process.
    pub fn ip(&self, commands: &[String]) -> Result<()> {
        let mut file = tempfile::NamedTempFile::new().context("cannot make a temporary file")?;
        file.write_all(commands.join("\n").as_bytes()).context("cannot write a temporary file")?;
        self.run(&format!("ip -batch {}", file.path().display())).map(drop)
    }

    /// Starts a process that is killed when the returned handle is dropped.
    pub fn spawn(&self, command: &mut Command) -> Result<Process> {
        self.inside(|| Process::spawn(command))
    }

    /// Sets a kernel parameter of the namespace; `path` is relative to /proc/sys.
    pub fn sysctl(&self, path: &str, value: &str) -> Result<()> {
        let file = format!("/proc/sys/{path}");
        self.inside(|| fs::write(&file, value).with_context(|| format!("cannot write {value} to {file}")))
    }

    /// Joins this namespace to `other` by a cable whose ends are called `here` and `there`: both up, with
    /// frames as on a wire (no segmentation, checksum or VLAN tag left to a NIC that is not there) and two
    /// queues each, so that two CPUs can be at work on it.
    pub fn cable(&self, here: &str, other: &Self, there: &str) -> Result<()> {
        let end = format!("/proc/{}/fd/{}", id(), other.net.as_raw_fd());
        self.run(&format!("ip link add {here} {QUEUES} type veth peer name {there} {QUEUES} netns {end}"))?;
        for (namespace, interface) in [(self, here), (other, there)] {
            namespace.run(&format!(
                "ethtool -K {interface} tx off tso off gso off gro off rxvlan off txvlan off"
            ))?;
            namespace.run(&format!("ip link set {interface} up"))?;
        }
        Ok(())
    }

    /// A counter of an interface, by its name in /sys/class/net/…/statistics.
    pub fn counter(&self, interface: &str, name: &str) -> Result<u64> {
        let file = format!("/sys/class/net/{interface}/statistics/{name}");
        let text =
            self.inside(|| fs::read_to_string(&file).with_context(|| format!("cannot read {file}")))?;
        text.trim().parse().with_context(|| format!("{file} holds {text:?}"))
    }
}
