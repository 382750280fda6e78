//! What a gateway under load does when its disk hangs, fails, is full, or holds another file: it lets nothing through
//! that is not recorded, says so, and goes on by itself once the disk does.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::timeout;

use super::gateway::{PATIENCE, Site};
use super::load::Load;
use super::records::Records;
use super::small_disk::SmallDisk;
use super::truth::Truth;

/// A disk that obeys; see `disk.c`.
struct Disk {
    folder: TempDir,
}

impl Disk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/blackbox/disk.c");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", source, "-o"])
            .arg(folder.path().join("disk.so"))
            .status();
        assert!(compiled.expect("there is a C compiler").success());
        Self { folder }
    }

    fn orders(&self) -> PathBuf {
        self.folder.path().join("fault")
    }

    fn order(&self, word: &str) {
        // Whole at once: half a word is none.
        let draft = self.folder.path().join("draft");
        std::fs::write(&draft, word).unwrap();
        std::fs::rename(draft, self.orders()).unwrap();
    }

    /// Waits until a word was obeyed that is for one time only.
    async fn until_obeyed(&self) {
        let obeyed = async {
            while self.orders().exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = timeout(PATIENCE, obeyed).await;
        waited.expect("something is made durable");
    }

    fn relent(&self) {
        std::fs::remove_file(self.orders()).unwrap();
    }

    /// A gateway on this disk, under load.
    async fn load(&self) -> Load {
        let truth = Truth::start().await;
        let site = Site::new(&Load::rules(&truth));
        let library = self.folder.path().join("disk.so");
        let variables = [
            ("LD_PRELOAD", library.to_str().unwrap()),
            ("FAULT", self.orders().to_str().unwrap()),
        ]
        .map(|(name, value)| (name, value.to_owned()));
        let variables: Vec<(&str, &str)> = variables
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        Load::start(site, truth, &variables).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_hangs_is_a_disk_that_fails_until_it_goes_on() {
    let disk = Disk::new();
    let load = disk.load().await;
    for _ in 0..2 {
        disk.order("hang");
        load.nothing_passes_unrecorded(None).await;
        disk.relent();
        load.until_health(200).await;
        load.until_done(50).await;
    }
    load.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_fsync_fails_lets_nobody_through() {
    let disk = Disk::new();
    let mut load = disk.load().await;
    for _ in 0..8 {
        disk.order("fail");
        disk.until_obeyed().await;
        load.until_done(20).await;
    }
    load.gateway.line("the log cannot be written").await;
    load.gateway.line("the log can be written again").await;
    load.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_became_read_only_takes_calls_again_when_it_can_be_written() {
    let disk = Disk::new();
    let load = disk.load().await;
    disk.order("read-only");
    load.nothing_passes_unrecorded(None).await;
    disk.relent();
    load.until_health(200).await;
    load.until_done(50).await;
    load.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_lets_nothing_through_and_room_is_all_it_takes() {
    let truth = Truth::start().await;
    let (disk, site) = SmallDisk::new(&Load::rules(&truth)).await;
    let load = Load::start(site, truth, &[]).await;
    disk.fill(&load).await;
    load.nothing_passes_unrecorded(None).await;
    disk.make_room(&load);
    load.until_health(200).await;
    load.until_done(50).await;
    load.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_nearly_full_takes_the_ends_of_calls_and_no_new_ones() {
    let truth = Truth::start().await;
    let (disk, site) = SmallDisk::new(&Load::rules(&truth)).await;
    let load = Load::start(site, Arc::clone(&truth), &[]).await;
    let (agent, url) = (load.agent.clone(), load.gateway.url());
    let arguments = serde_json::json!({"tag": "long"});
    let waiting = tokio::spawn(async move { agent.call(&url, "truth", "wait", arguments).await });
    truth.executed("long").await;
    // A thirty-second of 16 MiB is the floor.
    if !disk.fill_but(&load.site, 400 * 1024) {
        truth.let_go();
        assert!(waiting.await.unwrap().unwrap().is_done("long"));
        eprintln!("no disk can be filled here: nothing is shown of a floor");
        return load.finish().await;
    }
    load.nothing_passes_unrecorded(None).await;
    truth.let_go();
    let answer = waiting.await.unwrap().expect("it answers");
    assert!(answer.is_done("long"), "{answer:?}");
    // Its end is written, with as little room as before.
    load.until_health(503).await;
    let records = Records::read(&load.log().await).await;
    let calls = records.calls();
    let long = calls
        .values()
        .find(|call| call.opening.meta["tool"] == "wait")
        .unwrap();
    assert_eq!(long.closings, ["settled"]);
    disk.make_room(&load);
    load.until_health(200).await;
    load.until_done(50).await;
    load.finish().await;
}

/// The files of a database.
const FILES: [&str; 3] = ["hayward.db", "hayward.db-wal", "hayward.db-shm"];

fn put(site: &Site, from: &str, to: &str) {
    std::fs::create_dir_all(site.path(to)).unwrap();
    for name in FILES {
        let (from, to) = (site.path(from).join(name), site.path(to).join(name));
        if from.exists() {
            std::fs::rename(from, to).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_taken_away_or_replaced_stops_all_calls_until_it_is_back() {
    let truth = Truth::start().await;
    let load = Load::start(Site::new(&Load::rules(&truth)), truth, &[]).await;
    let site = &load.site;
    put(site, ".", "away");
    let away = site.path("away").join("hayward.db");
    load.nothing_passes_unrecorded(Some(&away)).await;
    // Another log in its place, with the very rules of this one.
    let other = Site::new(&std::fs::read_to_string(site.path("permissions.yaml")).unwrap());
    let stranger = other.serve(&[]).await;
    stranger.stop().await.says(0, &[]);
    std::fs::copy(other.db(), site.db()).unwrap();
    load.until_refused(100).await;
    load.until_health(503).await;
    std::fs::remove_file(site.db()).unwrap();
    put(site, "away", ".");
    load.until_health(200).await;
    load.until_done(50).await;
    load.finish().await;
}

#[tokio::test]
async fn a_file_that_is_taken_away_is_missed_before_the_next_call() {
    let truth = Truth::start().await;
    let site = Site::new(&Load::rules(&truth));
    let mut gateway = site.serve(&[]).await;
    put(&site, ".", "away");
    gateway.line("the log cannot be written").await;
    put(&site, "away", ".");
    gateway.line("the log can be written again").await;
    gateway.stop().await.says(0, &["stopped"]);
    let verified = site.run(&["audit", "verify", "--db", "hayward.db"]).await;
    verified.says(0, &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_stands_still_keeps_its_file_and_goes_on_where_it_was() {
    let truth = Truth::start().await;
    let load = Load::start(Site::new(&Load::rules(&truth)), truth, &[]).await;
    load.gateway.signal("STOP").await;
    let second = load.site.serve_in_vain(&[]).await;
    second.says(4, &["in use by another gateway"]);
    load.gateway.signal("CONT").await;
    load.until_done(50).await;
    load.until_health(200).await;
    load.finish().await;
}
