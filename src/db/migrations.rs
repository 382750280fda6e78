//! The schema, step by step.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// The migrations, oldest first. What shipped is never edited.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (
        1,
        "ledger and log",
        include_str!("../../migrations/0001_ledger_and_log.sql"),
    ),
    (
        2,
        "refusals that repeat",
        include_str!("../../migrations/0002_refusals_that_repeat.sql"),
    ),
    (
        3,
        "windows that roll",
        include_str!("../../migrations/0003_windows_that_roll.sql"),
    ),
    (
        4,
        "checkpoints",
        include_str!("../../migrations/0004_checkpoints.sql"),
    ),
    (
        5,
        "units and kept holds",
        include_str!("../../migrations/0005_units_and_kept_holds.sql"),
    ),
    (
        6,
        "bodies",
        include_str!("../../migrations/0006_bodies.sql"),
    ),
    (
        7,
        "lookups and rollups",
        include_str!("../../migrations/0007_lookups_and_rollups.sql"),
    ),
    (
        8,
        "pruned",
        include_str!("../../migrations/0008_pruned.sql"),
    ),
    (
        9,
        "keys of calls",
        include_str!("../../migrations/0009_keys_of_calls.sql"),
    ),
    (
        10,
        "refunds",
        include_str!("../../migrations/0010_refunds.sql"),
    ),
    (
        11,
        "definitions",
        include_str!("../../migrations/0011_definitions.sql"),
    ),
    (
        12,
        "coarse sums",
        include_str!("../../migrations/0012_coarse_sums.sql"),
    ),
    (
        13,
        "looks and rules",
        include_str!("../../migrations/0013_looks_and_rules.sql"),
    ),
    (
        14,
        "rare events",
        include_str!("../../migrations/0014_rare_events.sql"),
    ),
    (
        15,
        "events of the gateway",
        include_str!("../../migrations/0015_events_of_the_gateway.sql"),
    ),
    (
        16,
        "events of the gateway again",
        include_str!("../../migrations/0016_events_of_the_gateway_again.sql"),
    ),
    (
        17,
        "definitions of tools",
        include_str!("../../migrations/0017_definitions_of_tools.sql"),
    ),
    (
        18,
        "packed days",
        include_str!("../../migrations/0018_packed_days.sql"),
    ),
    (
        19,
        "lookups by row",
        include_str!("../../migrations/0019_lookups_by_row.sql"),
    ),
];

pub(super) fn migrator() -> Migrator {
    let all = MIGRATIONS.iter().map(|(version, name, text)| {
        let (kind, name) = (MigrationType::Simple, (*name).into());
        Migration::new(*version, name, kind, text.into_sql_str(), false)
    });
    Migrator::with_migrations(all.collect())
}
