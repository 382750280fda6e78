//! The statements that add to the coarse sums.

use super::Table;
use crate::audit::rollups::{NEW_REFUSALS, NEW_SUMS};

/// The statement of a table.
pub(super) fn of(table: Table) -> &'static str {
    match table {
        Table::AllQuarter => ALL_QUARTER,
        Table::AgentHour => AGENT_HOUR,
        Table::ToolHour => TOOL_HOUR,
        Table::AgentDay => AGENT_DAY,
        Table::ToolDay => TOOL_DAY,
        Table::PairDay => PAIR_DAY,
        Table::RefusalDay => REFUSAL_DAY,
        Table::SpendQuarter => SPEND_QUARTER,
        Table::SpendDay => SPEND_DAY,
        Table::Rollup => NEW_SUMS,
        Table::RollupRefusal => NEW_REFUSALS,
    }
}

const ALL_QUARTER: &str = "INSERT INTO all_quarter (quarter_us, admitted, refused, ok, errors, failed, released, abandoned, latency_us)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (quarter_us) DO UPDATE SET
        admitted = admitted + excluded.admitted, refused = refused + excluded.refused, ok = ok + excluded.ok, errors
        = errors + excluded.errors, failed = failed + excluded.failed, released = released + excluded.released,
        abandoned = abandoned + excluded.abandoned, latency_us = latency_us + excluded.latency_us";

const AGENT_HOUR: &str = "INSERT INTO agent_hour (agent_id, hour_us, admitted, refused, ok, errors, failed, released, abandoned, latency_us)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (agent_id, hour_us) DO UPDATE SET
        admitted = admitted + excluded.admitted, refused = refused + excluded.refused, ok = ok + excluded.ok, errors
        = errors + excluded.errors, failed = failed + excluded.failed, released = released + excluded.released,
        abandoned = abandoned + excluded.abandoned, latency_us = latency_us + excluded.latency_us";

const TOOL_HOUR: &str = "INSERT INTO tool_hour (server_id, tool_id, hour_us, admitted, refused, ok, errors, failed, released, abandoned, latency_us)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (server_id, tool_id, hour_us) DO UPDATE SET
        admitted = admitted + excluded.admitted, refused = refused + excluded.refused, ok = ok + excluded.ok, errors
        = errors + excluded.errors, failed = failed + excluded.failed, released = released + excluded.released,
        abandoned = abandoned + excluded.abandoned, latency_us = latency_us + excluded.latency_us";

const AGENT_DAY: &str = "INSERT INTO agent_day (day_us, agent_id, admitted, refused, ok, errors, failed, released, abandoned, latency_us)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (day_us, agent_id) DO UPDATE SET
        admitted = admitted + excluded.admitted, refused = refused + excluded.refused, ok = ok + excluded.ok, errors
        = errors + excluded.errors, failed = failed + excluded.failed, released = released + excluded.released,
        abandoned = abandoned + excluded.abandoned, latency_us = latency_us + excluded.latency_us";

const TOOL_DAY: &str = "INSERT INTO tool_day (day_us, server_id, tool_id, admitted, refused, ok, errors, failed, released, abandoned, latency_us,
        bytes_in, bytes_out, b00, b01, b02, b03, b04, b05, b06, b07, b08, b09, b10, b11, b12, b13, b14, b15, b16,
        b17, b18, b19, b20, b21, b22, b23, b24, b25, b26, b27, b28, b29, b30, b31)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (day_us, server_id, tool_id) DO UPDATE SET
        admitted = admitted + excluded.admitted, refused = refused + excluded.refused, ok = ok + excluded.ok, errors
        = errors + excluded.errors, failed = failed + excluded.failed, released = released + excluded.released,
        abandoned = abandoned + excluded.abandoned, latency_us = latency_us + excluded.latency_us, bytes_in =
        bytes_in + excluded.bytes_in, bytes_out = bytes_out + excluded.bytes_out, b00 = b00 + excluded.b00, b01 =
        b01 + excluded.b01, b02 = b02 + excluded.b02, b03 = b03 + excluded.b03, b04 = b04 + excluded.b04, b05 = b05
        + excluded.b05, b06 = b06 + excluded.b06, b07 = b07 + excluded.b07, b08 = b08 + excluded.b08, b09 = b09 +
        excluded.b09, b10 = b10 + excluded.b10, b11 = b11 + excluded.b11, b12 = b12 + excluded.b12, b13 = b13 +
        excluded.b13, b14 = b14 + excluded.b14, b15 = b15 + excluded.b15, b16 = b16 + excluded.b16, b17 = b17 +
        excluded.b17, b18 = b18 + excluded.b18, b19 = b19 + excluded.b19, b20 = b20 + excluded.b20, b21 = b21 +
        excluded.b21, b22 = b22 + excluded.b22, b23 = b23 + excluded.b23, b24 = b24 + excluded.b24, b25 = b25 +
        excluded.b25, b26 = b26 + excluded.b26, b27 = b27 + excluded.b27, b28 = b28 + excluded.b28, b29 = b29 +
        excluded.b29, b30 = b30 + excluded.b30, b31 = b31 + excluded.b31";

const PAIR_DAY: &str = "INSERT INTO pair_day (day_us, agent_id, server_id, tool_id, admitted, refused, ok, errors, failed, released, abandoned, latency_us)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (day_us, agent_id, server_id, tool_id) DO UPDATE SET
        admitted = admitted + excluded.admitted, refused = refused + excluded.refused, ok = ok + excluded.ok, errors
        = errors + excluded.errors, failed = failed + excluded.failed, released = released + excluded.released,
        abandoned = abandoned + excluded.abandoned, latency_us = latency_us + excluded.latency_us";

const REFUSAL_DAY: &str =
    "INSERT INTO refusal_day (day_us, agent_id, server_id, tool_id, reason, refused)
    VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (day_us, agent_id, server_id, tool_id, reason) DO UPDATE SET
        refused = refused + excluded.refused";

const SPEND_QUARTER: &str =
    "INSERT INTO spend_quarter (quarter_us, agent_id, server_id, tool_id, unit, amount)
    VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (quarter_us, agent_id, server_id, tool_id, unit) DO UPDATE SET
        amount = amount + excluded.amount";

const SPEND_DAY: &str = "INSERT INTO spend_day (day_us, agent_id, server_id, tool_id, unit, amount)
    VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (day_us, agent_id, server_id, tool_id, unit) DO UPDATE SET
        amount = amount + excluded.amount";
