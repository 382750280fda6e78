//! Figures of one case as a table.

use std::fmt::Write;
use std::time::Duration;

use super::load::Measured;

/// Which way the calls went, or what was beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// To the server.
    Direct,
    /// Through a proxy that only passes bytes on.
    Nginx,
    /// Through a gateway whose commits survive its end.
    Process,
    /// The same with a database that holds years of use.
    Filled,
    /// Through a gateway whose commits survive a loss of power.
    Power,
    /// `Process` with a thousand agents in its file.
    Crowd,
    /// `Process` while others wait for a slow server.
    Beside,
}

impl Way {
    const ALL: [Self; 7] = [
        Self::Direct,
        Self::Nginx,
        Self::Process,
        Self::Filled,
        Self::Power,
        Self::Crowd,
        Self::Beside,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx",
            Self::Process => "process",
            Self::Filled => "filled",
            Self::Power => "power",
            Self::Crowd => "crowd",
            Self::Beside => "beside",
        }
    }
}

/// Everything measured at one number of connections.
#[derive(Debug)]
pub(super) struct Row {
    /// How many callers there were.
    pub(super) connections: usize,
    cells: Vec<(Way, Measured)>,
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
    pub(super) fn add(&mut self, way: Way, measured: Measured) {
        self.cells.push((way, measured));
    }

    /// Calls a second.
    pub(super) fn rate(&self, way: Way) -> Option<f64> {
        self.median(way, |measured| Some(measured.rate))
    }

    /// Half of the calls were answered in so many microseconds.
    pub(super) fn p50(&self, way: Way) -> Option<f64> {
        self.median(way, |measured| Some(micros(measured.p50)))
    }

    /// 99 of 100 were.
    pub(super) fn p99(&self, way: Way) -> Option<f64> {
        self.median(way, |measured| Some(micros(measured.p99)))
    }

    /// Processor time of one call, in microseconds.
    pub(super) fn cpu(&self, way: Way) -> Option<f64> {
        self.median(way, |measured| {
            let calls = f64::from(u32::try_from(measured.calls).ok()?);
            Some(micros(measured.cpu?) / calls)
        })
    }

    fn median(&self, way: Way, figure: impl Fn(&Measured) -> Option<f64>) -> Option<f64> {
        let of_way = self.cells.iter().filter(|(cell, _)| *cell == way);
        median(
            of_way
                .filter_map(|(_, measured)| figure(measured))
                .collect(),
        )
    }
}

/// The one in the middle.
pub(super) fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}

/// The whole table.
pub(super) fn render(rows: &[Row]) -> String {
    let mut text = String::from(
        "connections  way       calls/s  of direct  of nginx    p50 us    p99 us  p99/p50  added p50  cpu us/call\n",
    );
    for row in rows {
        for way in Way::ALL {
            if row.rate(way).is_some() {
                line(&mut text, row, way);
            }
        }
    }
    text
}

// Writing to a String cannot fail.
fn line(text: &mut String, row: &Row, way: Way) {
    let percent = |of| part(row.rate(way), row.rate(of)).map(|share| share * 100.0);
    let (p50, p99) = (row.p50(way), row.p99(way));
    let added = p50.zip(row.p50(Way::Direct)).filter(|_| way != Way::Direct);
    let _ = write!(text, "{:>11}  {:<8}", row.connections, way.name());
    for (figure, width, digits) in [
        (row.rate(way), 9, 0),
        (percent(Way::Direct), 11, 1),
        (percent(Way::Nginx), 10, 1),
        (p50, 10, 0),
        (p99, 10, 0),
        (part(p99, p50), 9, 1),
        (added.map(|(p50, direct)| p50 - direct), 11, 0),
        (row.cpu(way), 13, 1),
    ] {
        let _ = match figure {
            Some(figure) => write!(text, "{figure:>width$.digits$}"),
            None => write!(text, "{:>width$}", "-"),
        };
    }
    text.push('\n');
}

/// One figure over another.
pub(super) fn part(figure: Option<f64>, of: Option<f64>) -> Option<f64> {
    figure.zip(of).map(|(figure, of)| figure / of)
}

/// In microseconds.
pub(super) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
