//! What becomes of a key, state by state; and any history against a naive model of it.

use proptest::prelude::*;

use super::*;

const START: i64 = 1_795_176_000_000_000;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const SPAN: Duration = Duration::from_secs(600);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_micros(START).after(Duration::from_secs(seconds))
}

fn call(number: u8) -> CallId {
    CallId::new(at(0), [number; 10])
}

fn agent(name: &str) -> AgentName {
    name.parse().unwrap()
}

fn id(agent: &str, key: &str) -> KeyId {
    let (agent, server) = (self::agent(agent), "images".parse().unwrap());
    let scope = KeyScope {
        agent: &agent,
        server: &server,
        tool: "imagine",
    };
    KeyId::given(scope, key)
}

/// A call with the key `k` and these arguments.
fn keyed(arguments: u8) -> Claims {
    Claims {
        agent: agent("clawd"),
        arguments: [arguments; 32],
        continues: None,
        keys: vec![Claim {
            id: id("clawd", "k"),
            lasts: Lasts::Kept,
        }],
    }
}

/// A call without a key, whose arguments are one.
fn same(arguments: u8) -> Claims {
    let key = format!("arguments {arguments}");
    Claims {
        keys: vec![Claim {
            id: id("clawd", &key),
            lasts: Lasts::For(SPAN),
        }],
        ..keyed(arguments)
    }
}

fn going_on(claims: &Claims, before: u8) -> Claims {
    Claims {
        continues: Some(call(before)),
        ..claims.clone()
    }
}

/// What a call is that comes after one with these claims ended so.
fn after(first: &Claims, ending: Option<KeyEnding>, second: &Claims, at_s: u64) -> Option<Repeat> {
    let mut keys = Keys::default();
    assert_eq!(keys.find_repeat(first, at(0)), None);
    keys.take(first, call(1), at(0), at(0));
    if let Some(ending) = ending {
        keys.close(call(1), &ending);
    }
    let found = keys.find_repeat(second, at(at_s))?;
    if found.repeat != Repeat::TooMany {
        assert_eq!(found.first, Some(call(1)));
    }
    Some(found.repeat)
}

#[test]
fn a_repeat_is_told_by_what_became_of_the_first() {
    let done = || Some(KeyEnding::Done("ok".into()));
    let unknown = || Some(KeyEnding::Unknown("timed_out".into()));
    let table = [
        (None, Some(Repeat::Running)),
        (Some(KeyEnding::Free), None),
        (Some(KeyEnding::Asked), Some(Repeat::Asked)),
        (done(), Some(Repeat::Done("ok".into()))),
        (unknown(), Some(Repeat::Unknown("timed_out".into()))),
    ];
    for (ending, expected) in table {
        let found = after(&keyed(1), ending.clone(), &keyed(1), 1);
        assert_eq!(found, expected, "{ending:?}");
        let other = expected.map(|_| Repeat::OtherArguments);
        let found = after(&keyed(1), ending.clone(), &keyed(2), 1);
        assert_eq!(found, other, "{ending:?}");
    }
    // A question is no work.
    assert_eq!(after(&same(1), Some(KeyEnding::Asked), &same(1), 1), None);
    assert_eq!(after(&same(1), None, &same(1), 1), Some(Repeat::Running));
    assert_eq!(after(&same(1), done(), &same(2), 1), None);
}

#[test]
fn a_key_holds_to_its_end_and_an_open_call_longer() {
    let done = || Some(KeyEnding::Done("ok".into()));
    let (day, span) = (DAY.as_secs(), SPAN.as_secs());
    for (claims, end) in [(keyed(1), day), (same(1), span)] {
        assert!(after(&claims, done(), &claims, end - 1).is_some());
        assert_eq!(after(&claims, done(), &claims, end), None);
        assert_eq!(
            after(&claims, None, &claims, 9 * day),
            Some(Repeat::Running)
        );
    }
    let mut keys = Keys::default();
    keys.take(&keyed(1), call(1), at(3 * day), at(0));
    keys.close(call(1), &KeyEnding::Done("ok".into()));
    let repeat = |at_s| keys.find_repeat(&keyed(1), at(at_s)).map(|it| it.repeat);
    assert!(
        repeat(3 * day - 1).is_some(),
        "the window it was charged in"
    );
    assert_eq!(repeat(3 * day), None);
}

