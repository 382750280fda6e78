//! `budgets`: every budget that can count an agent's calls, with its figures. Of one that others draw on, too, it
//! tells how much was used, never by whom.

use serde_json::{Value, json};

use crate::budget::{Standing, keys_beginning};
use crate::policy::{Charge, Drawn, Each, Pattern, budgets_of};
use crate::types::{BudgetKey, Zone};

use super::super::figures;
use super::super::stages::Caller;
use super::super::writer::Budgets;
use super::{BuiltIn, Told};

/// Tools that one budget names of those it counts apart: the ones that were counted first last.
const TOOLS_OF_BUDGET: i64 = 50;

/// One line of the answer: a budget, and the tool where it counts each for itself.
struct Line<'a> {
    drawn: &'a Drawn,
    tool: Option<String>,
}

impl BuiltIn {
    /// What the tool says.
    pub(super) async fn budgets(&self, caller: &Caller) -> Told {
        let permissions = &caller.permissions;
        let drawn = budgets_of(permissions, &caller.agent, self.clock.now());
        let mut lines = Vec::new();
        let mut charges = Vec::new();
        for drawn in &drawn {
            for tool in self.counted_tools(drawn).await? {
                charges.push(charge_of(drawn, &tool));
                let tool = Some(tool);
                lines.push(Line { drawn, tool });
            }
            // Where each tool has a count of its own, this is how one stands that was never called.
            charges.push(drawn.charge.clone());
            lines.push(Line { drawn, tool: None });
        }
        let zone = permissions.zone().clone();
        let asked = Budgets { charges, zone };
        let standings = self.recorder.look(asked).await;
        let standings =
            standings.ok_or("the ledger cannot be read now; try again in a few seconds")?;
        let zone = permissions.zone();
        let each = lines.iter().zip(&standings);
        let told: Value = each
            .map(|(line, standing)| line.tell(standing, zone))
            .collect();
        Ok(json!({"budgets": told}))
    }

    /// The tools that a budget which counts each for itself has counted so far.
    async fn counted_tools(&self, drawn: &Drawn) -> Result<Vec<String>, String> {
        if !drawn.is_by_tool() {
            return Ok(Vec::new());
        }
        let beginning = drawn.charge.key.as_str();
        let keys = self
            .look(async |db| keys_beginning(db, beginning, TOOLS_OF_BUDGET).await)
            .await?;
        let tools = keys.iter().filter_map(|key| {
            let tool = key.as_str().strip_prefix(beginning)?;
            Some(tool.to_owned())
        });
        Ok(tools.collect())
    }
}

fn charge_of(drawn: &Drawn, tool: &str) -> Charge {
    let key = format!("{}{tool}", drawn.charge.key);
    Charge {
        key: BudgetKey::new(&key),
        ..drawn.charge.clone()
    }
}

impl Line<'_> {
    fn tell(&self, standing: &Standing, zone: &Zone) -> Value {
        let mut told = figures::entry(standing, zone);
        if !self.drawn.tools.is_empty() {
            let tools = self.drawn.tools.iter().map(Pattern::as_str);
            told.insert("tools".into(), tools.collect());
        }
        let each = match self.drawn.each {
            Each::Shared => None,
            Each::Agent => Some("agent"),
            Each::Tool => Some("tool"),
            Each::AgentAndTool => Some("agent+tool"),
        };
        if let Some(each) = each {
            told.insert("each".into(), each.into());
        }
        if let Some(tool) = &self.tool {
            told.insert("tool".into(), tool.as_str().into());
        }
        told.insert("shared".into(), self.drawn.is_shared.into());
        told.into()
    }
}
