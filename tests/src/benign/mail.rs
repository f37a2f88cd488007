//! A mail server that delivers to many others (curl speaks SMTP), one in sixteen of which is gone.

use std::{fs, net::Ipv4Addr, process::Command, time::Duration};

use anyhow::{Context, Result};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use super::{Repeat, chance, home};
use crate::{
    netns::Namespace,
    service::{Service, detach},
    topology::SILENT,
};

const PORT: u16 = 25;
/// Between two mails.
const PAUSE: Duration = Duration::from_millis(1200);

/// Starts the others (RFC 5321).
pub fn serve(internet: &Namespace) -> Result<Service> {
    Service::start(internet, || async {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await.context("cannot bind")?;
        detach(async move {
            while let Ok((stream, _)) = listener.accept().await {
                detach(take(stream));
            }
        });
        Ok(())
    })
}

async fn take(stream: TcpStream) -> Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 mx.example ESMTP\r\n").await?;
    let (mut line, mut in_mail) = (String::new(), false);
    while stream.read_line(&mut line).await? > 0 {
        let answer: &[u8] = match (in_mail, line.trim_end()) {
            (true, ".") => {
                in_mail = false;
                b"250 accepted\r\n"
            }
            (true, _) => b"",
            (false, "DATA") => {
                in_mail = true;
                b"354 go ahead\r\n"
            }
            (false, "QUIT") => {
                stream.write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            (false, _) => b"250 mx.example\r\n",
        };
        stream.write_all(answer).await?;
        line.clear();
    }
    Ok(())
}

/// Starts the delivery.
pub fn deliver(server: &Namespace) -> Result<Repeat> {
    let directory = TempDir::new().context("cannot make a temporary directory")?;
    let mail = directory.path().join("mail");
    fs::write(&mail, "Subject: news\r\n\r\nnothing\r\n".repeat(40)).context("cannot write a mail")?;
    Repeat::start(server, PAUSE, move |round| {
        // It lives as long as the delivery does.
        let mail = directory.path().join("mail");
        let to = match chance(round, 25) % 16 {
            0 => Ipv4Addr::new(SILENT[1], 1, 1, 1),
            _ => home(chance(round, 26) % 4000, 25),
        };
        let mut command = Command::new("curl");
        command.args(["--silent", "--max-time", "5", "--mail-from", "us@example.org"]);
        command.args(["--mail-rcpt", "them@example.com"]).arg(format!("smtp://{to}:{PORT}"));
        command.arg("--upload-file").arg(mail);
        command
    })
}
