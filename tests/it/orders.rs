//! Orders of an operator to a gateway whose clock the test moves: refunds in every kind of window, and freezes lifted.

use std::time::Duration;

use hayward::app::socket;
use hayward::gateway::{Order, Outcome};
use serde_json::{Value, json};

use super::support::{Event, World, find};

/// Says whether the call was let through.
async fn call(world: &World, tool: &str, arguments: Value) -> bool {
    let answer = world.agent("clawd").call(tool, arguments).await;
    answer["result"]["_meta"]["dev.hayward/refusal"].is_null()
}

async fn order(world: &World, order: Order) -> Result<Outcome, String> {
    let answered = socket::ask(world.file(), "somebody", &order).await;
    answered.unwrap().expect("the gateway listens")
}

/// Refunds the call that was closed as number so many.
async fn refund(world: &World, number: usize) -> Result<Vec<(String, i64, u64)>, String> {
    let events = world.events().await;
    let closed = find(&events, "settled");
    let closed = closed.iter().filter(|event| event.meta["tool"].is_string());
    let closed: Vec<&&Event> = closed.collect();
    let call = closed[number].text("call").parse().unwrap();
    let why = "a test".to_owned();
    let done = order(world, Order::Refund { call, why }).await?;
    let Outcome::Refunded { budgets, .. } = done else {
        panic!("no refund: {done:?}");
    };
    Ok(budgets
        .into_iter()
        .map(|one| (one.key, one.window, one.refunded))
        .collect())
}

#[tokio::test]
async fn a_refund_lands_in_the_window_the_call_was_counted_in() {
    let mut world = World::small("budgets: [2/day, 3/week]").await;
    assert!(call(&world, "imagine", json!({})).await);
    assert!(call(&world, "imagine", json!({})).await);
    world.set_clock(Duration::ZERO, "2026-11-21T12:00:00Z");
    assert!(call(&world, "imagine", json!({})).await);
    assert!(
        !call(&world, "imagine", json!({})).await,
        "the week is full"
    );
    // Of yesterday: it makes room in the week and none in today.
    let given = refund(&world, 0).await.unwrap();
    assert_eq!(given.len(), 2, "{given:?}");
    assert_eq!(world.used("servers.images calls/day").await, 1);
    assert!(call(&world, "imagine", json!({})).await);
    assert!(!call(&world, "imagine", json!({})).await, "the day is full");
    // Also of a window that nobody has in memory any more.
    world.set_clock(Duration::ZERO, "2026-12-24T12:00:00Z");
    world
        .restart(&World::small_policy("budgets: [2/day, 3/week]"))
        .await;
    assert_eq!(refund(&world, 1).await.unwrap().len(), 2);
    assert!(
        refund(&world, 1)
            .await
            .unwrap_err()
            .contains("refunded before")
    );
    for _ in 0..2 {
        assert!(call(&world, "imagine", json!({})).await);
    }
    assert!(!call(&world, "imagine", json!({})).await);
    assert_eq!(world.server("images").calls(), 6);
    world.stop().await;
}

#[tokio::test]
async fn a_refund_makes_room_in_a_rolling_and_in_a_total_budget() {
    let world = World::small("budgets: [2/24h, 5 total]").await;
    for _ in 0..2 {
        assert!(call(&world, "imagine", json!({})).await);
    }
    assert!(!call(&world, "imagine", json!({})).await);
    refund(&world, 1).await.unwrap();
    assert!(call(&world, "imagine", json!({})).await);
    assert!(!call(&world, "imagine", json!({})).await);
    // What counts no more is given back where it was counted, and makes no room twice.
    world.set_clock(Duration::ZERO, "2026-11-22T12:00:00Z");
    refund(&world, 0).await.unwrap();
    for _ in 0..2 {
        assert!(call(&world, "imagine", json!({})).await);
    }
    assert!(!call(&world, "imagine", json!({})).await);
    world.set_clock(Duration::ZERO, "2026-11-24T12:00:00Z");
    // One of the first three, and two: two of five are left.
    for _ in 0..2 {
        assert!(call(&world, "imagine", json!({})).await);
    }
    assert!(!call(&world, "imagine", json!({})).await);
    world.stop().await;
}

#[tokio::test]
async fn a_frozen_budget_can_be_used_again_after_it_was_unfrozen() {
    let reported = r#"costs: {"*": {cost_from: result./structuredContent/usd, max_cost: 0.5}}, cost_unit: USD,
        budgets: [2 USD/day]"#;
    let mut world = World::small(reported).await;
    let unfreeze = |key: &str| {
        let (key, why) = (key.to_owned(), "paid by hand".to_owned());
        order(&world, Order::Unfreeze { key, why })
    };
    let key = "servers.images USD/day@UTC";
    assert!(call(&world, "imagine", json!({"usd": 0.1})).await);
    assert!(unfreeze(key).await.unwrap_err().contains("not frozen"));
    assert!(
        unfreeze("servers.images")
            .await
            .unwrap_err()
            .contains("no budget")
    );
    assert!(call(&world, "imagine", json!({"usd": 0.75})).await);
    assert!(!call(&world, "imagine", json!({"usd": 0})).await);
    let done = unfreeze(key).await.unwrap();
    let Outcome::Unfrozen {
        windows, overrun, ..
    } = done
    else {
        panic!("not unfrozen: {done:?}");
    };
    assert_eq!((windows, overrun), (1, 250_000));
    assert!(call(&world, "imagine", json!({"usd": 0.2})).await);
    // A refund gives back what was charged, in the unit of the budget, and nothing of the overrun.
    let given = refund(&world, 1).await.unwrap();
    assert_eq!(given[0].2, 500_000);
    world.restart(&World::small_policy(reported)).await;
    assert!(call(&world, "imagine", json!({"usd": 0})).await);
    assert_eq!(world.used("servers.images USD/day").await, 300_000);
    world.stop().await;
}

#[tokio::test]
async fn a_clock_that_jumped_ahead_is_followed_once_that_is_accepted() {
    let world = World::small("budgets: [1/day]").await;
    let accept = || {
        order(
            &world,
            Order::AcceptTime {
                why: "it was slow".into(),
            },
        )
    };
    assert!(call(&world, "imagine", json!({})).await);
    assert!(accept().await.unwrap_err().contains("nothing to accept"));
    world.clock().jump(Duration::from_secs(86_400));
    assert!(
        !call(&world, "imagine", json!({})).await,
        "no window inside the jump"
    );
    let done = accept().await.unwrap();
    assert!(matches!(done, Outcome::TimeAccepted { .. }), "{done:?}");
    assert!(call(&world, "imagine", json!({})).await);
    let events = world.events().await;
    let said: Vec<&str> = find(&events, "clock")
        .iter()
        .map(|event| event.text("clock"))
        .collect();
    assert_eq!(said, ["suspect", "accepted"]);
    world.stop().await;
}
