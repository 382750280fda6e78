//! One request for a page: who looks, at what, when, under which rules.

use std::sync::Arc;

use axum::extract::{FromRequestParts, OriginalUri};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};

use crate::audit::filter::{Back, Filter, Period};
use crate::db::PageReader;
use crate::policy::Permissions;
use crate::types::{Timestamp, ViewerName, Zone};

use super::figures::Watch;
use super::filter::{self, Ignored};
use super::frame::{Frame, Guest, Theme};
use super::scope::{self, Only};
use super::{BASE, Dashboard, Failure};

/// Everything a page is made from but the log.
#[derive(Debug, Clone)]
pub(super) struct Visit {
    pub(super) dashboard: Dashboard,
    pub(super) guest: Guest,
    /// The rules in force when the request came.
    pub(super) permissions: Arc<Permissions>,
    /// When it came.
    pub(super) now: Timestamp,
    /// Where: `/audit/agents/clawd`, still encoded.
    pub(super) path: String,
    /// What its address asks for.
    pub(super) filter: Filter,
    /// What in its address means nothing.
    pub(super) ignored: Vec<Ignored>,
    /// The zone of all times on the page: of the address, or else of the rules.
    pub(super) zone: Zone,
    /// The agents whose calls alone may be shown; `None` for everybody's.
    pub(super) only: Option<Only>,
    theme: Theme,
}

/// A stretch of time, as pages count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    /// The first instant.
    pub(super) from: Timestamp,
    /// The first one after it.
    pub(super) to: Timestamp,
}

impl Stretch {
    /// The stretch of the same length just before.
    pub(super) fn before(&self) -> Self {
        let length = self.to.micros().saturating_sub(self.from.micros());
        Self {
            from: Timestamp::from_micros(self.from.micros().saturating_sub(length)),
            to: self.from,
        }
    }
}

impl Visit {
    /// Tells instants to who looks.
    pub(super) fn watch(&self) -> Watch<'_> {
        Watch {
            zone: &self.zone,
            now: self.now,
        }
    }

    /// Head and foot of the page; `here` is its word in the navigation.
    pub(super) fn frame(&self, here: &'static str) -> Frame {
        Frame::new(here, self).with(self.dashboard.remarks().complaints)
    }

    /// The time that is asked for, or else the last of it; never beyond now.
    pub(super) fn stretch(&self, or: Back) -> Stretch {
        let period = match self.filter.period {
            Period::Ever => Period::Last(or),
            period @ (Period::Last(_) | Period::Between { .. }) => period,
        };
        let (from, to) = self.filter.during(period).instants(self.now);
        let to = to.unwrap_or(self.now).min(self.now);
        let from = from.unwrap_or_default().min(to);
        Stretch { from, to }
    }

    /// Whether calls of this agent may be shown.
    pub(super) fn may_see(&self, agent: Option<&str>) -> bool {
        self.only.as_ref().is_none_or(|only| {
            let mut agents = only.iter();
            agents.any(|known| agent == Some(known.as_str()))
        })
    }

    /// Who logged in; nobody where the dashboard is open to everybody.
    pub(super) fn viewer(&self) -> Option<ViewerName> {
        match &self.guest {
            Guest::Viewer(name, _) => Some(name.clone()),
            Guest::Anybody => None,
        }
    }

    /// Seconds after which the page is to be loaded anew.
    pub(super) fn refresh(&self) -> Option<&str> {
        self.filter.along.get(filter::REFRESH).map(String::as_str)
    }

    /// How the page is to look.
    pub(super) fn theme(&self) -> Theme {
        self.theme
    }
}

impl FromRequestParts<Dashboard> for Visit {
    type Rejection = Response;

    async fn from_request_parts(
        parts: &mut Parts,
        dashboard: &Dashboard,
    ) -> Result<Self, Self::Rejection> {
        let uri = parts.extensions.get::<OriginalUri>();
        let path = uri.map_or(BASE, |uri| uri.path()).to_owned();
        // Whoever is not known never comes here; `login::guard` says who it is.
        let guest = parts.extensions.get::<Guest>().cloned();
        let Some(guest) = guest else {
            return Err(Failure::Astray.into_response());
        };
        let permissions = dashboard.permissions();
        let query = parts.uri.query().unwrap_or_default();
        let read = filter::read(query, permissions.zone());
        if read.has_blanks && read.ignored.is_empty() {
            let tidy = format!("{path}{}", read.filter);
            return Err(Redirect::to(&tidy).into_response());
        }
        let only = only(&guest, &permissions);
        let filter = match &only {
            None => read.filter.clone(),
            Some(only) => {
                let narrowed = scope::narrowed(&read.filter, only);
                narrowed.ok_or_else(|| Failure::NotTheirs.into_response())?
            }
        };
        Ok(Self {
            zone: read.zone().unwrap_or_else(|| permissions.zone().clone()),
            guest,
            now: dashboard.clock.now(),
            path,
            filter,
            only,
            ignored: read.ignored,
            theme: Theme::of(&parts.headers),
            dashboard: dashboard.clone(),
            permissions,
        })
    }
}

/// The agents whose calls alone somebody may see, by the rules in force.
pub(super) fn only(guest: &Guest, permissions: &Permissions) -> Option<Only> {
    let Guest::Viewer(name, _) = guest else {
        return None;
    };
    permissions.viewers().get(name)?.agents.clone()
}

/// Reads for as long as a page may take; all of it is of one instant.
pub(super) async fn reading<T>(
    visit: &Visit,
    read: impl AsyncFnOnce(&mut PageReader) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let _turn = visit.dashboard.turn().await?;
    super::within(async {
        let mut db = visit.dashboard.readers.snapshot().await?;
        read(&mut db).await
    })
    .await
}
