//! The page's files, as the browser gets them.

/// A file of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asset {
    /// Its path.
    pub path: &'static str,
    /// What it is.
    pub content_type: &'static str,
    /// The file.
    pub body: &'static str,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The page itself, at `/`.
pub const INDEX: Asset =
    Asset { path: "/", content_type: "text/html; charset=utf-8", body: include_str!("assets/index.html") };

/// What it is made of.
pub const ASSETS: [Asset; 6] = [
    Asset {
        path: "/assets/page.css",
        content_type: "text/css; charset=utf-8",
        body: include_str!("assets/page.css"),
    },
    Asset { path: "/assets/page.js", content_type: SCRIPT, body: include_str!("assets/page.js") },
    Asset { path: "/assets/text.js", content_type: SCRIPT, body: include_str!("assets/text.js") },
    Asset { path: "/assets/chart.js", content_type: SCRIPT, body: include_str!("assets/chart.js") },
    Asset { path: "/assets/source.js", content_type: SCRIPT, body: include_str!("assets/source.js") },
    Asset { path: "/assets/icon.svg", content_type: "image/svg+xml", body: include_str!("assets/icon.svg") },
];

/// The file at `path`.
#[must_use]
pub fn find(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}
