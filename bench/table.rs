//! The figures as a table.

use std::fmt::Write;
use std::time::Duration;

use super::load::Measured;

/// Which way the calls went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Path {
    /// To the server.
    Direct,
    /// Through a gateway whose commits survive its end.
    Process,
    /// The same with a database that holds years of use.
    Filled,
    /// Through a gateway whose commits survive a loss of power.
    Power,
}

/// Everything measured at one number of connections.
#[derive(Debug)]
pub(super) struct Row {
    connections: usize,
    cells: Vec<(Path, Measured)>,
}

impl Row {
    /// Nothing yet.
    pub(super) fn new(connections: usize) -> Self {
        Self {
            connections,
            cells: Vec::new(),
        }
    }

    /// One more measurement.
    pub(super) fn add(&mut self, path: Path, measured: Measured) {
        self.cells.push((path, measured));
    }

    fn median(&self, path: Path, figure: impl Fn(&Measured) -> f64) -> f64 {
        let of_path = self.cells.iter().filter(|(cell, _)| *cell == path);
        let mut figures: Vec<f64> = of_path.map(|(_, measured)| figure(measured)).collect();
        figures.sort_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

/// The whole table.
pub(super) fn render(rows: &[Row]) -> String {
    let mut text = String::from(
        "tools/call, audit and two budgets on; medians\n\n\
         connections  way       calls/s  of direct    p50 us    p99 us  added p50  cpu us/call\n",
    );
    for row in rows {
        for (path, name) in [
            (Path::Direct, "direct"),
            (Path::Process, "process"),
            (Path::Filled, "filled"),
            (Path::Power, "power"),
        ] {
            if !row.cells.iter().any(|(cell, _)| *cell == path) {
                continue;
            }
            line(&mut text, row, path, name);
        }
    }
    text
}

// Writing to a String cannot fail.
fn line(text: &mut String, row: &Row, path: Path, name: &str) {
    let rate = row.median(path, |measured| measured.rate);
    let share = rate / row.median(Path::Direct, |measured| measured.rate) * 100.0;
    let p50 = row.median(path, |measured| micros(measured.p50));
    let p99 = row.median(path, |measured| micros(measured.p99));
    let added = p50 - row.median(Path::Direct, |measured| micros(measured.p50));
    let _ = write!(
        text,
        "{:>11}  {name:<8}{rate:>9.0}{share:>10.1} %{p50:>10.0}{p99:>10.0}",
        row.connections
    );
    if path != Path::Direct {
        let cpu = row.median(path, cpu_of_call);
        let _ = write!(text, "{added:>11.0}{cpu:>13.1}");
    }
    text.push('\n');
}

fn cpu_of_call(measured: &Measured) -> f64 {
    let cpu = measured.cpu.map_or(f64::NAN, micros);
    cpu / u32::try_from(measured.calls).map_or(f64::NAN, f64::from)
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
