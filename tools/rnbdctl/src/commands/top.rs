// SPDX-License-Identifier: GPL-2.0-only

//! How busy devices and paths are: on a terminal until the user quits, or as text or JSON.

use std::{
    io::{
        self,
        IsTerminal,
        Write, //
    },
    thread,
    time::Instant, //
};

use crate::{
    cli::Top,
    failure::{
        Exit,
        Failure,
        Result, //
    },
    output::{
        self,
        Screen,
        Wish, //
    },
    rates::Sample,
    system::System, //
};

use super::list;

/// Shows the activity.
pub(super) fn top(system: &System, options: &Top, json: bool) -> Result<String> {
    let times = if options.once { Some(1) } else { options.batch };

    if times.is_none() && !json && io::stdout().is_terminal() {
        interactive(system, options).map_err(|e| {
            Failure::new(Exit::Failed, format!("cannot use the terminal: {e}"))
                .advise("`rnbdctl top --once` prints text")
        })?;
    } else {
        print(system, options, times, json)?;
    }
    Ok(String::new())
}

fn interactive(system: &System, options: &Top) -> io::Result<()> {
    let mut screen = Screen::new()?;
    let start = Instant::now();
    let mut last: Option<Sample> = None;

    loop {
        let sample = Sample::take(system, start.elapsed());

        if screen.show(&sample.since(last.as_ref()), options.interval)? == Wish::Quit {
            return Ok(());
        }
        last = Some(sample);
    }
}

/// Prints the activity so many times, or until the reader goes away.
fn print(system: &System, options: &Top, times: Option<u64>, json: bool) -> Result<()> {
    if !json {
        list::need_driver(system)?;
    }
    let start = Instant::now();
    let mut last = Sample::take(system, start.elapsed());
    let mut printed = 0;

    while times.is_none_or(|times| printed < times) {
        thread::sleep(options.interval);
        let sample = Sample::take(system, start.elapsed());
        let activity = sample.since(Some(&last));
        let text = if json {
            output::json_line(&activity)?
        } else {
            let gap = if printed == 0 { "" } else { "\n" };

            format!("{gap}{}", output::activity(&activity))
        };
        let mut out = io::stdout().lock();

        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(e) => {
                let message = format!("cannot write the output: {e}");

                return Err(Failure::new(Exit::Failed, message));
            }
            Ok(()) => {}
        }
        last = sample;
        printed += 1;
    }
    Ok(())
}
