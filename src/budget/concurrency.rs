//! How many at once: calls in flight under each rule, in memory only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::policy::ConcurrencyRule;
use crate::types::BudgetKey;

type Counts = Arc<Mutex<HashMap<BudgetKey, u32>>>;

/// The calls in flight under every rule that limits them. They are counted by the key of the rule, so that new rules
/// find the calls of the old ones.
#[derive(Debug, Default)]
pub struct Concurrency {
    counts: Counts,
}

/// Room that one call takes under some rules. It is given back when this is dropped, however the call ends.
#[derive(Debug, Default)]
pub struct Permits {
    counts: Counts,
    taken: Vec<BudgetKey>,
}

impl Concurrency {
    /// Takes room under all rules at once, or says which of them has none; nobody waits.
    ///
    /// # Errors
    /// When a rule has no room; then none is taken.
    pub fn take<'a>(
        &self,
        rules: &'a [Arc<ConcurrencyRule>],
    ) -> Result<Permits, &'a ConcurrencyRule> {
        // Most rules limit nothing, and then no call waits here for another.
        if rules.is_empty() {
            return Ok(Permits::default());
        }
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = |rule: &&Arc<ConcurrencyRule>| {
            let running = counts.get(&rule.key).copied().unwrap_or(0);
            running >= rule.most.get()
        };
        if let Some(full) = rules.iter().find(is_full) {
            return Err(full);
        }
        for rule in rules {
            let running = counts.entry(rule.key.clone()).or_default();
            *running = running.saturating_add(1);
        }
        Ok(Permits {
            counts: Arc::clone(&self.counts),
            taken: rules.iter().map(|rule| rule.key.clone()).collect(),
        })
    }
}

impl Drop for Permits {
    fn drop(&mut self) {
        if self.taken.is_empty() {
            return;
        }
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for key in self.taken.drain(..) {
            // INVARIANT: a key that was taken is there, and counts at least one.
            if let Some(running) = counts.get_mut(&key) {
                *running = running.saturating_sub(1);
                if *running == 0 {
                    counts.remove(&key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::policy::Place;

    fn rule(key: &str, most: u32) -> Arc<ConcurrencyRule> {
        Arc::new(ConcurrencyRule {
            place: Place {
                path: key.into(),
                line: 1,
            },
            key: BudgetKey::new(key),
            most: NonZeroU32::new(most).unwrap(),
        })
    }

    #[test]
    fn as_many_run_at_once_as_every_rule_allows() {
        let running = Concurrency::default();
        let (of_agent, of_server) = (rule("a", 2), rule("s", 3));
        let both = [Arc::clone(&of_agent), Arc::clone(&of_server)];
        let first = running.take(&both).unwrap();
        let second = running.take(&both).unwrap();
        assert_eq!(running.take(&both).unwrap_err().key.as_str(), "a");
        let third = running.take(std::slice::from_ref(&of_server)).unwrap();
        // What was refused by one rule took nothing of another.
        assert_eq!(
            running
                .take(std::slice::from_ref(&of_server))
                .unwrap_err()
                .key
                .as_str(),
            "s"
        );
        drop(first);
        let fourth = running.take(&both).unwrap();
        drop((second, third, fourth));
        assert!(running.counts.lock().unwrap().is_empty());
    }

    #[test]
    fn a_panic_gives_the_room_back() {
        let running = Concurrency::default();
        let rules = [rule("a", 1)];
        let permits = running.take(&rules).unwrap();
        let fallen = std::thread::spawn(move || {
            let _held = permits;
            panic!("in the middle of a call");
        });
        assert!(fallen.join().is_err());
        assert!(running.take(&rules).is_ok());
    }

    #[test]
    fn a_lower_limit_counts_at_once_and_what_runs_goes_on() {
        let running = Concurrency::default();
        let before = [rule("a", 2)];
        let permits = (
            running.take(&before).unwrap(),
            running.take(&before).unwrap(),
        );
        let after = [rule("a", 1)];
        assert!(running.take(&after).is_err());
        drop(permits.0);
        assert!(running.take(&after).is_err());
        drop(permits.1);
        assert!(running.take(&after).is_ok());
    }
}