#[test]
fn the_same_arguments_say_when_they_may_come_again() {
    let mut keys = Keys::default();
    keys.take(&same(1), call(1), at(0), at(7));
    let found = keys.find_repeat(&same(1), at(8)).unwrap();
    assert_eq!(found.until, Some(at(7 + SPAN.as_secs())));
    keys.take(&keyed(1), call(2), at(0), at(7));
    assert_eq!(keys.find_repeat(&keyed(1), at(8)).unwrap().until, None);
}

#[test]
fn a_call_with_a_fresh_key_and_the_same_arguments_is_a_repeat_where_the_rules_say_so() {
    let both = |key: &str| {
        let mut claims = same(1);
        let (id, lasts) = (id("clawd", key), Lasts::Kept);
        claims.keys.insert(0, Claim { id, lasts });
        claims
    };
    let found = after(
        &both("a"),
        Some(KeyEnding::Done("ok".into())),
        &both("b"),
        1,
    );
    assert_eq!(found, Some(Repeat::Done("ok".into())));
    let found = after(&both("a"), Some(KeyEnding::Free), &both("b"), 1);
    assert_eq!(found, None);
}

#[test]
fn the_next_round_of_a_call_is_no_repeat_and_takes_its_key_over() {
    let mut keys = Keys::default();
    keys.take(&keyed(1), call(1), at(0), at(0));
    keys.close(call(1), &KeyEnding::Asked);
    // Whoever goes on with another call, or with none, meets the key.
    for other in [keyed(1), going_on(&keyed(1), 7)] {
        let found = keys.find_repeat(&other, at(1)).unwrap();
        assert_eq!(found.repeat, Repeat::Asked);
    }
    // With the key or without it, the round has it.
    let bare = Claims {
        keys: Vec::new(),
        ..going_on(&keyed(1), 1)
    };
    for (round, before, claims) in [(2, 1, going_on(&keyed(1), 1)), (3, 2, bare)] {
        let claims = Claims {
            continues: Some(call(before)),
            ..claims
        };
        assert_eq!(keys.find_repeat(&claims, at(2)), None);
        keys.take(&claims, call(round), at(0), at(2));
        let found = keys.find_repeat(&keyed(1), at(3)).unwrap();
        assert_eq!(
            (found.repeat, found.first),
            (Repeat::Running, Some(call(round)))
        );
        keys.close(call(round), &KeyEnding::Asked);
    }
    keys.take(&going_on(&keyed(1), 3), call(4), at(0), at(4));
    keys.close(call(4), &KeyEnding::Done("ok".into()));
    let found = keys.find_repeat(&going_on(&keyed(1), 3), at(5)).unwrap();
    assert_eq!(
        (found.repeat, found.first),
        (Repeat::Done("ok".into()), Some(call(4)))
    );
}

#[test]
fn the_next_round_of_a_call_goes_on_though_the_same_call_was_made_anew() {
    let mut keys = Keys::default();
    keys.take(&same(1), call(1), at(0), at(0));
    keys.close(call(1), &KeyEnding::Asked);
    keys.take(&same(1), call(2), at(0), at(1));
    let second_round = going_on(&same(1), 1);
    assert_eq!(keys.find_repeat(&second_round, at(2)), None);
    keys.take(&second_round, call(3), at(0), at(2));
    keys.close(call(3), &KeyEnding::Free);
    let found = keys.find_repeat(&same(1), at(3)).unwrap();
    assert_eq!(
        (found.repeat, found.first),
        (Repeat::Running, Some(call(2)))
    );
}

#[test]
fn keys_of_other_agents_servers_and_tools_never_meet() {
    let of = |agent: &str, server: &str, tool: &str, key: &str| {
        let (agent, server) = (self::agent(agent), server.parse().unwrap());
        let scope = KeyScope {
            agent: &agent,
            server: &server,
            tool,
        };
        [
            KeyId::given(scope, key),
            KeyId::of_arguments(scope, &[7; 32]),
        ]
    };
    let all = [
        of("a", "s", "t", "k"),
        of("b", "s", "t", "k"),
        of("a", "r", "t", "k"),
        of("a", "s", "u", "k"),
        of("as", "t", "t", "k"),
        of("a", "st", "t", "k"),
        of("a", "s", "tkey", "k"),
        of("a", "s", "", "tk"),
    ];
    let unlike: BTreeSet<KeyId> = all.iter().flatten().copied().collect();
    assert_eq!(unlike.len(), 2 * all.len());
}

