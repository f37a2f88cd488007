//! `run`: the live sensor.

use std::{sync::mpsc, thread, time::Duration};

use anyhow::Context as _;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

use crate::{
    agent::{Agent, Order},
    capture::live::Live,
    config::{Config, ConfigError, Reloadable},
    output::{
        alert_log::{AlertLog, Patience},
        http::{Hosts, Limits, Routes, Server},
        live_table::{LiveView, LogPane},
        notify::{self, Notifier},
        process::ProcessStatus,
        publish,
        snapshot::{Build, SnapshotBuilder},
    },
};

/// Drain periods without a drain after which the sensor calls itself unhealthy.
const STALLED_PERIODS: u32 = 5;

/// How long responses under way may take when the sensor stops.
const HTTP_STOP: Duration = Duration::from_secs(1);

/// How long the live view may take to give the terminal back.
const VIEW_STOP: Duration = Duration::from_secs(1);

/// Runs with the configuration that `read` gives until told to stop by SIGTERM or SIGINT; SIGHUP makes it
/// `read` again.
///
/// While a table holds the terminal, `log` keeps what is logged. Everything that can be refused without
/// touching a mirror port is tried first.
pub fn run(read: &dyn Fn() -> Result<Config, ConfigError>, log: LogPane) -> anyhow::Result<()> {
    let config = read()?;
    if config.interfaces.is_empty() {
        return Err(ConfigError::Invalid {
            key: "interfaces",
            value: "[]".to_owned(),
            problem: "names no mirror port: give one with --interface, or interfaces in the file".to_owned(),
        }
        .into());
    }
    let build = Build {
        version: env!("CARGO_PKG_VERSION"),
        revision: option_env!("FLOW_SENSOR_REVISION").unwrap_or("unknown"),
    };
    let builder = SnapshotBuilder::new(build, &config.interfaces, config.max_sources);
    let (publisher, reader) = publish::channel(builder.snapshot());
    let stalled_after = config.drain.saturating_mul(STALLED_PERIODS);
    let alert_log =
        config.alert_log.as_deref().map(|path| AlertLog::open(path, Patience::default())).transpose()?;
    let hosts = Hosts::of_this_machine(config.page_names.iter().cloned());
    let files = ProcessStatus::read().ok().and_then(|process| process.max_fds);
    let limits = Limits::default().within(files);
    let server = Server::start(config.listen, Routes::new(reader.clone(), stalled_after, hosts), limits)?;
    let page = format!("http://{}/", server.address());
    let notifier = Notifier::start(&config.notify, &page, notify::Patience::default())?;
    let live = Live::open(&config)?;
    tracing::info!("metrics and page on {page}");

    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting tokio")?;
    let view = LiveView::start(reader, log).context("starting the live view")?;
    let agent = Agent::new(&config, live, builder, publisher, alert_log, notifier);
    let outcome = runtime.block_on(supervise(agent, config, read));
    view.stop(VIEW_STOP);
    server.stop(HTTP_STOP);
    outcome
}

/// Runs the agent on a thread of its own until it ends or a signal asks for it.
async fn supervise(
    agent: Agent,
    mut config: Config,
    read: &dyn Fn() -> Result<Config, ConfigError>,
) -> anyhow::Result<()> {
    let (order, orders) = mpsc::channel();
    let (done, ended) = oneshot::channel();
    let mut terminate = signal(SignalKind::terminate()).context("watching for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("watching for SIGINT")?;
    let thread = thread::Builder::new().name("drain".to_owned()).spawn(move || {
        let outcome = agent.run(&orders);
        // Nobody waits for it after a signal.
        let _ = done.send(());
        outcome
    });
    let thread = thread.context("starting the drain thread")?;
    let mut hang_up = signal(SignalKind::hangup()).context("watching for SIGHUP")?;
    tokio::pin!(ended);
    // An agent that has ended by itself takes no orders.
    loop {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
            _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
            _ = hang_up.recv() => {
                let _ = order.send(Order::ReopenLog);
                let _ = order.send(reload(&mut config, read()));
                continue;
            }
            _ = &mut ended => {}
        }
        break;
    }
    let _ = order.send(Order::Stop);
    match thread.join() {
        Ok(outcome) => Ok(outcome?),
        Err(_) => anyhow::bail!("the drain thread panicked: its message is above"),
    }
}

/// What the agent is to do about a configuration that was read again; `config` is the one in effect.
fn reload(config: &mut Config, read: Result<Config, ConfigError>) -> Order {
    match read {
        Ok(new) => {
            let restart = config.settings_for_restart(&new);
            if !restart.is_empty() {
                tracing::warn!(
                    "SIGHUP: these settings take effect on a new start only: {}",
                    restart.join(", ")
                );
            }
            let reloadable = Reloadable::of(&new);
            let (allow, suppress) = (reloadable.allow.len(), reloadable.suppress.len());
            tracing::info!("SIGHUP: configuration loaded; {allow} entries of allow, {suppress} of suppress");
            reloadable.clone().put_into(config);
            Order::Reconfigure(reloadable)
        }
        Err(error) => {
            let error = anyhow::Error::from(error);
            tracing::error!("SIGHUP: the configuration stays as it was: {error:#}");
            Order::KeepConfiguration
        }
    }
}
