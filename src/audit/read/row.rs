//! One call as people see it: what opened it, and what closed it.

use std::str::FromStr;

use serde::Deserialize;
use sqlx::SqliteConnection;

use crate::audit::Kind;
use crate::db::DbError;
use crate::types::{CallId, Timestamp};

/// How a call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallState {
    /// Refused; nothing was forwarded.
    Denied,
    /// Let through and not closed yet.
    Open,
    /// Answered.
    Ok,
    /// Answered with an error.
    Error,
    /// Nobody knows what the server did.
    Failed,
    /// The server never saw it.
    Released,
    /// The gateway stopped in the middle of it.
    Abandoned,
}

impl CallState {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Denied,
        Self::Open,
        Self::Ok,
        Self::Error,
        Self::Failed,
        Self::Released,
        Self::Abandoned,
    ];

    /// The word in the address of a page.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Open => "open",
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Failed => "failed",
            Self::Released => "released",
            Self::Abandoned => "abandoned",
        }
    }

    /// How a call with these two events stands.
    fn of(opening: Kind, closing: Option<&Closing>) -> Self {
        let Some(closing) = closing else {
            return if opening == Kind::Denied {
                Self::Denied
            } else {
                Self::Open
            };
        };
        match closing.kind {
            Kind::Settled if closing.outcome.as_deref().unwrap_or("ok") == "ok" => Self::Ok,
            Kind::Settled => Self::Error,
            Kind::Failed => Self::Failed,
            Kind::Released => Self::Released,
            Kind::Abandoned => Self::Abandoned,
            Kind::Started
            | Kind::Stopped
            | Kind::Accepted
            | Kind::Policy
            | Kind::Checkpoint
            | Kind::Admitted
            | Kind::Denied
            | Kind::Redacted
            | Kind::Seeded
            | Kind::Expired
            | Kind::Clock
            | Kind::Refunded
            | Kind::Repaired
            | Kind::Unfrozen
            | Kind::Exported
            | Kind::Pruned
            | Kind::Tools
            | Kind::Accessed => Self::Open,
        }
    }
}

impl FromStr for CallState {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(())
    }
}

/// What `admitted` or `denied` says. Whatever is missing was not known, or was written by another version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Opening {
    /// Who called.
    pub agent: Option<String>,
    /// Which server was meant.
    pub server: Option<String>,
    /// Which tool, by the server's own name.
    pub tool: Option<String>,
    /// The method of the protocol.
    pub method: Option<String>,
    /// The name of a prompt, or the address of a resource.
    pub target: Option<String>,
    /// Why it was refused.
    pub reason: Option<String>,
    /// What the agent was told.
    pub message: Option<String>,
    /// The revision of the policy that decided.
    pub policy: Option<String>,
    /// The rule that decided.
    pub rule: Option<String>,
    /// The line of that rule.
    pub line: Option<u64>,
    /// The program that called, as it calls itself.
    pub client: Option<String>,
    /// Bytes of the request.
    pub bytes_in: Option<u64>,
    /// How many refusals alike this one event stands for.
    pub count: Option<u64>,
}

/// What the closing event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    /// Which of the four it is.
    pub kind: Kind,
    /// How it ended, in one word.
    pub outcome: Option<String>,
    /// What went wrong on the way to the server.
    pub error: Option<String>,
    /// How long the call took, in microseconds.
    pub latency_us: Option<u64>,
    /// Bytes of the answer.
    pub bytes_out: Option<u64>,
    /// What the call cost, one entry for each budget that counts it.
    pub costs: Vec<Cost>,
}

/// What a call cost in one budget.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Cost {
    /// The key of the count.
    pub key: String,
    /// How much, in the unit of the budget.
    pub charged: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ClosingMeta {
    outcome: Option<String>,
    error: Option<String>,
    latency_us: Option<u64>,
    bytes_out: Option<u64>,
    budgets: Vec<Cost>,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRow {
    /// The sequence number of the event that opened it.
    pub seq: i64,
    /// When it was opened.
    pub at: Timestamp,
    /// Its id; refusals before a call was made out have none.
    pub call: Option<CallId>,
    /// How it stands.
    pub state: CallState,
    /// What opened it.
    pub opening: Opening,
    /// What closed it, once something did.
    pub closing: Option<Closing>,
}

type Columns = (
    i64,
    i64,
    String,
    Option<Vec<u8>>,
    String,
    Option<String>,
    Option<String>,
);

/// Loads the calls that these events opened, newest first. The caller bounds how many.
pub(super) async fn load(db: &mut SqliteConnection, seqs: &[i64]) -> Result<Vec<CallRow>, DbError> {
    // The comparison is written as in the index `event_of_call`, or SQLite would not use it whole.
    let text = "
        SELECT o.seq, o.at_us, o.kind, o.call_id, o.meta, c.kind, c.meta
        FROM json_each($1) AS wanted
        CROSS JOIN event AS o ON o.seq = wanted.value
        LEFT JOIN event AS c
            ON c.call_id = o.call_id AND (c.kind IN ('admitted', 'denied')) = 0
        ORDER BY o.seq DESC";
    let rows = sqlx::query_as::<_, Columns>(text)
        .bind(serde_json::Value::from(seqs).to_string())
        .fetch_all(db)
        .await?;
    Ok(rows.into_iter().map(read).collect())
}

fn read((seq, at_us, kind, call, opening, closed, closing): Columns) -> CallRow {
    let kind = kind.parse().unwrap_or(Kind::Admitted);
    let closed = closed.and_then(|kind| kind.parse().ok());
    let closing = closed.map(|kind| read_closing(kind, closing.as_deref().unwrap_or_default()));
    CallRow {
        seq,
        at: Timestamp::from_micros(at_us),
        call: call.and_then(|id| CallId::from_slice(&id)),
        state: CallState::of(kind, closing.as_ref()),
        opening: serde_json::from_str(&opening).unwrap_or_default(),
        closing,
    }
}

fn read_closing(kind: Kind, meta: &str) -> Closing {
    let meta: ClosingMeta = serde_json::from_str(meta).unwrap_or_default();
    Closing {
        kind,
        outcome: meta.outcome,
        error: meta.error,
        latency_us: meta.latency_us,
        bytes_out: meta.bytes_out,
        costs: meta.budgets,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_with_strange_or_missing_fields_is_still_a_call() {
        let row = read((
            7,
            5,
            "admitted".into(),
            None,
            r#"{"agent":"clawd","novelty":[1]}"#.into(),
            Some("settled".into()),
            Some("{}".into()),
        ));
        assert_eq!(row.opening.agent.as_deref(), Some("clawd"));
        assert_eq!(row.state, CallState::Ok);
        let row = read((8, 5, "denied".into(), None, "[]".into(), None, None));
        assert_eq!(row.opening, Opening::default());
        assert_eq!(row.state, CallState::Denied);
    }

    #[test]
    fn states_read_and_print_the_same() {
        for state in CallState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
    }
}
