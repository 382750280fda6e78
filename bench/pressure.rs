//! Far more callers than a gateway can serve: how much of its best it still does, how it refuses the rest, and how it
//! is afterwards.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::caller::{Caller, is_result};
use super::cases::{self, Outcome};
use super::figures::{Figure, Wanted};
use super::gateway::Gateway;
use super::load::{Load, Measured};
use super::rules::{self, Era};
use super::server::{self, Manner};
use super::table::{median, micros};
use super::target::Target;
use super::ways::Setting;
use super::wire::{header, value_after};

/// Callers of the peak.
const CALLERS: usize = 64;

/// How long they press before it counts: all of them begin at once, and nothing comes back until that is worked off.
const LEAD: Duration = Duration::from_secs(1);

/// Files that are open beside connections.
const OTHER_FILES: usize = 200;

/// The longest a refused caller waits.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// What callers saw under pressure.
#[derive(Debug, Default)]
struct Tally {
    results: Vec<Duration>,
    refusals: Vec<Duration>,
    /// How often each reason was given.
    reasons: BTreeMap<String, usize>,
    /// Refusals that do not say when to come again.
    without_wait: usize,
    /// Callers whose connection ended, or who heard nothing in time.
    lost: usize,
}

/// One round.
#[derive(Debug)]
struct Round {
    peak: Measured,
    pressed: Tally,
    /// How long it was counted.
    time: Duration,
    /// Memory in use at the end of the pressure, in bytes.
    resident: Option<u64>,
    after: Measured,
}

/// Measures it.
pub(super) async fn run(setting: &Setting) -> anyhow::Result<Outcome> {
    let server = server::start(Manner::Small).await?;
    let rules = rules::ordinary(server, Era::Modern);
    let gateway = Gateway::start(setting.plan(&rules)).await?;
    let target = cases::target(&gateway);
    let (connections, time) = (fitting(setting.pressed), setting.time * 2);
    let load = Load {
        connections: CALLERS,
        time: setting.time,
    };
    let mut rounds = Vec::new();
    for _ in 0..setting.rounds {
        rounds.push(Round {
            peak: load.run(target, || gateway.cpu()).await?,
            pressed: press(target, connections, time).await?,
            time,
            resident: gateway.resident(),
            after: load.run(target, || gateway.cpu()).await?,
        });
    }
    gateway.stop().await?;
    let (text, goodput) = render(&rounds, connections);
    let figure = Figure::of(
        "results under pressure, of the peak",
        "%",
        Wanted::AtLeast(80.0),
        Some(goodput),
    );
    Ok(Outcome {
        text,
        figures: figure.into_iter().collect(),
    })
}

/// As many of these callers as the limit on open files allows: each has a file here, and one more in the server, which
/// is in this program; with the gateway it is the same.
fn fitting(callers: usize) -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    let limit = limit.and_then(|limit| usize::try_from(limit).ok());
    let room = limit.map(|limit| limit.saturating_sub(OTHER_FILES) / 2);
    room.map_or(callers, |room| room.min(callers))
}

async fn press(target: Target, connections: usize, time: Duration) -> anyhow::Result<Tally> {
    let mut callers = Vec::new();
    for _ in 0..connections {
        callers.push(Caller::connect(target.address).await?);
    }
    let begin = Instant::now() + LEAD;
    let request = target.request();
    let mut tasks = JoinSet::new();
    for caller in callers {
        tasks.spawn(insist([begin, begin + time], caller, request.clone()));
    }
    let mut tally = Tally::default();
    while let Some(one) = tasks.join_next().await {
        tally.add(one?);
    }
    tally.results.sort_unstable();
    tally.refusals.sort_unstable();
    Ok(tally)
}

/// Calls as soon as the last call is answered, or as a refusal says; what came back in a span of time.
async fn insist([begin, end]: [Instant; 2], mut caller: Caller, request: String) -> Tally {
    let (mut tally, mut early) = (Tally::default(), Tally::default());
    loop {
        let began = Instant::now();
        let answer = caller.exchange(request.as_bytes()).await;
        let now = Instant::now();
        let into = if now < begin { &mut early } else { &mut tally };
        let wait = match answer {
            Ok(answer) if now < end => into.note(answer, now - began),
            Ok(_) => return tally,
            Err(_) => {
                tally.lost += 1;
                return tally;
            }
        };
        if now + wait >= end {
            return tally;
        }
        sleep_until(now + wait).await;
    }
}

