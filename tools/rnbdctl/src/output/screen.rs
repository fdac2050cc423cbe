// SPDX-License-Identifier: GPL-2.0-only

//! How busy devices and paths are, on a terminal.

use std::{
    io,
    sync::{
        atomic::{
            AtomicBool,
            Ordering, //
        },
        Arc, //
    },
    time::{
        Duration,
        Instant, //
    }, //
};

use ratatui::{
    crossterm::event::{
        self,
        Event,
        KeyCode,
        KeyEvent,
        KeyEventKind,
        KeyModifiers, //
    },
    layout::{
        Constraint,
        Layout, //
    },
    style::Stylize,
    text::Line,
    widgets::{
        Row,
        Table, //
    },
    DefaultTerminal,
    Frame, //
};
use signal_hook::consts::{
    SIGHUP,
    SIGINT,
    SIGTERM, //
};

use crate::rates::Activity;

use super::activity;

/// How often signals are looked at.
const POLL: Duration = Duration::from_millis(200);

/// Space between two columns.
const SPACE: u16 = 2;

/// What the user wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Another sample: the interval is over.
    Sample,
    /// To leave.
    Quit,
}

/// A terminal that shows an activity. Dropping it, and a panic, restore the terminal.
#[derive(Debug)]
pub(crate) struct Screen {
    terminal: DefaultTerminal,
    /// A signal has asked the program to end.
    ended: Arc<AtomicBool>,
    /// How many rows of each table are scrolled away.
    offset: usize,
}

impl Screen {
    /// Takes the terminal.
    pub(crate) fn new() -> io::Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));

        for signal in [SIGHUP, SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, ended.clone())?;
        }
        Ok(Self {
            terminal: ratatui::try_init()?,
            ended,
            offset: 0,
        })
    }

    /// Shows an activity until the interval is over or the user wants to leave.
    pub(crate) fn show(&mut self, activity: &Activity, interval: Duration) -> io::Result<Wish> {
        let end = Instant::now() + interval;

        self.draw(activity, interval)?;
        loop {
            let left = end.saturating_duration_since(Instant::now());

            if self.ended.load(Ordering::Relaxed) {
                return Ok(Wish::Quit);
            }
            if left.is_zero() {
                return Ok(Wish::Sample);
            }
            if event::poll(left.min(POLL))? {
                let rows = activity.devices.len().max(activity.paths.len());

                match event::read()? {
                    Event::Key(key) if quits(key) => return Ok(Wish::Quit),
                    Event::Key(key) => self.offset = scroll(key.code, self.offset, rows),
                    _ => {}
                }
                self.draw(activity, interval)?;
            }
        }
    }

    fn draw(&mut self, activity: &Activity, interval: Duration) -> io::Result<()> {
        let offset = self.offset;

        self.terminal
            .draw(|frame| draw(frame, activity, interval, offset))?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Returns whether a key ends the program.
fn quits(key: KeyEvent) -> bool {
    let interrupt = key.code == KeyCode::Char('c') && key.modifiers == KeyModifiers::CONTROL;

    key.kind != KeyEventKind::Release
        && (interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}

/// Returns the number of rows that are scrolled away after a key.
fn scroll(key: KeyCode, offset: usize, rows: usize) -> usize {
    let offset = match key {
        KeyCode::Down | KeyCode::Char('j') => offset.saturating_add(1),
        KeyCode::Up | KeyCode::Char('k') => offset.saturating_sub(1),
        KeyCode::Home => 0,
        _ => offset,
    };

    offset.min(rows.saturating_sub(1))
}

/// Draws both tables.
fn draw(frame: &mut Frame<'_>, activity: &Activity, interval: Duration, offset: usize) {
    let lines = |rows: usize| u16::try_from(rows.saturating_add(2)).unwrap_or(u16::MAX);
    let [head, devices, paths] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Max(lines(activity.devices.len())),
        Constraint::Min(0),
    ])
    .areas(frame.area());
    let seconds = interval.as_secs_f64();

    frame.render_widget(
        Line::from(format!(
            "rnbdctl top: every {seconds} s; q quits, arrows scroll"
        )),
        head,
    );
    frame.render_widget(
        table(
            activity::DEVICE,
            activity.devices.iter().map(activity::device).collect(),
            offset,
            devices.width,
        ),
        devices,
    );
    frame.render_widget(
        table(
            activity::PATH,
            activity.paths.iter().map(activity::path).collect(),
            offset,
            paths.width,
        ),
        paths,
    );
}

