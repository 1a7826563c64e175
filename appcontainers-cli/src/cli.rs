//! What can be typed: the global options and the way from them to a command.

use std::path::PathBuf;

use appcontainers::{ContainerName, InvalidDirectory, Paths, Service};
use clap::{ArgAction, Args, Parser};

use crate::{commands::Command, context::Context, failure, stdio};

/// Turn a program into an app container and save it as one file
///
/// An app container is a program with its files, sandboxed in LXC, with an address of its own. Saved as one file
/// (app.aimg) it starts in tens of milliseconds on any Linux host.
///
/// Commands that work on a container take it from -c NAME, else from APPC_CONTAINER, else they use the session's
/// current container: the one that this terminal session provisioned or loaded last. They say so when they do.
#[derive(Debug, Parser)]
#[command(name = "appc", version, max_term_width = 100, after_help = EXAMPLES, after_long_help = MANUAL)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command understands.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Use this container instead of the session's current one [env: APPC_CONTAINER]
    #[arg(short, long, global = true, value_name = "NAME", display_order = 900)]
    pub(crate) container: Option<ContainerName>,
    /// Print results as JSON
    #[arg(long, global = true, display_order = 901)]
    pub(crate) json: bool,
    /// Keep all state in this directory [env: APPC_ROOT] [default: /var/lib/appcontainers]
    #[arg(long, global = true, value_name = "DIR", display_order = 902)]
    pub(crate) root: Option<PathBuf>,
    /// Say what is being done, on standard error; twice and three times for more
    #[arg(short, long, global = true, action = ArgAction::Count, display_order = 903)]
    pub(crate) verbose: u8,
}

impl Cli {
    /// Does what was typed; the exit code of the whole program.
    pub(crate) fn execute(self) -> anyhow::Result<u8> {
        let service = Service::open(self.global.paths()?);
        if self.command.needs_network()
            && let Err(error) = service.restore_network()
        {
            let error = failure::one_line(&error.into());
            stdio::note(&format!("warning: the containers' network is not whole, and can't be mended: {error}"));
        }
        let context = Context::new(service, self.global.container, self.global.json);
        self.command.execute(&context)
    }
}

impl Global {
    fn paths(&self) -> Result<Paths, InvalidDirectory> {
        self.root.as_ref().map_or_else(Paths::from_env, Paths::with_root)
    }
}

const EXAMPLES: &str = "\
Examples:
  appc provision && appc load-archive app.tar.gz    a container with your program in it
  appc run -- ./app --port 80                       run it, with its output streaming
  appc save-image app.aimg                          the program and all its files, as one file
  appc run --rm --image app.aimg -- ./app           load, run, gone

'appc COMMAND --help' has examples for each command; 'appc man' is the manual.";

const MANUAL: &str = "\
Examples:
  appc provision && appc load-archive app.tar.gz    a container with your program in it
  appc run -- ./app --port 80                       run it, with its output streaming
  appc save-image app.aimg                          the program and all its files, as one file
  appc run --rm --image app.aimg -- ./app           load, run, gone

Environment:
  APPC_CONTAINER    the container to use where -c is absent
  APPC_ROOT         where state is kept [default: /var/lib/appcontainers]
  APPC_RUN          where locks and sockets are [default: /run/appcontainers, and for another
                    APPC_ROOT a directory of its own beside it]
  SOURCE_DATE_EPOCH the newest time in what 'appc build' makes, in seconds since 1970
  APPC_LIBEXEC      where appc-monitor and appc-agent are [default: beside appc, else where they
                    are installed]

Exit codes:
  0      success
  1      failure; one line on standard error says what, why, and what to do
  2      wrong usage
  N      of 'run', 'exec', 'shell', 'spawn', 'wait', 'attach': the command's own code;
         128+N where signal N ended it;
         127 command not found, 126 not executable, 125 appc itself failed
  124    of 'wait-port' and 'wait --healthy': not ready in time

