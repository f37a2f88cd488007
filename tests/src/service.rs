//! Servers and users that live in a namespace for as long as somebody holds on to them.

use std::{future::Future, sync::mpsc, thread::JoinHandle};

use anyhow::{Context, Result};
use tokio::{runtime, sync::oneshot};

use crate::netns::Namespace;

/// Tasks on a thread inside a namespace; they end when this is dropped.
#[derive(Debug)]
pub struct Service {
    stop: Option<oneshot::Sender<()>>,
    worker: Option<JoinHandle<Result<()>>>,
}

impl Service {
    /// Awaits `set_up` inside `namespace`, and lets the tasks that it [`detach`]ed run on.
    pub fn start<F>(namespace: &Namespace, set_up: impl FnOnce() -> F + Send + 'static) -> Result<Self>
    where
        F: Future<Output = Result<()>>,
    {
        let (stop, stopped) = oneshot::channel();
        let (report, reported) = mpsc::channel();
        let worker = namespace.thread(move || {
            let runtime =
                runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
            runtime.block_on(async {
                let outcome = set_up().await;
                let running = outcome.is_ok();
                report.send(outcome).context("nobody waits for the service")?;
                if running {
                    // Either the handle is dropped or the process ends; both mean the same.
                    let _ = stopped.await;
                }
                Ok(())
            })
        })?;
        reported.recv().context("the service ended before it was ready")??;
        Ok(Self { stop: Some(stop), worker: Some(worker) })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.stop.take());
        // What could fail has failed before it was ready.
        let _ = self.worker.take().map(JoinHandle::join);
    }
}

/// Lets `task` run to its end or to the end of its service. That a stranger broke off a conversation is
/// not the service's trouble, so what the task ends with is not looked at.
pub fn detach<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) {
    drop(tokio::spawn(task));
}