/// Makes a table whose columns are as wide as their cells. On a narrow terminal the last ones are
/// left out.
fn table<const N: usize>(
    heading: [&'static str; N],
    rows: Vec<[String; N]>,
    offset: usize,
    width: u16,
) -> Table<'static> {
    let widths = heading.iter().enumerate().map(|(column, title)| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);

        u16::try_from(widest.max(title.len())).unwrap_or(u16::MAX)
    });
    let mut end = 0u16;
    let fitting = widths.take_while(|column| {
        let fits = end.saturating_add(*column) <= width;

        end = end.saturating_add(*column).saturating_add(SPACE);
        fits
    });
    let widths: Vec<Constraint> = fitting.map(Constraint::Length).collect();
    let offset = offset.min(rows.len().saturating_sub(1));

    Table::new(rows.into_iter().skip(offset).map(Row::new), widths)
        .header(Row::new(heading).bold())
        .column_spacing(SPACE)
}

#[cfg(test)]
mod tests {
    use ratatui::{
        backend::TestBackend,
        Terminal, //
    };

    use super::*;
    use crate::{
        model::Side,
        rates::{
            DeviceActivity,
            PathActivity,
            Rates, //
        }, //
    };

    fn activity() -> Activity {
        let rates = Rates {
            reads_per_s: Some(1234.4),
            read_bytes_per_s: Some(1_048_576.0),
            writes_per_s: Some(0.0),
            written_bytes_per_s: None,
        };
        let device = |name: &str| DeviceActivity {
            side: Side::Client,
            name: name.into(),
            sessions: vec!["s1".into()],
            state: Some("open".into()),
            rates,
            read_ns: Some(12_345),
            write_ns: None,
            in_flight: Some(3),
        };

        Activity {
            seconds: Some(1.0),
            devices: vec![device("rnbd0"), device("rnbd1")],
            paths: vec![PathActivity {
                side: Side::Server,
                session: "s2".into(),
                name: "ip:10.0.0.1@ip:10.0.0.2".into(),
                state: None,
                rates: Rates::default(),
                latency_ns: None,
                in_flight: None,
            }],
        }
    }

    fn screen(width: u16, height: u16, offset: usize) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");

        terminal
            .draw(|frame| draw(frame, &activity(), Duration::from_secs(2), offset))
            .expect("a view");
        let buffer = terminal.backend().buffer();
        let cells: Vec<&str> = buffer.content().iter().map(|cell| cell.symbol()).collect();

        cells
            .chunks(usize::from(width))
            .map(|line| line.concat().trim_end().to_owned())
            .collect()
    }

    #[test]
    fn the_view_has_both_tables() {
        assert_eq!(
            screen(110, 9, 0),
            [
                "rnbdctl top: every 2 s; q quits, arrows scroll",
                "",
                "DEVICE  SIDE    SESSION  STATE  READS/S  WRITES/S  READ/S  WRITTEN/S  READ TIME  \
                 WRITE TIME  IN FLIGHT",
                "rnbd0   client  s1       open   1234     0         1 MiB   -          12.3 us    \
                 -           3",
                "rnbd1   client  s1       open   1234     0         1 MiB   -          12.3 us    \
                 -           3",
                "",
                "PATH                     SIDE    SESSION  STATE  READS/S  WRITES/S  READ/S  \
                 WRITTEN/S  LATENCY  IN FLIGHT",
                "ip:10.0.0.1@ip:10.0.0.2  server  s2       -      -        -         -       \
                 -          -        -",
                "",
            ]
        );
    }

    #[test]
    fn a_small_terminal_shows_what_fits() {
        assert_eq!(screen(20, 4, 0)[2..], ["DEVICE  SIDE", "rnbd0   client"]);
        assert!(screen(110, 9, 1)[3].starts_with("rnbd1"));
        // The table that is shorter keeps its last row.
        assert!(screen(110, 9, 1)[7].starts_with("ip:"));
        screen(1, 1, 9);
    }

    #[test]
    fn keys() {
        let key = |code, modifiers| KeyEvent::new(code, modifiers);

        assert!(quits(key(KeyCode::Char('q'), KeyModifiers::NONE)));
        assert!(quits(key(KeyCode::Char('c'), KeyModifiers::CONTROL)));
        assert!(!quits(key(KeyCode::Char('c'), KeyModifiers::NONE)));
        assert_eq!(scroll(KeyCode::Down, 0, 2), 1);
        assert_eq!(scroll(KeyCode::Down, 1, 2), 1);
        assert_eq!(scroll(KeyCode::Up, 0, 2), 0);
        assert_eq!(scroll(KeyCode::Home, 1, 2), 0);
        assert_eq!(scroll(KeyCode::Down, 0, 0), 0);
    }
}