#[test]
fn an_agent_has_so_many_keys_and_no_more_until_older_ones_went() {
    let counts = HashMap::from([(agent("clawd"), MAX_KEYS_OF_AGENT - 1)]);
    let mut keys = Keys::new(Vec::new(), counts);
    assert_eq!(keys.crowded(), [agent("clawd")]);
    keys.take(&keyed(1), call(1), at(0), at(0));
    let repeat = |keys: &Keys, claims: &Claims| keys.find_repeat(claims, at(1)).map(|it| it.repeat);
    assert_eq!(repeat(&keys, &same(1)), Some(Repeat::TooMany));
    assert_eq!(
        repeat(&keys, &keyed(1)),
        Some(Repeat::Running),
        "it has this one"
    );
    let mut others = keyed(1);
    others.agent = agent("other");
    others.keys[0].id = id("other", "k");
    assert_eq!(repeat(&keys, &others), None);
    keys.close(call(1), &KeyEnding::Free);
    assert_eq!(repeat(&keys, &same(1)), None);
    keys.take(&same(1), call(2), at(0), at(0));
    keys.swept(vec![agent("clawd"); 1_000]);
    assert_eq!(keys.crowded(), []);
    assert_eq!(repeat(&keys, &keyed(1)), None);
}

/// What may happen to one of a few keys.
#[derive(Debug, Clone)]
enum Step {
    /// A call comes: the key, whether it is given, its arguments, whether it goes on with the last call that asked.
    Come(u8, bool, u8, bool),
    /// The call that was let through so many ago ends.
    End(usize, KeyEnding),
    /// The batch is written and forgotten.
    Commit,
    /// The batch is lost, and everything is read back.
    Crash,
    /// Time goes on, in minutes.
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ending = prop_oneof![
        Just(KeyEnding::Free),
        Just(KeyEnding::Asked),
        Just(KeyEnding::Done("ok".into())),
        Just(KeyEnding::Unknown("broken".into())),
    ];
    let step = prop_oneof![
        6 => (0..3_u8, any::<bool>(), 0..2_u8, any::<bool>())
            .prop_map(|(key, given, arguments, goes_on)| Step::Come(key, given, arguments, goes_on)),
        4 => (0..3_usize, ending).prop_map(|(back, ending)| Step::End(back, ending)),
        3 => Just(Step::Commit),
        1 => Just(Step::Crash),
        1 => (1..800_u64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..60)
}

/// One call that was let through, as a list of them would have it.
#[derive(Debug, Clone)]
struct Made {
    call: CallId,
    claims: Claims,
    began: Timestamp,
    ending: Option<KeyEnding>,
    /// A later round has gone on with it.
    is_passed_on: bool,
}

/// Everything that was made, written and not; nothing is ever forgotten.
#[derive(Debug, Default, Clone)]
struct Model {
    made: Vec<Made>,
}

impl Model {
    /// The call that stands for a key now, looked for among all.
    fn standing(&self, claim: &Claim, now: Timestamp) -> Option<&Made> {
        let span = match claim.lasts {
            Lasts::Kept => KEPT,
            Lasts::For(span) => span,
        };
        let names = |made: &&Made| made.claims.keys.iter().any(|one| one.id == claim.id);
        self.made
            .iter()
            .rev()
            .filter(names)
            .find(|made| match &made.ending {
                _ if made.is_passed_on => false,
                None => true,
                Some(KeyEnding::Free) => false,
                Some(KeyEnding::Asked) => {
                    claim.lasts == Lasts::Kept && now < made.began.after(span)
                }
                Some(KeyEnding::Done(_) | KeyEnding::Unknown(_)) => now < made.began.after(span),
            })
    }

    fn repeat(&self, claims: &Claims, now: Timestamp) -> Option<(Repeat, CallId)> {
        let claim = claims.keys[0];
        let made = self.standing(&claim, now)?;
        if claims.continues.is_some() && claim.lasts != Lasts::Kept {
            return None;
        }
        let repeat = match &made.ending {
            Some(KeyEnding::Asked) if claims.continues == Some(made.call) => return None,
            _ if made.claims.arguments != claims.arguments => Repeat::OtherArguments,
            None => Repeat::Running,
            Some(KeyEnding::Asked) => Repeat::Asked,
            Some(KeyEnding::Done(outcome)) => Repeat::Done(outcome.clone()),
            Some(KeyEnding::Unknown(outcome)) => Repeat::Unknown(outcome.clone()),
            Some(KeyEnding::Free) => unreachable!("it stands for nothing"),
        };
        Some((repeat, made.call))
    }
}

/// The table, as the writer keeps it.
#[derive(Debug, Default)]
struct Table {
    rows: HashMap<KeyId, Record>,
}

impl Table {
    fn write(&mut self, keys: &mut Keys) {
        let (put, gone) = keys.take_changes();
        for id in gone {
            assert!(self.rows.remove(&id).is_some(), "only rows are taken away");
        }
        self.rows.extend(put);
    }

