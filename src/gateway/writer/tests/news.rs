//! Whoever watches hears of what is durable, and of nothing else.

use super::*;

/// The last event in the file.
async fn last(file: &Path) -> i64 {
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let last = sqlx::query_scalar("SELECT max(seq) FROM event");
    let last = last.fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    last
}

#[tokio::test]
async fn news_are_there_when_a_call_is_recorded_and_never_ahead_of_the_file() {
    let desk = Desk::open().await;
    let mut news = desk.news.clone();
    assert_eq!(*news.borrow_and_update(), 1, "that it started");
    let open = desk.admit(1).await.unwrap();
    assert!(news.has_changed().unwrap());
    let told = *news.borrow_and_update();
    assert_eq!((told, last(&desk.file("log.db")).await), (2, 2));
    // A file that is gone takes the commit, and nobody will ever read it there.
    let names = ["log.db", "log.db-wal", "log.db-shm"];
    let away = desk.folder.path().join("away");
    std::fs::create_dir(&away).unwrap();
    for name in names {
        std::fs::rename(desk.file(name), away.join(name)).unwrap();
    }
    assert!(desk.admit(2).await.is_err());
    assert_eq!(*news.borrow_and_update(), told);
    for name in names {
        std::fs::rename(away.join(name), desk.file(name)).unwrap();
    }
    desk.until_recording().await;
    open.close(failed(1), Ending::Unclear).await;
    let told = *news.borrow_and_update();
    assert_eq!(told, last(&desk.file("log.db")).await);
    let (folder, head) = desk.close().await;
    assert_eq!(*news.borrow_and_update(), head.seq);
    assert_eq!(last(&folder.path().join("log.db")).await, head.seq);
    assert!(news.changed().await.is_err(), "the end of the writer");
}
