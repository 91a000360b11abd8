//! Whether another server has what is acknowledged as well: a commit is acknowledged when it is on this one's disk, and on
//! that of a synchronous standby if the server has one. Without, what is acknowledged is lost with its disk.

use std::{
    sync::PoisonError,
    time::{Duration, Instant},
};

use super::{columns::Columns, window::Window};
use crate::{ReadError, Standbys};

/// So long what was seen is said to be so.
const HOLDS: Duration = Duration::from_secs(10);

impl Window {
    /// Which standbys acknowledge, as it was within ten seconds; none if the server does not say, or not to us.
    pub(super) async fn standbys(&self) -> Option<Standbys> {
        if let Some((at, standbys)) =
            *self.seen().standbys.lock().unwrap_or_else(PoisonError::into_inner)
            && at.elapsed() < HOLDS
        {
            return standbys;
        }
        let standbys = match self.look_for_standbys().await {
            Ok(standbys) => standbys,
            Err(error) => {
                tracing::debug!(%error, "the server does not say which standbys it has");
                None
            }
        };
        let mut seen = self.seen().standbys.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = Some((Instant::now(), standbys));
        standbys
    }

    async fn look_for_standbys(&self) -> Result<Option<Standbys>, ReadError> {
        // Whoever has not the role `pg_read_all_stats` sees that there are some, and nothing of them.
        let sql = "SELECT coalesce(current_setting('synchronous_standby_names', true), '') <> ''
                       AND current_setting('synchronous_commit') NOT IN ('off', 'local') AS wanted,
                       count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')) AS synchronous,
                       count(*) FILTER (WHERE sync_state IS NULL) AS hidden
                   FROM pg_stat_replication";
        let Some(row) = self.ask_one(sql, &[]).await? else { return Ok(None) };
        let standbys =
            Standbys { wanted: row.value("wanted")?, synchronous: row.number("synchronous")? };
        Ok((row.number("hidden")? == 0).then_some(standbys))
    }
}

/// Says at the start whether there is a synchronous standby, and then when that changes.
pub(super) async fn watch(window: Window) {
    let mut had = None;
    loop {
        if let Some(standbys) = window.standbys().await {
            let has = standbys.synchronous > 0;
            match news(had, has) {
                Some(News::Without) => tracing::warn!(
                    "no synchronous standby is connected: what is acknowledged is on one server's disk"
                ),
                Some(News::Gone) if standbys.wanted => tracing::warn!(
                    "the last synchronous standby is gone: nothing is acknowledged until there is one"
                ),
                Some(News::Gone) => tracing::warn!(
                    "the last synchronous standby is gone: what is acknowledged is on one server's disk"
                ),
                Some(News::Here) => tracing::info!("a synchronous standby is connected"),
                None => {}
            }
            had = Some(has);
        }
        tokio::time::sleep(HOLDS).await;
    }
}

/// What is to be said of standbys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    /// There was none when it was first looked.
    Without,
    Gone,
    Here,
}

fn news(had: Option<bool>, has: bool) -> Option<News> {
    match (had, has) {
        (None, false) => Some(News::Without),
        (Some(true), false) => Some(News::Gone),
        (Some(false), true) => Some(News::Here),
        (None | Some(true), true) | (Some(false), false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_that_there_is_none_and_when_one_comes_or_the_last_one_goes() {
        let looks = [false, false, true, true, false, false, true];
        let mut had = None;
        let said = looks.map(|has| news(had.replace(has), has));
        let [without, here, gone] = [News::Without, News::Here, News::Gone].map(Some);
        assert_eq!(said, [without, None, here, None, gone, None, here]);
        assert_eq!(news(None, true), None, "all is well");
    }
}
