//! Each migration on a file that holds something, and the file that comes of them all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hayward::audit::verify;
use hayward::db::{self, Durability, Readers};
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

/// The migrations, by file name.
fn migrations() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let files = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

/// What a file held before the next migration came, written by the version of its time.
fn sample(migration: &Path) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/data/migrations")
        .join(migration.file_name().unwrap())
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

async fn open(file: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .foreign_keys(true);
    SqliteConnection::connect_with(&options).await.unwrap()
}

/// Every table, index and trigger with its text.
async fn schema(connection: &mut SqliteConnection) -> BTreeMap<String, String> {
    let all = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE '\\_sqlx%' ESCAPE '\\'";
    let all: Vec<(String, String)> = sqlx::query_as(all).fetch_all(connection).await.unwrap();
    all.into_iter().collect()
}

#[tokio::test]
async fn a_file_of_any_age_becomes_what_a_new_one_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("old.db");
    let mut connection = open(&file).await;
    for migration in migrations() {
        for text in [read(&migration), read(&sample(&migration))] {
            let text = sqlx::AssertSqlSafe(text);
            sqlx::raw_sql(text).execute(&mut connection).await.unwrap();
        }
        let broken: Vec<(String,)> =
            sqlx::query_as("SELECT \"table\" FROM pragma_foreign_key_check")
                .fetch_all(&mut connection)
                .await
                .unwrap();
        assert!(broken.is_empty(), "{}: {broken:?}", migration.display());
    }
    let grown = schema(&mut connection).await;
    for table in grown
        .iter()
        .filter(|(_, sql)| sql.starts_with("CREATE TABLE"))
    {
        let count = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {}", table.0));
        let rows: i64 = sqlx::query_scalar(count)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert!(rows > 0, "the samples leave `{}` empty", table.0);
    }
    connection.close().await.unwrap();

    let fresh = folder.path().join("new.db");
    db::open(&fresh, Durability::Process)
        .await
        .unwrap()
        .close()
        .await
        .unwrap();
    let mut connection = open(&fresh).await;
    assert_eq!(schema(&mut connection).await, grown);
    connection.close().await.unwrap();

    // What an earlier version wrote down is still what it wrote down.
    let readers = Readers::open(&file).await.unwrap();
    let verified = verify(&readers, None, |_| ()).await.unwrap();
    readers.close().await;
    assert_eq!(verified.faults, []);
    assert!(verified.head.seq > 0);
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hayward.db");
    db::open(&file, Durability::Process)
        .await
        .unwrap()
        .close()
        .await
        .unwrap();
    let mut connection = open(&file).await;
    let newer =
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
        VALUES (999, 'from the future', 1, x'00', 0)";
    sqlx::query(newer).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let refused = db::open(&file, Durability::Process)
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.starts_with("cannot bring"), "{refused}");
}

#[test]
fn migrations_are_numbered_explained_and_sampled() {
    let mut last = 0;
    for migration in migrations() {
        let name = migration.file_name().unwrap().to_str().unwrap();
        let number: u32 = name.split('_').next().unwrap().parse().unwrap();
        assert!(
            number == last + 1 && name.starts_with(&format!("{number:04}_")),
            "{name}"
        );
        last = number;
        assert!(
            read(&migration).starts_with("-- "),
            "{name} begins with a line that says why"
        );
        assert!(sample(&migration).exists(), "{name} has no sample data");
    }
}

#[test]
fn tables_are_strict_and_nothing_is_thrown_away() {
    for migration in migrations() {
        let text = read(&migration);
        let text: Vec<&str> = text
            .lines()
            .map(|line| line.split("--").next().unwrap())
            .collect();
        let text = text.join("\n");
        for statement in text.split(';').map(str::trim) {
            if statement.starts_with("CREATE TABLE") {
                let rest = statement.rsplit(')').next().unwrap();
                assert!(
                    rest.contains("STRICT"),
                    "{}: {statement}",
                    migration.display()
                );
            }
            // A table that is made anew goes only after all of it was copied.
            let copied = statement
                .strip_prefix("DROP TABLE ")
                .filter(|table| table.ends_with("_before"))
                .is_some_and(|table| text.contains(&format!("FROM {table} ORDER BY")));
            // What follows from the events may be emptied where it is begun anew.
            let begun_anew = statement
                .strip_prefix("DELETE FROM ")
                .is_some_and(|table| ["lookup", "rollup", "rollup_refusal"].contains(&table))
                && text.contains("UPDATE lookup_mark SET seq = 0");
            for word in ["DROP TABLE", "DELETE FROM", "REAL"] {
                assert!(
                    copied || begun_anew || !statement.starts_with(word),
                    "{}: {statement}",
                    migration.display()
                );
            }
            assert!(
                !statement.contains(" REAL"),
                "amounts are whole: {statement}"
            );
        }
    }
}
