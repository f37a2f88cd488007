//! What is known of the captures: `labels.csv`.

use std::{collections::HashSet, path::Path};

use anyhow::{Context, Result, bail};

/// What a host does in a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Label {
    /// Ten and more BitTorrent peers.
    Torrent,
    /// BitTorrent, but too few peers for a verdict on fan-out.
    TorrentSmall,
    /// Gnutella, Skype and the like: neither hit nor false alarm.
    OtherP2p,
    /// A scanner.
    Scan,
    /// Malware that is not labelled a scanner; any alert but `torrent` may be right.
    Malware,
    /// Nothing to be named.
    Benign,
}

impl Label {
    /// Every label.
    pub const ALL: [Self; 6] =
        [Self::Torrent, Self::TorrentSmall, Self::OtherP2p, Self::Scan, Self::Malware, Self::Benign];

    /// The name in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Torrent => "torrent",
            Self::TorrentSmall => "torrent-small",
            Self::OtherP2p => "other-p2p",
            Self::Scan => "scan",
            Self::Malware => "malware",
            Self::Benign => "benign",
        }
    }
}

/// One capture.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    pub file: String,
    label: Label,
    /// The hosts that the label speaks of; none means all.
    hosts: HashSet<String>,
    /// The local networks; none means the private ones.
    pub networks: Vec<String>,
}

impl Row {
    /// The label of one local host of the capture.
    pub fn label_of(&self, host: &str) -> Label {
        if self.hosts.is_empty() || self.hosts.contains(host) { self.label } else { Label::Benign }
    }
}

/// Reads the labels of a folder.
pub fn read(path: &Path) -> Result<Vec<Row>> {
    let mut reader =
        csv::Reader::from_path(path).with_context(|| format!("cannot read the labels {}", path.display()))?;
    let headers = reader.headers()?.clone();
    let column = |name: &str| {
        let found = headers.iter().position(|header| header == name);
        found.with_context(|| format!("{} has no column {name}", path.display()))
    };
    let (file, label, hosts) = (column("file")?, column("label")?, column("hosts")?);
    let networks = headers.iter().position(|header| header == "networks");
    reader
        .records()
        .map(|record| {
            let record = record.with_context(|| format!("cannot read the labels {}", path.display()))?;
            let name = &record[label];
            let Some(label) = Label::ALL.into_iter().find(|label| label.name() == name) else {
                bail!("{}: {name} is no label of {}", path.display(), Label::ALL.map(Label::name).join(", "));
            };
            let networks = networks.and_then(|column| record.get(column)).unwrap_or_default();
            Ok(Row {
                file: record[file].to_owned(),
                label,
                hosts: words(&record[hosts]).collect(),
                networks: words(networks).collect(),
            })
        })
        .collect()
}

fn words(list: &str) -> impl Iterator<Item = String> + '_ {
    list.split([' ', ';', ',']).filter(|word| !word.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_speaks_of_its_hosts_and_the_others_are_benign() {
        let directory = std::env::temp_dir().join(format!("flow-sensor-labels-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("labels.csv");
        std::fs::write(
            &path,
            "file,label,hosts,networks,notes\na.pcap,torrent,10.0.0.5,10.0.0.0/8 fd00::/8,\"one, two\"\nb.pcap,scan,,,\n",
        )
        .unwrap();
        let rows = read(&path).unwrap();
        assert_eq!(
            (rows[0].label_of("10.0.0.5"), rows[0].label_of("10.0.0.6")),
            (Label::Torrent, Label::Benign)
        );
        assert_eq!(rows[1].label_of("10.0.0.6"), Label::Scan);
        assert_eq!(rows[0].networks, ["10.0.0.0/8", "fd00::/8"]);
        assert!(rows[1].networks.is_empty());
        std::fs::remove_dir_all(directory).unwrap();
    }
}
