//! Says what is wrong with a policy file, everywhere where somebody may look: the log of the process, `/health` and the
//! pages, and the log of events.

use crate::config::{Diagnostic, LoadError, Severity};
use crate::gateway::{Gateway, PolicyFile};
use crate::policy::Permissions;
use crate::types::{Network, Revision};

use super::reload::Reloaded;

/// Says that a file with this content stays out.
pub(super) async fn refuse(
    gateway: &Gateway,
    file: PolicyFile,
    revision: Option<Revision>,
    error: &LoadError,
) -> Reloaded {
    let which = match file {
        PolicyFile::Live => "the policy file",
        PolicyFile::Shadow => "the shadow file",
    };
    let stays = "the rules that were read before stay as they are";
    let complaint = match error {
        LoadError::Unreadable { path, .. } => {
            tracing::error!("{error}; {stays}");
            // Whoever sees this may not see where the files are.
            if path.ends_with("tools.lock") {
                format!("`tools.lock` beside {which} cannot be read; {stays}")
            } else {
                format!("{which} cannot be read; {stays}")
            }
        }
        LoadError::Invalid(problems) => {
            let findings = problems.diagnostics();
            let count = findings.iter().filter(|it| is_error(it)).count();
            say(findings);
            tracing::error!("{which} is not in order (findings above); {stays}");
            let mistakes = if count == 1 { "mistake" } else { "mistakes" };
            format!(
                "{which} is not in order: see the {count} {mistakes} in the gateway's log; {stays}"
            )
        }
    };
    gateway.complain(file, Some(complaint.clone()));
    if let (PolicyFile::Live, Some(revision)) = (file, revision) {
        // Where it cannot be written, nothing else can: there are louder complaints then.
        let _ = gateway.note_refused(revision).await;
    }
    Reloaded::Refused(complaint)
}

/// Each finding as a line of the log; what is quoted of the file is masked already.
pub(super) fn say(findings: &[Diagnostic]) {
    for finding in findings {
        let place = format!(
            "{}:{}:{}",
            finding.file_name(),
            finding.line(),
            finding.column()
        );
        let advice: Vec<&str> = finding.advice().collect();
        let (code, title, advice) = (finding.code(), finding.title(), advice.join("; "));
        if is_error(finding) {
            tracing::error!(%place, %code, advice, "{title}");
        } else {
            tracing::warn!(%place, %code, advice, "{title}");
        }
    }
}

/// Says which viewers nobody can come in as by their header, because no proxy is trusted that could send it.
pub(super) fn warn_of_headers(permissions: &Permissions, trusted_proxies: &[Network]) {
    if !trusted_proxies.is_empty() {
        return;
    }
    let viewers = permissions.viewers().values();
    let by_header = viewers.filter(|viewer| viewer.header.is_some());
    let names: Vec<&str> = by_header.map(|viewer| viewer.name.as_str()).collect();
    if !names.is_empty() {
        let viewers = names.join(", ");
        tracing::warn!(
            viewers,
            "viewers with `header` in the rules cannot come in by it: no proxy is trusted; start with --trusted-proxy"
        );
    }
}

fn is_error(finding: &Diagnostic) -> bool {
    finding.severity() == Severity::Error
}
