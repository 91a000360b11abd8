//! `hookweir plugin`: make, build, check and try plugins, and see to those that a gateway runs.

mod approve;
mod build;
mod check;
mod embed;
mod live;
mod new;
mod run;
mod test;
mod trial;
mod watch;

pub(super) use self::build::{build, put};
use super::{
    Exit,
    operator::Common,
    source::{self, PauseArgs, ResumeArgs},
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a new plugin's project, ready to test and build.
    New(new::Args),
    /// Build plugins: crates, and projects of JavaScript and Python.
    Build(build::Args),
    /// Say what a file is, what it wants, and whether it would load under the config's grants.
    Check(check::Args),
    /// Run one event through a module, here, and show what it does: outputs, state, requests, log, cost.
    Run(run::Args),
    /// Run the sample events beside a module or in a package, and see that each comes to what it says.
    Test(test::Args),
    /// Put what a plugin wants into a component that another toolchain made; `build` does it by itself.
    Embed(embed::Args),
    /// List the running gateway's plugins: which version serves, what is wrong with the file that is there,
    /// what became of attempts.
    List(Common),
    /// Serve the last good version before the live one, or the one named. The one it leaves does not come
    /// back until it is approved or its file has other bytes.
    Rollback(live::Which),
    /// Hold the live version, or the one named: other files are noticed and not taken.
    Pin(live::PinArgs),
    /// Let a version be tried again that was turned away, show what one wants that waits for a grant, and
    /// close the breaker.
    Approve(approve::Args),
    /// Let a plugin's deliveries wait until it is resumed, over restarts too. Attempts that run go on.
    Pause(PauseArgs),
    /// Let a plugin's deliveries go on, as fast as its limits allow.
    Resume(ResumeArgs),
}

pub(super) fn run(command: Command) -> Exit {
    match command {
        Command::New(args) => new::run(&args),
        Command::Build(args) => build::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Embed(args) => embed::run(&args),
        Command::List(common) => live::list(&common),
        Command::Rollback(which) => live::rollback(&which),
        Command::Pin(args) => live::pin(&args),
        Command::Approve(args) => approve::run(&args),
        Command::Pause(args) => source::pause("plugins", &args),
        Command::Resume(which) => source::resume("plugins", &which),
    }
}
