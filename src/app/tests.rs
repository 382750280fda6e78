use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::*;
use crate::audit::verify;
use crate::clock::ManualClock;
use crate::config;
use crate::types::{Timestamp, TokenHash};

const TOKEN: &str = "hwd_the_secret_token_of_clawd";

async fn running(folder: &std::path::Path, url: &str) -> Running {
    let hash = TokenHash::of(TOKEN).to_policy_form();
    let policy = format!(
        "servers: {{silent: {{url: \"{url}\", budgets: [2/day]}}}}
agents: {{clawd: {{token_hash: \"{hash}\", servers: [\"*\"]}}}}"
    );
    let settings = Settings {
        policy: config::parse("permissions.yaml", &policy, &|_| None).unwrap(),
        db: folder.join("hayward.db"),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        durability: Durability::Process,
        access: Access::Viewers,
        guard: Guard::default(),
        limits: Limits {
            drain: Duration::from_millis(50),
            ..Limits::default()
        },
        environment: BTreeMap::new(),
        clock: Arc::new(ManualClock::at(Timestamp::from_micros(
            1_795_172_400_000_000,
        ))),
    };
    start(settings).await.unwrap()
}

async fn events(running: &Running) -> Vec<String> {
    sqlx::query_scalar("SELECT kind FROM event ORDER BY seq")
        .fetch_all(running.readers.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn the_end_is_in_order_though_a_call_and_a_client_would_never_end() {
    let folder = tempfile::tempdir().unwrap();
    // Connections to it are made by the system; nobody ever takes one.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", silent.local_addr().unwrap());
    let running = running(folder.path(), &url).await;

    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"imagine"}}"#;
    let mut agent = TcpStream::connect(running.address).await.unwrap();
    let head = format!(
        "POST /mcp/silent HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n\
         content-length: {}\r\n\r\n{call}",
        call.len()
    );
    agent.write_all(head.as_bytes()).await.unwrap();
    let mut half = TcpStream::connect(running.address).await.unwrap();
    half.write_all(b"POST /mcp HTTP/1.1\r\nho").await.unwrap();
    while events(&running).await.len() < 3 {
        tokio::task::yield_now().await;
    }
    running.stop.cancel();
    running.gateway.drain(Duration::from_millis(50)).await;
    let head = running.stop().await.unwrap();

    let readers = Readers::open(&folder.path().join("hayward.db"))
        .await
        .unwrap();
    let log = verify(&readers, Some(head.hash), |_| ()).await.unwrap();
    assert_eq!((log.faults, log.open_calls), (Vec::new(), 0));
    let ends: Vec<String> = sqlx::query_scalar("SELECT meta FROM event WHERE seq > 3 ORDER BY seq")
        .fetch_all(readers.pool())
        .await
        .unwrap();
    assert_eq!(ends.len(), 2, "{ends:?}");
    assert!(ends[0].contains(r#""kind":"failed""#), "{ends:?}");
    assert!(
        ends[0].contains(r#""outcome":"gateway_stopped""#),
        "{ends:?}"
    );
    assert!(ends[1].contains(r#""kind":"stopped""#), "{ends:?}");
}
