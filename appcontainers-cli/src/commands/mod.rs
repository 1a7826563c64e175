//! The commands, one a file: arguments, one library call, what is printed.

mod allow;
mod attach;
mod autostart;
mod base;
mod build;
mod build_args;
mod clone;
mod command_args;
mod completions;
mod deny;
mod df;
mod diff;
mod doctor;
mod down;
mod ends;
mod env_args;
mod events;
mod exec;
mod fetch;
mod file_args;
mod gateway;
mod gc;
mod image;
mod inspect;
mod kill;
mod life_args;
mod limit_args;
mod link;
mod links;
mod load_archive;
mod load_image;
mod logs;
mod ls;
mod man;
mod mount;
mod mount_args;
mod network;
mod outcomes;
mod pause;
mod provision;
mod ps;
mod publish;
mod put;
mod reboot;
mod rename;
mod restart;
mod restore;
mod rm;
mod run;
mod save_image;
mod secret;
mod secret_args;
mod set;
mod settings_args;
mod setup;
mod shell;
mod snapshot;
mod snapshots;
mod spawn;
mod start;
mod startup_command;
mod stats;
mod stop;
mod tail;
mod top;
mod unlink;
mod unmount;
mod unpause;
mod unpublish;
mod up;
mod values;
mod volume;
mod wait;
mod wait_port;
mod zmq_key;
mod zmq_proxy;

use clap::Subcommand;

use crate::{context::Context, exit};

/// What `appc` can do. The order is that of a container's life, and of the help.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Setup(setup::Args),
    Doctor(doctor::Args),
    #[command(subcommand)]
    Base(base::Command),
    Provision(provision::Args),
    LoadArchive(load_archive::Args),
    Run(run::Args),
    Exec(exec::Args),
    Shell(shell::Args),
    Spawn(spawn::Args),
    Ps(ps::Args),
    Kill(kill::Args),
    Wait(wait::Args),
    Attach(attach::Args),
    Logs(logs::Args),
    Put(put::Args),
    Fetch(fetch::Args),
    Tail(tail::Args),
    #[command(subcommand, name = "startup-command")]
    Startup(startup_command::Command),
    #[command(name = "add-startup-command", hide = true)]
    AddStartup(startup_command::Add),
    Start(start::Args),
    Stop(stop::Args),
    Restart(restart::Args),
    Reboot(reboot::Args),
    Pause(pause::Args),
    Unpause(unpause::Args),
    WaitPort(wait_port::Args),
    Autostart(autostart::Args),
    Set(set::Args),
    #[command(subcommand)]
    Secret(secret::Command),
    Mount(mount::Args),
    Unmount(unmount::Args),
    #[command(subcommand)]
    Volume(volume::Command),
    Allow(allow::Args),
    Deny(deny::Args),
    Link(link::Args),
    Unlink(unlink::Args),
    Links(links::Args),
    Publish(publish::Args),
    Unpublish(unpublish::Args),
    #[command(subcommand)]
    Network(network::Command),
    Ls(ls::Args),
    Inspect(inspect::Args),
    Stats(stats::Args),
    Top(top::Args),
    Events(events::Args),
    ZmqProxy(zmq_proxy::Args),
    ZmqKey(zmq_key::Args),
    #[command(subcommand)]
    Gateway(gateway::Command),
    Diff(diff::Args),
    Snapshot(snapshot::Args),
    Snapshots(snapshots::Args),
    Restore(restore::Args),
    Clone(clone::Args),
    Rename(rename::Args),
    Rm(rm::Args),
    Build(build::Args),
    Up(up::Args),
    Down(down::Args),
    SaveImage(save_image::Args),
    LoadImage(load_image::Args),
    #[command(subcommand)]
    Image(image::Command),
    Df(df::Args),
    Gc(gc::Args),
    Completions(completions::Args),
    Man(man::Args),
}

