//! What the sensor says of a real mirror that is wrong, and when it is mended.

use std::time::Duration;

use anyhow::{Result, ensure};
use sensor_tests::{
    browsing,
    process::wait_for,
    require_root,
    sensor::Sensor,
    topology::{MIRROR, Office},
};

/// A judgement every 30 s, where somebody who browses has been to ten places by then.
const TO_VERDICT: Duration = Duration::from_secs(100);

#[test]
fn a_mirror_of_one_direction_is_called_so_until_it_is_mended() -> Result<()> {
    require_root()?;
    let office = Office::new()?;
    // Left is what leaves the uplink: what the office sends.
    let hook = "filter {} dev uplink ingress protocol all pref 49152 u32";
    office.switch.run(&format!("tc {}", hook.replace("{}", "delete")))?;
    let _web = browsing::serve(&office.internet)?;
    let _reader = browsing::browse(&office.browser)?;
    let sensor = Sensor::start(&office.sensor, &["--interface", MIRROR])?;
    let problem = |name: &str| {
        Ok::<_, anyhow::Error>(sensor.metrics()?.sum("flowsensor_mirror_problem", &[("problem", name)]))
    };
    wait_for("diagnosis", TO_VERDICT, || {
        ensure!(problem("one_way")? > 0.0, "{}", sensor.log()?);
        Ok(())
    })?;
    for other in
        ["silent", "partly_one_way", "missing_frames", "duplicated_frames", "joined_frames", "transit"]
    {
        ensure!(problem(other)? == 0.0, "{other}: {}", sensor.log()?);
    }
    ensure!(
        sensor.log()?.contains("mirror both directions"),
        "the log must name the remedy: {}",
        sensor.log()?
    );

    let mirror = "match u32 0 0 action mirred egress mirror dev span";
    office.switch.run(&format!("tc {} {mirror}", hook.replace("{}", "add")))?;
    wait_for("end of the diagnosis", TO_VERDICT, || {
        ensure!(problem("one_way")? + problem("partly_one_way")? == 0.0, "{}", sensor.log()?);
        Ok(())
    })?;
    ensure!(sensor.stop()?.status.success());
    Ok(())
}
