// SPDX-License-Identifier: GPL-2.0-only

//! Histograms of latency, drawn.

use std::io;

use crate::{
    cli::{
        Latency,
        Switch, //
    },
    explain::Attempt,
    failure::{
        Exit,
        Failure,
        Result, //
    },
    model::{
        Bucket,
        Histogram,
        Histograms, //
    },
    output,
    system::System, //
};

use super::{
    find,
    path, //
};

/// Columns of the longest bar.
const WIDTH: u64 = 40;

/// Draws the histograms of a device, or switches counting.
pub(super) fn latency(system: &System, options: &Latency, json: bool) -> Result<String> {
    let file = file(system, &options.device)?;

    if let Some(switch) = options.switch {
        let (word, verb) = match switch {
            Switch::On => ("on", "start"),
            Switch::Off => ("off", "stop"),
        };
        let what = format!("cannot {verb} counting requests of {}", options.device);

        return path::write(system, &file, word, Attempt::Write, &what);
    }
    let text = system
        .read(&file)
        .map_err(|e| unreadable(&options.device, &file, &e))?;
    let histograms = Histograms::parse(&text)
        .ok_or_else(|| Failure::new(Exit::Failed, format!("cannot understand {file}")))?;

    if json {
        return output::json([("on", &histograms.on), ("histograms", &histograms.columns)]);
    }
    Ok(draw(&options.device, &histograms))
}

/// Returns the file of a mapped device, or of an exported one as `<device>@<session>`.
fn file(system: &System, text: &str) -> Result<String> {
    let exported = format!("/sys/kernel/debug/rnbd_server/{text}");

    if !text.contains('/') && text.contains('@') && system.exists(&exported) {
        return Ok(exported);
    }
    let device = find::device(system, text)?;

    Ok(format!("/sys/kernel/debug/rnbd_client/{}", device.name))
}

fn unreadable(device: &str, file: &str, error: &io::Error) -> Failure {
    let failure = Failure::new(
        Exit::NoDriver,
        format!("cannot read the latency of {device}: {error}"),
    );

    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            let failure = Failure {
                exit: Exit::Denied,
                ..failure
            };

            failure.advise("run rnbdctl as root")
        }
        _ => failure.advise(format!(
            "{file} needs `mount -t debugfs debugfs /sys/kernel/debug`; the C drivers lack it"
        )),
    }
}

fn draw(device: &str, histograms: &Histograms) -> String {
    let used = histograms.columns.iter().filter(|it| it.total() != 0);
    let mut text: String = used.map(draw_one).collect::<Vec<_>>().join("\n");

    if text.is_empty() {
        text = "no request was counted\n".into();
    }
    if !histograms.on {
        text += &format!("counting is off: `rnbdctl latency {device} on`\n");
    }
    text
}

fn draw_one(histogram: &Histogram) -> String {
    let limit = |bucket: Bucket| {
        let below = bucket.below_ns.map(output::duration);

        below.map_or_else(|| "longer".into(), |limit| format!("< {limit}"))
    };
    let percentile = |percent| histogram.percentile(percent).map(limit).unwrap_or_default();
    let most = histogram
        .buckets
        .iter()
        .map(|it| it.count)
        .max()
        .unwrap_or(0)
        .max(1);
    let is_used = |bucket: &Bucket| bucket.count != 0;
    let first = histogram.buckets.iter().position(is_used).unwrap_or(0);
    let last = histogram.buckets.iter().rposition(is_used).unwrap_or(0);
    let rows = histogram
        .buckets
        .get(first..=last)
        .unwrap_or_default()
        .iter();
    let rows = rows.map(|bucket| {
        let length = bucket.count.saturating_mul(WIDTH).div_ceil(most);
        let bar = "#".repeat(usize::try_from(length).unwrap_or(0));

        [limit(*bucket), bucket.count.to_string(), bar]
    });

    format!(
        "{}: {} requests, half {}, 99 % {}\n{}",
        histogram.name.replace('_', ", "),
        histogram.total(),
        percentile(50),
        percentile(99),
        output::table(["TIME", "REQUESTS", ""], rows.collect())
    )
}
