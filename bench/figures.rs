//! The figures of the design beside those that were measured.

use std::fmt::Write;

use super::table::{Row, Way, part};

/// What a figure should be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted {
    /// So much, or less.
    AtMost(f64),
    /// So much, or more.
    AtLeast(f64),
}

/// One line of the list.
#[derive(Debug)]
pub(super) struct Figure {
    what: &'static str,
    unit: &'static str,
    wanted: Wanted,
    measured: f64,
}

impl Figure {
    /// One that was measured; none where it was not.
    pub(super) fn of(
        what: &'static str,
        unit: &'static str,
        wanted: Wanted,
        measured: Option<f64>,
    ) -> Option<Self> {
        measured.map(|measured| Self {
            what,
            unit,
            wanted,
            measured,
        })
    }

    fn is_reached(&self) -> bool {
        match self.wanted {
            Wanted::AtMost(most) => self.measured <= most,
            Wanted::AtLeast(least) => self.measured >= least,
        }
    }
}

/// Those that calls of small results tell: against nginx, the gateway's own promises to each other, and the fastest
/// gateways that understand MCP as they were measured on the two-core machine.
pub(super) fn of_small(rows: &[Row]) -> Vec<Figure> {
    use Wanted::{AtLeast, AtMost};
    let at = |connections| rows.iter().find(move |row| row.connections == connections);
    let mut figures = Vec::new();
    if let Some(row) = at(1) {
        let added = |way| Some(row.p50(way)? - row.p50(Way::Direct)?);
        let (process, power) = (added(Way::Process), added(Way::Power));
        figures.extend([
            Figure::of(
                "added p50, 1 connection, process",
                "us",
                AtMost(150.0),
                process,
            ),
            Figure::of(
                "added p50, process, ahead of rws",
                "us",
                AtMost(92.0),
                process,
            ),
            Figure::of("added p50, power, ahead of rws", "us", AtMost(92.0), power),
        ]);
    }
    if let Some(row) = at(64) {
        let percent = |way, of| part(row.rate(way), row.rate(of)).map(|part| part * 100.0);
        let (of_nginx, of_process) = (
            percent(Way::Process, Way::Nginx),
            percent(Way::Power, Way::Process),
        );
        let grown = part(row.cpu(Way::Filled), row.cpu(Way::Process));
        let grown = grown.map(|grown| (grown - 1.0) * 100.0);
        let spread = |way| part(row.p99(way), row.p50(way));
        let (process, power) = (row.rate(Way::Process), row.rate(Way::Power));
        let (cpu, power_cpu) = (row.cpu(Way::Process), row.cpu(Way::Power));
        figures.extend([
            Figure::of(
                "calls a second of nginx's, process",
                "%",
                AtLeast(60.0),
                of_nginx,
            ),
            Figure::of(
                "calls a second, power of process",
                "%",
                AtLeast(80.0),
                of_process,
            ),
            Figure::of(
                "calls a second, process, ahead of Envoy",
                "/s",
                AtLeast(27e3),
                process,
            ),
            Figure::of(
                "calls a second, power, ahead of Envoy",
                "/s",
                AtLeast(27e3),
                power,
            ),
            Figure::of(
                "p99 of p50, process",
                "x",
                AtMost(3.0),
                spread(Way::Process),
            ),
            Figure::of("p99 of p50, power", "x", AtMost(3.0), spread(Way::Power)),
            Figure::of("CPU a call, process", "us", AtMost(40.0), cpu),
            Figure::of("CPU a call, power", "us", AtMost(40.0), power_cpu),
            Figure::of(
                "CPU a call, filled over empty file",
                "%",
                AtMost(10.0),
                grown,
            ),
        ]);
    }
    figures.into_iter().flatten().collect()
}

/// The list.
pub(super) fn render(figures: &[Figure]) -> String {
    let mut text = String::from("design figures\n");
    for figure in figures {
        let (word, wanted) = match figure.wanted {
            Wanted::AtMost(most) => ("at most", most),
            Wanted::AtLeast(least) => ("at least", least),
        };
        let (what, unit, measured) = (figure.what, figure.unit, figure.measured);
        let verdict = if figure.is_reached() { "ok" } else { "missed" };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{what:<42}{word:>10}{wanted:>8.0} {unit:<3}{measured:>10.1} {unit:<3} {verdict}"
        );
    }
    text
}
