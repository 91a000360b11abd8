//! The systems outside that the plugins speak to, each played by a stand-in.

use http::StatusCode;

use super::{stand_in::StandIn, story::Story};
use crate::tasks::{Stopper, Tasks};

/// All of them. They run as long as this is there.
pub(super) struct Outside {
    pub(super) accounts: StandIn,
    pub(super) mail: StandIn,
    pub(super) builds: StandIn,
    pub(super) board: StandIn,
    pub(super) chat: StandIn,
    pub(super) fulfilment: StandIn,
    pub(super) bookkeeping: StandIn,
    pub(super) warehouse: StandIn,
    /// Without it they would stop.
    _stopper: Stopper,
    _tasks: Tasks,
}

impl Outside {
    /// Opens all, on this machine alone.
    pub(super) async fn open() -> Result<Self, String> {
        let (stopper, stop) = Stopper::new();
        let mut tasks = Tasks::default();
        let mut open =
            async |what, status| StandIn::open(what, status, &mut tasks, stop.clone()).await;
        Ok(Self {
            accounts: open("the account server", StatusCode::CREATED).await?,
            mail: open("the mail server", StatusCode::ACCEPTED).await?,
            builds: open("the build server", StatusCode::CREATED).await?,
            board: open("the board", StatusCode::OK).await?,
            chat: open("the team's chat", StatusCode::OK).await?,
            fulfilment: open("the fulfilment service", StatusCode::OK).await?,
            bookkeeping: open("the bookkeeping", StatusCode::OK).await?,
            warehouse: open("the warehouse", StatusCode::CREATED).await?,
            _stopper: stopper,
            _tasks: tasks,
        })
    }

    /// Those that a story has.
    pub(super) fn of(&self, story: Story) -> Vec<&StandIn> {
        match story {
            Story::Day => vec![
                &self.accounts,
                &self.mail,
                &self.builds,
                &self.board,
                &self.chat,
                &self.fulfilment,
                &self.bookkeeping,
            ],
            Story::Incident => vec![&self.warehouse, &self.chat],
        }
    }
}
