//! Policy files for commands that look at what they say and run nothing.

use std::path::Path;

use super::serve::environment;
use super::{Failure, Screen};
use crate::config::{self, Loaded, Problems};
use crate::policy::{Agent, Permissions};

/// Reads a policy file without any secret. What is wrong with it is told; warnings are not, they are for `check`.
pub(super) fn load_rules(path: &Path, screen: &mut Screen) -> Result<Loaded, Failure> {
    let text = config::read_text(path)?;
    read_rules(&path.to_string_lossy(), &text, screen)
}

/// The same for text that was read already.
pub(super) fn read_rules(name: &str, text: &str, screen: &mut Screen) -> Result<Loaded, Failure> {
    config::review(name, text).map_err(|problems| not_in_order(name, &problems, screen))
}

/// Reads a policy file with the secrets it needs to reach the servers, and without the lock beside it.
pub(super) fn load_connected(path: &Path, screen: &mut Screen) -> Result<Loaded, Failure> {
    let (name, text) = (path.to_string_lossy(), config::read_text(path)?);
    let environment = environment();
    let value = |name: &str| environment.get(name).cloned();
    config::parse(&name, &text, &value).map_err(|problems| not_in_order(&name, &problems, screen))
}

fn not_in_order(name: &str, problems: &Problems, screen: &mut Screen) -> Failure {
    let count = problems.diagnostics().len();
    screen.note(&problems.render(screen.has_color()));
    Failure::policy(anyhow::anyhow!(
        "`{name}` is not in order: {count} finding(s) above"
    ))
}

/// The agent of this name.
pub(super) fn agent_named<'a>(
    permissions: &'a Permissions,
    name: &str,
) -> Result<&'a Agent, Failure> {
    let agents = permissions.agents();
    let known = agents.iter().find(|(known, _)| known.as_str() == name);
    if let Some((_, agent)) = known {
        return Ok(agent);
    }
    let names: Vec<&str> = agents.keys().map(|name| name.as_str()).collect();
    let near = config::nearest(name, names.iter().copied());
    let near = near.map(|near| format!("; did you mean `{near}`?"));
    Err(Failure::usage(anyhow::anyhow!(
        "the rules have no agent `{}`{}",
        super::plain(name),
        near.unwrap_or_default()
    )))
}