Results go to standard output; notes, progress and errors go to standard error.
'appc COMMAND --help' has examples for each command.";

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, error::ErrorKind};

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_line_of_the_manual_is_understood() {
        for line in [
            "appc setup",
            "appc setup --subnet 10.99.0.0/16",
            "appc setup --undo",
            "appc doctor",
            "appc base build",
            "appc base build debian-12",
            "appc base build ./own.toml",
            "appc base import rootfs.tar.zst",
            "appc base import /srv/rootfs --name mine",
            "appc base ls --json",
            "appc base recipes",
            "appc base rm busybox",
            "appc provision",
            "appc provision --base debian-12 --name web --hostname web1 --privileged",
            "appc provision --egress none",
            "appc load-image app.aimg --egress 192.0.2.0/24,2001:db8::/32",
            "appc run --rm --image app.aimg --egress none -- ./app",
            "appc load-archive app.tar.gz",
            "appc load-archive - --into /srv",
            "appc run -- true",
            "appc run true",
            "appc run --rm --image app.aimg -e A=1 -e B= -w /srv -u app:app -- ls -la",
            "appc spawn --name web --restart on-failure -e A=1 -w /srv -u app -- ./app",
            "appc provision --volume data:/srv/data --volume logs:/var/log:ro --bind /srv/site:/var/www:ro",
            "appc provision --disk 2G",
            "appc set web disk=4G",
            "appc mount web /srv/site:/var/www:ro",
            "appc unmount web /var/www",
            "appc volume create data --size 1G",
            "appc volume ls --json",
            "appc volume inspect data",
            "appc volume attach web data:/srv/data:ro",
            "appc volume detach web data",
            "appc volume snapshot data",
            "appc volume rollback data monday",
            "appc volume rm-snapshot data monday",
            "appc volume clone data copy",
            "appc volume rm data",
            "appc ps",
            "appc ps -a",
            "appc kill 3 web -s HUP",
            "appc wait web --timeout 3",
            "appc attach 3",
            "appc logs -f --since 10m --tail 5 --process web --stream stderr --timestamps",
            "appc run -it --rlimit nofile=1024:4096 -- sh",
            "appc exec -- ps",
            "appc exec -it -e A=1 -w /srv -u app --rlimit core=unlimited --rlimit nofile=64 -- sh -i",
            "appc exec -i -- tar x -C /srv",
            "appc -c web shell -u app",
            "appc put app.conf /etc/app/",
            "appc put --owner app:app ./site/. /srv",
            "appc put - /srv",
            "appc fetch /var/log .",
            "appc fetch /srv - --keep-privileges",
            "appc tail /var/log/app.log",
            "appc tail -f -n 0 /var/log/app.log",
            "appc startup-command add ./app",
            "appc startup-command ls --json",
            "appc startup-command rm 1",
            "appc add-startup-command ./app",
            "appc start",
            "appc start web",
            "appc start db web shop",
            "appc start web --wait healthy --timeout 30",
            "appc wait --healthy web --timeout 30",
            "appc wait --healthy",
            "appc set web --restart on-failure:5 --health-http 8080/health --health-on-failure restart",
            "appc set web --after db:healthy,cache --on-stop ./drain --on-start x --on-fail y",
            "appc set web --no-health --after none",
            "appc provision --restart always --health-cmd true --health-interval 500ms --health-retries 1",
            "appc stop --timeout 3",
            "appc restart web --timeout 0",
            "appc reboot",
            "appc pause",
            "appc unpause web shop",
            "appc set memory=512M",
            "appc set web memory=512M cpus=1.5 cpuset= io.read=10M nofile=none",
            "appc set web --ip 10.213.0.9 pids=200",
            "appc provision --limit memory=512M --limit cpus=1.5",
            "appc load-image app.aimg --limit net.egress=1M",
            "appc run --rm --image app.aimg --limit pids=200 -- ./app",
            "appc wait-port web:80",
            "appc -c web wait-port 8080 --http /health --timeout 5",
            "appc reboot web --fresh --time 0",
            "appc rm web",
            "appc rm -f web",
            "appc rename web",
            "appc rename web shop",
            "appc ls",
            "appc --json ls",
            "appc network ls",
            "appc network inspect",
            "appc network inspect web --json",
            "appc network top --interval 0.5 -n 3",
            "appc inspect",
            "appc stats",
            "appc provision --file a.tera:/etc/a:0640:root:www --file b:/srv/ -e A=1 -e HOME --env-file a.env",
            "appc load-image app --secret db --secret tls:/etc/key.pem:0440:app:www --env A=",
            "appc run -e A --env-file a.env -- true",
            "appc secret create db",
            "appc secret create db file",
            "appc secret ls --json",
            "appc secret inspect db",
            "appc secret rotate db -",
            "appc secret rm db",
            "appc secret grant web db:/run/secrets/x",
            "appc secret revoke web db",
            "appc stats web shop --json",
            "appc top",
            "appc top --interval 0.5 --sort mem --once",
            "appc events",
            "appc events -f --since 41",
            "appc -c web events --follow --since 2026-01-02T03:04:05Z --json",
            "appc gateway publish shop.example.org web",
            "appc gateway publish shop.example.org web-1:8080 web-2:8080 --health /healthz --port 8080",
            "appc gateway publish *.example.org web --tls-cert c.pem --tls-key k.pem",
            "appc gateway publish shop.example.org web --acme admin@example.org",
            "appc gateway publish shop.example.org web --acme a@b --acme-directory https://ca/dir --acme-root r.pem",
            "appc gateway publish shop.example.org web --no-tls --no-health",
            "appc gateway unpublish shop.example.org",
            "appc gateway unpublish shop.example.org web-1 web-2:8080",
            "appc gateway ls --json",
            "appc gateway run",
            "appc gateway reload",
            "appc diff",
            "appc df",
            "appc save-image app.aimg",
            "appc save-image app.aimg --thin --compression-level 19 --name shop",
            "appc load-image app.aimg",
            "appc load-image shop --ephemeral --name web",
            "appc build",
            "appc build -f shop/appc.toml -o shop.aimg --no-cache --tag shop --source-date-epoch 1700000000",
            "appc build --schema",
            "appc up",
            "appc up -f shop/appc.toml --no-cache --timeout 3",
            "appc down -f shop/appc.toml --timeout 0",
            "appc gc --build-cache",
            "appc image ls",
            "appc image inspect app.aimg",
            "appc image rm shop",
            "appc gc",
            "appc gc --dry-run",
            "appc completions bash",
            "appc man",
            "appc man --output /usr/share/man/man1",
            "appc -c web --root /srv/appc -vv ls",
            "appc ls -c web --root /srv/appc -v",
        ] {
            assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
        }
    }

    #[test]
    fn what_makes_no_sense_is_wrong_usage() {
        for (line, kind) in [
            ("appc", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
            ("appc prvision", ErrorKind::InvalidSubcommand),
            ("appc rm", ErrorKind::MissingRequiredArgument),
            ("appc setup --undo --subnet 10.0.0.0/16", ErrorKind::ArgumentConflict),
            ("appc setup --subnet 10.0.0.0/99", ErrorKind::ValueValidation),
            ("appc provision --name ../etc", ErrorKind::ValueValidation),
            ("appc provision --hostname a_b", ErrorKind::ValueValidation),
            ("appc -c UPPER ls", ErrorKind::ValueValidation),
            ("appc save-image app.aimg --compression-level 23", ErrorKind::ValueValidation),
            ("appc startup-command rm 0", ErrorKind::ValueValidation),
            ("appc stop --timeout soon", ErrorKind::ValueValidation),
            ("appc set web --restart sometimes", ErrorKind::ValueValidation),
            ("appc set web --health-cmd a --health-tcp 80", ErrorKind::ArgumentConflict),
            ("appc set web --health-http 80", ErrorKind::ValueValidation),
            ("appc set web --after db:sick", ErrorKind::ValueValidation),
            ("appc wait", ErrorKind::MissingRequiredArgument),
            ("appc network", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
            ("appc network top -n 0", ErrorKind::ValueValidation),
            ("appc wait-port web", ErrorKind::ValueValidation),
            ("appc wait-port web:53/udp", ErrorKind::ValueValidation),
            ("appc wait-port web:80 --http health", ErrorKind::ValueValidation),
            ("appc top --sort size", ErrorKind::InvalidValue),
            ("appc top --interval 0", ErrorKind::ValueValidation),
            ("appc events --since yesterday", ErrorKind::ValueValidation),
            ("appc provision --file a", ErrorKind::ValueValidation),
            ("appc provision --file a:b/c", ErrorKind::ValueValidation),
            ("appc provision --secret DB", ErrorKind::ValueValidation),
            ("appc secret grant web db:relative", ErrorKind::ValueValidation),
            ("appc kill -s 99 1", ErrorKind::ValueValidation),
            ("appc wait A/b", ErrorKind::ValueValidation),
            ("appc logs --since yesterday", ErrorKind::ValueValidation),
            ("appc exec --rlimit nofile=2:1 -- true", ErrorKind::ValueValidation),
            ("appc shell -- ls", ErrorKind::UnknownArgument),
            ("appc put app.conf", ErrorKind::MissingRequiredArgument),
            ("appc gateway publish shop.example.org", ErrorKind::MissingRequiredArgument),
            ("appc gateway publish a_b web", ErrorKind::ValueValidation),
            ("appc gateway publish a web:0", ErrorKind::ValueValidation),
            ("appc gateway publish a web --port 0", ErrorKind::ValueValidation),
            ("appc gateway publish a web --tls-cert c.pem", ErrorKind::MissingRequiredArgument),
            ("appc gateway publish a web --acme-directory https://ca/dir", ErrorKind::MissingRequiredArgument),
            ("appc gateway publish a web --acme a@b --no-tls", ErrorKind::ArgumentConflict),
            ("appc tail -n x app.log", ErrorKind::ValueValidation),
            ("appc provision --egress some", ErrorKind::ValueValidation),
            ("appc provision --limit memory", ErrorKind::ValueValidation),
            ("appc set web memory=0", ErrorKind::ValueValidation),
            ("appc set web memroy=1G", ErrorKind::ValueValidation),
            ("appc run --egress none -- true", ErrorKind::MissingRequiredArgument),
            ("appc run --bogus -- true", ErrorKind::UnknownArgument),
            ("appc volume create ../x", ErrorKind::ValueValidation),
            ("appc volume create data --size much", ErrorKind::ValueValidation),
            ("appc set web disk=much", ErrorKind::ValueValidation),
            ("appc mount web /srv:/proc", ErrorKind::ValueValidation),
            ("appc volume attach web data:srv", ErrorKind::ValueValidation),
        ] {
            let error = parse(line).expect_err(line);
            assert_eq!(error.kind(), kind, "{line}: {error}");
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn a_mistyped_command_gets_a_suggestion() {
        let text = parse("appc prvision").unwrap_err().to_string();
        assert!(text.contains("'provision'"), "{text}");
    }

    #[test]
    fn a_root_that_is_relative_is_meant_from_here() {
        let here = std::env::current_dir().unwrap();
        let paths = parse("appc --root state ls").unwrap().global.paths().unwrap();
        assert_eq!(paths.root(), here.join("state"));
    }
}
