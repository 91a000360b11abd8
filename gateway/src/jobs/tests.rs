//! Bounds, and cancelling, where nothing runs before it is waited for.

use std::{path::Path, time::Duration};

use hookweir_store::{Options, SqliteFile};
use tempfile::TempDir;

use super::*;
use crate::{
    config::{Config, Surroundings},
    live::Live,
};

struct Bed {
    jobs: Jobs,
    _folder: TempDir,
}

impl Bed {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = SqliteFile::new(folder.path().join("data/hookweir.db"));
        let options = Options::new(file, [1; 16], Clock::system());
        let store = Store::open(options).await.unwrap();
        let around = Surroundings { env: &|_| None, file: &|_| Ok(String::new()) };
        let config = Config::parse("", Path::new(""), &around).unwrap();
        let live = Live::new(Arc::new(config), [], BTreeMap::new());
        let board = Arc::new(Board::from_pointee(live));
        let drawn = (Clock::system(), Chance::system());
        Self { jobs: Jobs::new(store, board, drawn, Spawner::here()), _folder: folder }
    }

    fn begin(&self) -> Result<Arc<Job>, NotBegun> {
        self.jobs.begin(Order {
            work: Work::Mend(Mend::Retry),
            filter: Filter::default(),
            dry_run: false,
            by: "anna".to_owned(),
            asked: BTreeMap::new(),
        })
    }

    /// Lets a job come to its end.
    async fn over(&self, job: &Job) -> Progress {
        while !job.progress().stage.is_over() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        job.progress()
    }
}

#[tokio::test]
async fn few_run_at_a_time_and_one_is_cancelled_before_it_does_anything() {
    let bed = Bed::new().await;
    let running: Vec<_> = (0..RUNNING_MAX).map(|_| bed.begin().unwrap()).collect();
    assert_eq!(bed.begin().unwrap_err(), NotBegun::TooMany);
    assert!(bed.jobs.cancel("nobody").is_none());
    bed.jobs.cancel(&running[0].id).unwrap();
    assert_eq!(bed.over(&running[0]).await.stage, Stage::Cancelled);
    for job in &running[1..] {
        let progress = bed.over(job).await;
        assert_eq!((progress.stage, progress.left()), (Stage::Done, 0));
        assert!(progress.ended_at.is_some());
    }
    bed.jobs.cancel(&running[1].id).unwrap();
    assert_eq!(running[1].progress().stage, Stage::Done, "what is over stays so");
    bed.jobs.close();
    assert_eq!(bed.begin().unwrap_err(), NotBegun::ShuttingDown);
}

#[tokio::test]
async fn the_last_that_ended_are_remembered_the_newest_first() {
    let bed = Bed::new().await;
    let mut ids = Vec::new();
    for _ in 0..ENDED_MAX + 5 {
        let job = bed.begin().unwrap();
        bed.over(&job).await;
        ids.push(job.id.clone());
    }
    let last = bed.begin().unwrap();
    let known: Vec<_> = bed.jobs.all().iter().map(|job| job.id.clone()).collect();
    assert_eq!(known.len(), ENDED_MAX + 1);
    assert_eq!((&known[0], &known[1]), (&last.id, ids.last().unwrap()));
    assert!(bed.jobs.find(&ids[0]).is_none());
}