    fn read(&self) -> Keys {
        let open = self
            .rows
            .iter()
            .filter(|(_, record)| record.state == State::Running);
        let open = open.map(|(id, record)| (*id, record.clone())).collect();
        let mut counts = HashMap::new();
        for record in self.rows.values() {
            *counts.entry(record.agent.clone()).or_default() += 1;
        }
        Keys::new(open, counts)
    }

    fn look_up(&self, keys: &mut Keys, claims: &Claims) {
        let unknown: Vec<KeyId> = keys.unknown(claims).collect();
        let asked = self.rows.iter().filter(|(_, record)| {
            record.state == State::Asked && Some(record.call) == claims.continues
        });
        let named = self.rows.iter().filter(|(id, _)| unknown.contains(id));
        for (id, record) in named.chain(asked) {
            keys.learn(*id, record.clone());
        }
    }
}

proptest! {
    #[test]
    fn no_history_makes_a_call_twice_or_refuses_a_new_one(steps in steps()) {
        let (mut keys, mut table) = (Keys::default(), Table::default());
        let (mut model, mut written) = (Model::default(), Model::default());
        let mut minutes = 0;
        let mut number = 0_u8;
        for step in steps {
            let now = at(minutes * 60);
            match step {
                Step::Come(key, given, arguments, goes_on) => {
                    let (name, lasts) = if given {
                        (format!("k{key}"), Lasts::Kept)
                    } else {
                        (format!("arguments {arguments}"), Lasts::For(SPAN))
                    };
                    let asked = model.made.iter().rev();
                    let asked = asked
                        .filter(|made| made.ending == Some(KeyEnding::Asked) && !made.is_passed_on)
                        .filter(|made| made.claims.arguments == [arguments; 32])
                        // A round with another key than the first has two, for which this model has no word.
                        .find(|made| made.claims.keys.iter().all(|claim| {
                            claim.lasts != Lasts::Kept || claim.id == id("clawd", &name)
                        }));
                    let claims = Claims {
                        keys: vec![Claim { id: id("clawd", &name), lasts }],
                        continues: asked.filter(|_| goes_on).map(|made| made.call),
                        ..keyed(arguments)
                    };
                    table.look_up(&mut keys, &claims);
                    let found = keys.find_repeat(&claims, now);
                    let found = found.map(|it| (it.repeat, it.first.unwrap()));
                    prop_assert_eq!(&found, &model.repeat(&claims, now));
                    if found.is_none() {
                        number += 1;
                        let standing = model.standing(&claims.keys[0], now);
                        let has_other = standing.is_some_and(|made| Some(made.call) != claims.continues);
                        keys.take(&claims, call(number), now, now);
                        let mut claims = claims;
                        if has_other {
                            claims.keys.clear();
                        }
                        if let Some(before) = claims.continues {
                            let before = model.made.iter_mut().find(|made| made.call == before);
                            before.unwrap().is_passed_on = true;
                        }
                        let call = call(number);
                        model.made.push(Made { call, claims, began: now, ending: None, is_passed_on: false });
                    }
                }
                Step::End(back, ending) => {
                    let open = model.made.iter_mut().rev().filter(|made| made.ending.is_none());
                    if let Some(made) = open.take(back + 1).last() {
                        keys.close(made.call, &ending);
                        made.ending = Some(ending);
                    }
                }
                Step::Commit => {
                    table.write(&mut keys);
                    keys.forget_closed();
                    written = model.clone();
                }
                Step::Crash => {
                    keys = table.read();
                    model = written.clone();
                    // What is open in the file nobody waits for any more.
                    for made in model.made.iter_mut().filter(|made| made.ending.is_none()) {
                        let ending = KeyEnding::Unknown("gateway_stopped".into());
                        keys.close(made.call, &ending);
                        made.ending = Some(ending);
                    }
                    table.write(&mut keys);
                    keys.forget_closed();
                    written = model.clone();
                }
                Step::Wait(more) => minutes += more,
            }
        }
    }
}
