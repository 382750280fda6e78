//! The whole gateway at once: the real program or its real parts, scripted servers, a clock that tests move.

#[cfg(test)]
mod asks;
#[cfg(test)]
mod audit;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod blackbox;
#[cfg(test)]
mod budgets;
#[cfg(test)]
mod built_in;
#[cfg(test)]
mod calls;
#[cfg(test)]
mod capture;
#[cfg(test)]
mod conditions;
#[cfg(test)]
mod costs;
#[cfg(test)]
mod dashboard;
#[cfg(test)]
mod definitions;
#[cfg(test)]
mod eras;
#[cfg(test)]
mod figures;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod isolation;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod messages;
#[cfg(test)]
mod migrations;
#[cfg(test)]
mod orders;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod parked;
#[cfg(test)]
mod places;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod resume;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod subscriptions;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tasks;
#[cfg(test)]
mod windows;