impl Command {
    /// Whether its exit code is that of a command in a container, so that a failure of appc's own must look otherwise.
    pub(crate) fn exits_as_another(&self) -> bool {
        match self {
            Command::Run(_) | Command::Exec(_) | Command::Shell(_) | Command::Spawn(_) | Command::Attach(_) => true,
            Command::Wait(args) => !args.is_for_health(),
            _ => false,
        }
    }

    /// Whether the containers' network is to be whole before it: not for those that say what is wrong with it, or set it up or
    /// take it away, nor for those that have nothing to do with this host.
    pub(crate) fn needs_network(&self) -> bool {
        !matches!(self, Command::Setup(_) | Command::Doctor(_) | Command::Completions(_) | Command::Man(_))
    }

    /// Runs the command; the exit code.
    pub(crate) fn execute(self, context: &Context) -> anyhow::Result<u8> {
        match self {
            Command::Doctor(args) => return args.execute(context),
            Command::Run(args) => return args.execute(context),
            Command::Exec(args) => return args.execute(context),
            Command::Shell(args) => return args.execute(context),
            Command::Wait(args) => return args.execute(context),
            Command::Attach(args) => return args.execute(context),
            Command::Spawn(args) => args.execute(context),
            Command::Ps(args) => args.execute(context),
            Command::Kill(args) => args.execute(context),
            Command::Logs(args) => args.execute(context),
            Command::Setup(args) => args.execute(context),
            Command::Base(command) => command.execute(context),
            Command::Provision(args) => args.execute(context),
            Command::LoadArchive(args) => args.execute(context),
            Command::Put(args) => args.execute(context),
            Command::Fetch(args) => args.execute(context),
            Command::Tail(args) => args.execute(context),
            Command::Startup(command) => command.execute(context),
            Command::AddStartup(args) => args.execute(context),
            Command::Start(args) => args.execute(context),
            Command::Stop(args) => args.execute(context),
            Command::Restart(args) => args.execute(context),
            Command::Reboot(args) => args.execute(context),
            Command::Pause(args) => args.execute(context),
            Command::Unpause(args) => args.execute(context),
            Command::WaitPort(args) => args.execute(context),
            Command::Autostart(args) => args.execute(context),
            Command::Set(args) => args.execute(context),
            Command::Secret(command) => command.execute(context),
            Command::Mount(args) => args.execute(context),
            Command::Unmount(args) => args.execute(context),
            Command::Volume(command) => command.execute(context),
            Command::Allow(args) => args.execute(context),
            Command::Deny(args) => args.execute(context),
            Command::Link(args) => args.execute(context),
            Command::Unlink(args) => args.execute(context),
            Command::Links(args) => args.execute(context),
            Command::Publish(args) => args.execute(context),
            Command::Unpublish(args) => args.execute(context),
            Command::Network(command) => command.execute(context),
            Command::Ls(args) => args.execute(context),
            Command::Inspect(args) => args.execute(context),
            Command::Stats(args) => args.execute(context),
            Command::Top(args) => args.execute(context),
            Command::Events(args) => args.execute(context),
            Command::ZmqProxy(args) => args.execute(context),
            Command::ZmqKey(args) => args.execute(context),
            Command::Gateway(command) => command.execute(context),
            Command::Diff(args) => args.execute(context),
            Command::Snapshot(args) => args.execute(context),
            Command::Snapshots(args) => args.execute(context),
            Command::Restore(args) => args.execute(context),
            Command::Clone(args) => args.execute(context),
            Command::Rename(args) => args.execute(context),
            Command::Rm(args) => args.execute(context),
            Command::Build(args) => args.execute(context),
            Command::Up(args) => args.execute(context),
            Command::Down(args) => args.execute(context),
            Command::SaveImage(args) => args.execute(context),
            Command::LoadImage(args) => args.execute(context),
            Command::Image(command) => command.execute(context),
            Command::Df(args) => args.execute(context),
            Command::Gc(args) => args.execute(context),
            Command::Completions(args) => args.execute(),
            Command::Man(args) => args.execute(),
        }?;
        Ok(exit::SUCCESS)
    }
}
