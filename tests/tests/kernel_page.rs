//! The live page in a real browser, beside a real sensor that sees a real torrent client.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use sensor_tests::{
    browser::Browser,
    browsing,
    client::Client,
    require_root,
    sensor::{self, Sensor},
    swarm,
    topology::{BROWSER, CLIENT, MIRROR, Office},
};

const PATIENCE: Duration = Duration::from_secs(30);
const CONFIG: &str = "
interval: 2s
allow:
  - {source: 10.77.0.20, ports: [443], kind: scan, reason: our reader}
";
/// Whether events come.
const LIVE: &str = "return document.querySelector('#connection').className === 'live'";

#[test]
fn the_page_says_who_since_when_how_sure_and_why_and_is_live() -> Result<()> {
    require_root()?;
    let office = Office::new()?;
    let _web = browsing::serve(&office.internet)?;
    let _swarm = swarm::start(&office.internet)?;
    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    let config = directory.path().join("flow-sensor.yml");
    fs::write(&config, CONFIG).with_context(|| format!("cannot write {}", config.display()))?;
    let config = config.to_str().context("a temporary path must be text")?;
    let sensor = Sensor::start(&office.sensor, &["--interface", MIRROR, "--config", config])?;
    let _reader = browsing::browse(&office.browser)?;
    let browser = Browser::start(&office.sensor)?;
    browser.open(&format!("http://{}/", sensor::ADDRESS))?;

    browser.wait_for("live page", PATIENCE, LIVE)?;
    let seen = "return document.querySelector('.budget').innerText";
    let before = browser.run(seen)?;
    ensure!(before.as_str().is_some_and(|text| text.contains("every frame accounted for")), "{before}");
    browser.wait_for(
        "update",
        PATIENCE,
        &format!("return document.querySelector('.budget').innerText !== {before}"),
    )?;
    let row = format!("return document.querySelector('#sources').innerText.includes('{BROWSER}')");
    browser.wait_for("row of the browsing machine", PATIENCE, &row)?;
    let verdict = browser.run("return document.querySelector('#verdict').innerText")?;
    ensure!(verdict.as_str().is_some_and(|text| text.starts_with("Nothing unusual")), "{verdict}");

    let _client = Client::Aria2.start(&office.client, directory.path())?;
    names_the_client(&browser)?;
    shows_the_client(&browser)?;
    let allowed = "const details = document.querySelector('#allowed details');
         details.open = true;
         return /our reader\\s+10.77.0.20\\/32 to any, port 443, scan only\\s+[1-9]/.test(details.innerText)";
    browser.wait_for("entry of allow with its contacts", PATIENCE, allowed)?;
    // The longest row there is: what a machine is taken for stands beside it.
    let role = "return document.querySelector('#sources .role')?.innerText === 'browser'";
    browser.wait_for("role of the browsing machine", Duration::from_mins(2), role)?;
    fits(&browser)?;

    let console = browser.console()?;
    ensure!(console.is_empty(), "the console got {console:#?}");
    let foreign = "return performance.getEntriesByType('resource').map(r => r.name).filter(n => !n.startsWith(location.origin))";
    let foreign = browser.run(foreign)?;
    ensure!(foreign.as_array().is_some_and(Vec::is_empty), "asked others: {foreign}");

    ensure!(sensor.stop()?.status.success(), "the sensor must end well");
    browser.wait_for(
        "word that this is the past",
        PATIENCE,
        "return document.body.classList.contains('past')",
    )
}

/// Who, since when, how sure, why.
fn names_the_client(browser: &Browser<'_>) -> Result<()> {
    let sentence = format!(
        "const text = document.querySelector('#verdict').innerText;
         return text.startsWith('{CLIENT} behaves like a torrent client since ') && /sure|likely/.test(text)"
    );
    browser.wait_for("verdict", PATIENCE, &sentence)?;
    let card = browser.run("return document.querySelector('#active').innerText")?;
    let card = card.as_str().unwrap_or_default();
    for part in ["BitTorrent-like", "score 0.", "of the frames seen", "Next:"] {
        ensure!(card.contains(part), "no {part:?} in {card:?}");
    }
    browser.run("document.querySelector('#active details').open = true")?;
    let evidence = browser.run("return document.querySelector('.evidence').innerText")?;
    ensure!(evidence.as_str().is_some_and(|text| text.contains("conditions")), "{evidence}");
    Ok(())
}

/// A click on the machine leads to its timeline, its peers and its ports; what was unfolded stays so.
fn shows_the_client(browser: &Browser<'_>) -> Result<()> {
    browser.run(&format!("document.querySelector('#sources a[href=\"#{CLIENT}\"]').click()"))?;
    let shown = format!(
        "const panel = document.querySelector('#detail');
         const rows = panel.querySelectorAll('tbody tr').length;
         return !panel.hidden && panel.innerText.startsWith('{CLIENT}') && rows >= 10 &&
           panel.querySelector('svg.timeline path.line') !== null && panel.innerText.includes('Top peers')"
    );
    browser.wait_for("detail of the client", PATIENCE, &shown)?;
    let text = browser.run("return document.querySelector('#detail').innerText")?;
    let wrong = ["undefined", "NaN", "[object"];
    ensure!(text.as_str().is_some_and(|text| wrong.iter().all(|word| !text.contains(word))), "{text}");
    let time = browser.run("return document.querySelector('#connection').innerText")?;
    browser.wait_for(
        "next event",
        PATIENCE,
        &format!("return document.querySelector('#connection').innerText !== {time}"),
    )?;
    ensure!(browser.run("return document.querySelector('#active details').open")? == true, "folded again");
    Ok(())
}

/// No scrolling sideways on a phone, and a dark page for those who want one.
fn fits(browser: &Browser<'_>) -> Result<()> {
    let mut backgrounds = Vec::new();
    for (width, scheme) in [(1280, "light"), (1280, "dark"), (400, "light"), (400, "dark")] {
        browser.resize(width, scheme)?;
        let overflow = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
        browser
            .wait_for(
                "page of the right width",
                PATIENCE,
                &format!("return innerWidth === {width} && (() => {{ {overflow} }})() <= 0"),
            )
            .with_context(|| format!("{width} px, {scheme}"))?;
        save_picture(browser, &format!("{width}-{scheme}"))?;
        backgrounds.push(browser.run("return getComputedStyle(document.body).backgroundColor")?);
    }
    ensure!(backgrounds[0] != backgrounds[1] && backgrounds[1] == backgrounds[3], "{backgrounds:?}");
    Ok(())
}

/// Keeps what the page looks like where the environment names a directory for it: pictures are for people to
/// look at.
fn save_picture(browser: &Browser<'_>, name: &str) -> Result<()> {
    let Some(directory) = std::env::var_os("SENSOR_TEST_PICTURES") else { return Ok(()) };
    let path = std::path::Path::new(&directory).join(format!("page-{name}.png"));
    fs::write(&path, browser.picture()?).with_context(|| format!("cannot write {}", path.display()))
}
