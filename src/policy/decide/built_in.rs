//! The gateway's own server, at which agents ask about themselves. No entry of the file grants it: whoever may do
//! anything may use it, until a `deny` closes it.

use super::{
    Denial, DenialReason, Grant, Permissions, Question, Reason, Target, agent_may_ask, denial,
    keeping, may_see_server, not_forbidden,
};

/// Whether the rules let an agent use it.
pub(super) fn check(permissions: &Permissions, question: &Question<'_>) -> Result<(), Denial> {
    agent_may_ask(question)?;
    not_forbidden(permissions, question)?;
    match question.target {
        Target::Tool(_) | Target::Listing => {}
        // It has neither.
        Target::Prompt(_) | Target::Resource(_) => {
            return Err(denial(DenialReason::NotGranted, None));
        }
    }
    let may_see = |server| may_see_server(permissions, question.agent, server, question.at);
    if permissions.servers().keys().any(may_see) {
        Ok(())
    } else {
        Err(denial(DenialReason::NotGranted, None))
    }
}

/// Leave to use it: no budget counts it, and no rate.
pub(super) fn grant(permissions: &Permissions, question: &Question<'_>) -> Grant {
    let rule = question.agent.place.clone();
    let reason = Reason {
        place: rule.clone(),
        effect: "lets it ask about itself",
    };
    Grant {
        agent: question.agent.name.clone(),
        server: question.server.clone(),
        rule,
        reasons: vec![reason],
        charges: Vec::new(),
        rates: Vec::new(),
        concurrency: Vec::new(),
        keeping: keeping(permissions, question.agent, question.server),
    }
}
