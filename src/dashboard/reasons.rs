//! Every reason for which a call is refused, in words. Pure.
//!
//! The codes are those of `policy` and `gateway`; a test reads both and fails when one is missing here.

/// Whose move it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// The rules say no: whoever keeps them may change them.
    Rules,
    /// A limit is reached: it passes, or the limit is changed.
    Limits,
    /// The call was made before.
    Repeats,
    /// The request is not one that can be served.
    Request,
    /// The gateway or a server could not.
    Trouble,
}

impl About {
    pub(super) const ALL: [Self; 5] = [
        Self::Rules,
        Self::Limits,
        Self::Repeats,
        Self::Request,
        Self::Trouble,
    ];

    /// A heading.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Rules => "The rules say no",
            Self::Limits => "A limit is reached",
            Self::Repeats => "The call was made before",
            Self::Request => "The request cannot be served",
            Self::Trouble => "The gateway or a server could not",
        }
    }
}

/// The codes, whom each concerns, and what it means.
pub(super) const REASONS: &[(&str, About, &str)] = &[
    (
        "not_granted",
        About::Rules,
        "No grant of the agent covers the tool.",
    ),
    (
        "denied_rule",
        About::Rules,
        "A deny rule covers it; nothing overrides one.",
    ),
    (
        "expired",
        About::Rules,
        "The grant that covered it has ended.",
    ),
    (
        "condition",
        About::Rules,
        "The arguments are not as the grant asks under when.",
    ),
    (
        "disabled",
        About::Rules,
        "The agent or the server is switched off.",
    ),
    (
        "address",
        About::Rules,
        "The agent may not be used from this address.",
    ),
    (
        "unknown_server",
        About::Rules,
        "The rules name no such server.",
    ),
    (
        "cost_invalid",
        About::Rules,
        "A budget counts what nobody can say of this call: its price, or a number in it.",
    ),
    (
        "not_authenticated",
        About::Rules,
        "No agent has this token, or it has ended.",
    ),
    (
        "tool_changed",
        About::Rules,
        "The tool is not the one that tools.lock was written of.",
    ),
    (
        "budget",
        About::Limits,
        "A budget has no room left in its window.",
    ),
    ("rate", About::Limits, "The calls came too fast."),
    (
        "concurrency",
        About::Limits,
        "As many calls are in flight as may be.",
    ),
    (
        "too_many",
        About::Limits,
        "The agent has as many sessions, subscriptions or tasks as it may have.",
    ),
    (
        "too_many_keys",
        About::Limits,
        "The agent has as many idempotency keys in use as it may have.",
    ),
    (
        "overloaded",
        About::Limits,
        "The gateway has as many requests in hand as it serves.",
    ),
    (
        "in_progress",
        About::Repeats,
        "The same call is still running, or waits for answers.",
    ),
    (
        "already_executed",
        About::Repeats,
        "The same call was made and answered, and its result was not kept.",
    ),
    (
        "outcome_unknown",
        About::Repeats,
        "The same call was made, and nobody knows what became of it.",
    ),
    (
        "key_reused",
        About::Repeats,
        "The idempotency key came before with other arguments.",
    ),
    (
        "replayed",
        About::Repeats,
        "The same call was made; its kept result was given a second time, and nothing was charged.",
    ),
    (
        "malformed",
        About::Request,
        "It is no message of the protocol, or a parameter is missing or wrong.",
    ),
    (
        "unknown_method",
        About::Request,
        "The method is not offered here.",
    ),
    (
        "unknown_target",
        About::Request,
        "No tool, prompt or resource has this name.",
    ),
    (
        "ambiguous_tool",
        About::Request,
        "Several servers have a tool of this name.",
    ),
    (
        "header_mismatch",
        About::Request,
        "A header and the body say different things.",
    ),
    (
        "unsupported_version",
        About::Request,
        "The revision of the protocol is not served.",
    ),
    (
        "not_acceptable",
        About::Request,
        "The client does not take the form the answer has.",
    ),
    (
        "missing_capability",
        About::Request,
        "The server needs something the client did not declare.",
    ),
    (
        "client_cannot_answer",
        About::Request,
        "The server asks its client something this one has no way to answer.",
    ),
    (
        "needs_input",
        About::Request,
        "The server asks for input that cannot be carried to the client.",
    ),
    (
        "declined",
        About::Request,
        "The user declined what the server asked for.",
    ),
    ("cancelled", About::Request, "The agent cancelled the call."),
    (
        "request_too_large",
        About::Request,
        "The request is longer than the listener takes.",
    ),
    (
        "request_too_slow",
        About::Request,
        "The request did not arrive in time.",
    ),
    (
        "method_not_allowed",
        About::Request,
        "The address does not take this HTTP method.",
    ),
    (
        "unknown_session",
        About::Request,
        "The session is not known, or has ended.",
    ),
    (
        "unknown_place",
        About::Request,
        "The stream cannot go on from there.",
    ),
    (
        "foreign_host",
        About::Request,
        "The request came under a host name that is not ours.",
    ),
    (
        "foreign_origin",
        About::Request,
        "The request came from a page of another site.",
    ),
    ("not_found", About::Request, "Nothing is at this address."),
    (
        "upstream_unavailable",
        About::Trouble,
        "The server did not answer.",
    ),
    (
        "relayed",
        About::Trouble,
        "The server answered with an error of its own, which was passed on.",
    ),
    (
        "audit_unavailable",
        About::Trouble,
        "The log cannot be written, and no call goes unrecorded.",
    ),
    (
        "internal",
        About::Trouble,
        "The gateway failed in the middle of the request.",
    ),
];

/// What a reason means; nothing of one that a later version wrote.
pub(super) fn meaning(reason: &str) -> Option<(About, &'static str)> {
    let mut known = REASONS.iter();
    let (_, about, words) = known.find(|(code, _, _)| *code == reason)?;
    Some((*about, *words))
}