impl Tally {
    /// Counts an answer. Returns how long to wait.
    fn note(&mut self, answer: &[u8], took: Duration) -> Duration {
        if is_result(answer) {
            self.results.push(took);
            return Duration::ZERO;
        }
        self.refusals.push(took);
        let reason = value_after(answer, "\"reason\":").unwrap_or("none given");
        *self.reasons.entry(reason.replace('"', "")).or_default() += 1;
        let wait = wait(answer);
        self.without_wait += usize::from(wait.is_none());
        wait.unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT)
    }

    fn add(&mut self, other: Self) {
        self.results.extend(other.results);
        self.refusals.extend(other.refusals);
        for (reason, count) in other.reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
        self.without_wait += other.without_wait;
        self.lost += other.lost;
    }
}

/// What a refusal says of when to come again, in its header or in its error.
fn wait(answer: &[u8]) -> Option<Duration> {
    if let Some(seconds) = header(answer, "retry-after") {
        return seconds.parse().ok().map(Duration::from_secs);
    }
    let millis = value_after(answer, "\"retry_after_ms\":")?;
    millis.parse().ok().map(Duration::from_millis)
}

/// What a line of the text says of one round: a rate, half of the times, 99 of 100, in microseconds.
type Said = fn(&Round) -> [f64; 3];

/// The text, and the part of the peak that is reached under pressure, in per cent.
fn render(rounds: &[Round], connections: usize) -> (String, f64) {
    let lines: [(&str, Said); 4] = [
        ("peak, 64 callers", |round| of(&round.peak)),
        ("results under pressure", |round| {
            of_times(&round.pressed.results, round.time)
        }),
        ("refusals", |round| {
            of_times(&round.pressed.refusals, round.time)
        }),
        ("64 callers afterwards", |round| of(&round.after)),
    ];
    let mut text = format!("{connections} callers at once; times in us\n");
    let (mut peak, mut shares) = (None, Vec::new());
    for (what, said) in lines {
        let figure = |place: usize| {
            let figures = rounds.iter().map(|round| said(round)[place]);
            median(figures.collect()).unwrap_or(f64::NAN)
        };
        let (rate, p50, p99) = (figure(0), figure(1), figure(2));
        let share = rate / *peak.get_or_insert(rate) * 100.0;
        shares.push(share);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{what:<24}{rate:>9.0} /s{share:>8.1} % of peak   p50{p50:>9.0}   p99{p99:>9.0}"
        );
    }
    let goodput = shares.get(1).copied().unwrap_or(f64::NAN);
    (text + &render_refusals(rounds), goodput)
}

fn of(measured: &Measured) -> [f64; 3] {
    [measured.rate, micros(measured.p50), micros(measured.p99)]
}

fn of_times(times: &[Duration], time: Duration) -> [f64; 3] {
    let at = |percent: usize| {
        let place = times.len().saturating_sub(1) * percent / 100;
        times.get(place).map_or(0.0, |time| micros(*time))
    };
    [count(times.len()) / time.as_secs_f64(), at(50), at(99)]
}

fn render_refusals(rounds: &[Round]) -> String {
    let mut all = Tally::default();
    let mut resident = 0;
    for round in rounds {
        for (reason, count) in &round.pressed.reasons {
            *all.reasons.entry(reason.clone()).or_default() += count;
        }
        all.without_wait += round.pressed.without_wait;
        all.lost += round.pressed.lost;
        resident = resident.max(round.resident.unwrap_or_default());
    }
    let mut text = String::from("refused: ");
    for (reason, count) in &all.reasons {
        let _ = write!(text, "{reason} {count}, ");
    }
    let (without, lost, resident) = (all.without_wait, all.lost, resident / 1_000_000);
    let _ = writeln!(
        text,
        "without a time to come again {without}; callers lost {lost}; {resident} MB in use"
    );
    text
}

fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::NAN, f64::from)
}
