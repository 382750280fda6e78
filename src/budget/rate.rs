//! How fast: smoothing over seconds and minutes, in memory only. Budgets are not here (see [`super::Books`]).

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::clock::Clock;
use crate::policy::{Permissions, RateRule};
use crate::types::{BudgetKey, Rate};

/// Our clock, as governor wants it.
#[derive(Debug, Clone)]
struct RunningTime(Arc<dyn Clock>);

impl GovernorClock for RunningTime {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.0.monotonic())
    }
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, RunningTime, NoOpMiddleware<Nanos>>;

/// Limiters of rules that are gone are kept while there are at most so many.
const MOST_LEFT_OVER: usize = 10_000;

/// One limiter for each rate in the rules. Their number is that of the rules, never that of callers.
#[derive(Debug, Clone)]
pub struct RateLimits {
    clock: RunningTime,
    limiters: HashMap<BudgetKey, (Rate, Arc<Limiter>)>,
}

impl RateLimits {
    /// Fresh limiters for these rules.
    pub fn new(permissions: &Permissions, clock: Arc<dyn Clock>) -> Self {
        let nothing = Self {
            clock: RunningTime(clock),
            limiters: HashMap::new(),
        };
        nothing.renewed(permissions)
    }

    /// The limiters of other rules. A rate that is the same goes on, and one that comes back soon: else whoever changes
    /// the file would give everybody their bursts anew.
    pub fn renewed(&self, permissions: &Permissions) -> Self {
        let agents = permissions.agents().values();
        let of_agents = agents.flat_map(|agent| {
            let grants = agent.grants.iter().filter_map(|grant| grant.rate.as_ref());
            agent.rate.iter().chain(grants)
        });
        let of_servers = permissions
            .servers()
            .values()
            .filter_map(|server| server.rate.as_ref());
        self.with_rules(of_agents.chain(of_servers))
    }

    fn with_rules<'a>(&self, rules: impl Iterator<Item = &'a Arc<RateRule>>) -> Self {
        let mut limiters = if self.limiters.len() > MOST_LEFT_OVER {
            HashMap::new()
        } else {
            self.limiters.clone()
        };
        for rule in rules {
            let known = self.limiters.get(&rule.key);
            let known = known.filter(|(rate, _)| *rate == rule.rate);
            let limiter = known.cloned().unwrap_or_else(|| {
                let fresh = RateLimiter::direct_with_clock(quota(rule.rate), self.clock.clone());
                (rule.rate, Arc::new(fresh))
            });
            limiters.insert(rule.key.clone(), limiter);
        }
        Self {
            clock: self.clock.clone(),
            limiters,
        }
    }

    /// Takes one call from each rate, or says which has no room and how long to wait.
    ///
    /// # Errors
    /// When a rate has no room. Those before it in the list have counted the attempt.
    pub fn take<'a>(&self, rules: &'a [Arc<RateRule>]) -> Result<(), (&'a RateRule, Duration)> {
        for rule in rules {
            if let Some((_, limiter)) = self.limiters.get(&rule.key)
                && let Err(wait) = limiter.check()
            {
                return Err((rule, wait.wait_time_from(self.clock.now())));
            }
        }
        Ok(())
    }
}

fn quota(rate: Rate) -> Quota {
    let spacing = rate.period.length() / rate.count.get();
    // A rate so fast that calls are less than a nanosecond apart is as good as one a nanosecond.
    let quota = Quota::with_period(spacing.max(Duration::from_nanos(1)));
    quota
        .unwrap_or_else(|| Quota::per_second(NonZeroU32::MAX))
        .allow_burst(rate.burst)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Place;

    #[test]
    fn other_rules_give_no_burst_anew() {
        let clock = Arc::new(crate::clock::ManualClock::at(Default::default()));
        let rule = |place: &str, rate: &str| {
            Arc::new(RateRule {
                place: Place {
                    path: place.into(),
                    line: 1,
                },
                key: BudgetKey::new(place),
                rate: rate.parse().unwrap(),
            })
        };
        let (same, slower) = (rule("a", "1/minute"), rule("a", "1/hour"));
        let nothing = RateLimits {
            clock: RunningTime(clock.clone()),
            limiters: HashMap::new(),
        };
        let first = nothing.with_rules([&same].into_iter());
        let is_taken = |limits: &RateLimits, rule: &Arc<RateRule>| {
            limits.take(std::slice::from_ref(rule)).is_ok()
        };
        assert!(is_taken(&first, &same));
        // The same again, gone and back again, and only then another one.
        let again = first.with_rules([&same].into_iter());
        assert!(!is_taken(&again, &same));
        let back = again
            .with_rules([].into_iter())
            .with_rules([&same].into_iter());
        assert!(!is_taken(&back, &same));
        assert!(!is_taken(&first, &same), "who came before shares it");
        let other = back.with_rules([&slower].into_iter());
        assert!(is_taken(&other, &slower) && !is_taken(&other, &slower));
    }

    #[test]
    fn a_burst_passes_and_then_the_pace_holds() {
        let clock = Arc::new(crate::clock::ManualClock::at(Default::default()));
        let running = RunningTime(clock.clone());
        let rate = Rate {
            burst: NonZeroU32::new(2).unwrap(),
            .."60/minute".parse().unwrap()
        };
        let limiter = RateLimiter::direct_with_clock(quota(rate), running.clone());
        assert!(limiter.check().is_ok());
        assert!(limiter.check().is_ok());
        let wait = limiter.check().unwrap_err().wait_time_from(running.now());
        assert_eq!(wait, Duration::from_secs(1));
        clock.advance(Duration::from_secs(1));
        assert!(limiter.check().is_ok());
        assert!(limiter.check().is_err());
    }
}
