//! Runs the commands that need the server's own parts: serve, migrate, check-config, openapi.

use std::{io::Write, path::Path, process::ExitCode};

use super::{
    output::Terminal,
    recovery::{self, CatalogueCommand},
    server_side::{Document, ServeArguments, ServerCommand, SettingsArguments},
};
use crate::{
    app::{self, Started},
    catalogue,
    config::Settings,
    data_dir::DataDir,
    error::{Error, Kind, Result},
    http::{device, publisher},
    telemetry,
};

/// Runs a server command; errors go to stderr, exit codes are those of the whole command line.
pub fn run_server(command: ServerCommand) -> ExitCode {
    let done = match command {
        ServerCommand::Catalogue(CatalogueCommand::Rebuild(arguments)) => {
            let terminal = Terminal::detect(arguments.json);
            return ExitCode::from(terminal.finish(recovery::rebuild(&arguments, &terminal)));
        }
        ServerCommand::Fsck(arguments) => {
            let terminal = Terminal::detect(arguments.json);
            return ExitCode::from(terminal.finish(recovery::fsck(&arguments, &terminal)));
        }
        ServerCommand::Serve(arguments) => serve(&arguments),
        ServerCommand::Migrate(arguments) => migrate(&arguments),
        ServerCommand::CheckConfig(arguments) => check_config(&arguments),
        ServerCommand::Openapi(arguments) => openapi(arguments.document),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            // What is wrong with the settings is all in the message; elsewhere the cause helps the operator.
            let cause = error.cause();
            if !cause.is_empty() {
                eprintln!("cause: {cause}");
            }
            ExitCode::from(if error.kind() == Kind::Malformed { 1 } else { 2 })
        }
    }
}

fn serve(arguments: &ServeArguments) -> Result<()> {
    let settings = load(&arguments.settings)?;
    telemetry::start_logging(&settings.log)?;
    for warning in settings.warnings() {
        tracing::warn!("{warning}");
    }
    let embedded = settings.catalogue.is_none();
    let data_dir = settings.data_dir.clone();
    runtime()?.block_on(app::serve(settings, !arguments.no_migrate, |started| {
        if embedded {
            // Whoever closed stdout does not want to know.
            let _ = say_what_next(started, &data_dir);
        }
    }))
}

fn migrate(arguments: &SettingsArguments) -> Result<()> {
    let settings = load(arguments)?;
    telemetry::start_logging(&settings.log)?;
    runtime()?.block_on(async {
        // The embedded catalogue is in the data directory, which must not be a running server's.
        let catalogue = match &settings.catalogue {
            Some(postgres) => app::open_postgres(postgres)?,
            None => app::open_sqlite(&DataDir::open(&settings.data_dir)?).await?,
        };
        let before = catalogue.pending_migrations().await?;
        catalogue::prepare(catalogue.as_ref(), true).await?;
        match before {
            0 => print("the catalogue's schema is up to date\n"),
            count => print(&format!("ran {count} migrations; the catalogue's schema is up to date\n")),
        }
    })
}

fn check_config(arguments: &SettingsArguments) -> Result<()> {
    let settings = load(arguments)?;
    print(&settings.redacted()?)?;
    for warning in settings.warnings() {
        eprintln!("warning: {warning}");
    }
    eprintln!("the settings are valid");
    Ok(())
}

fn openapi(document: Document) -> Result<()> {
    let document = match document {
        Document::Publisher => publisher::openapi(),
        Document::Device => device::openapi(),
    };
    print(&(document.to_pretty_json().map_err(Error::internal)? + "\n"))
}

fn load(arguments: &SettingsArguments) -> Result<Settings> {
    Settings::load(arguments.config.as_deref(), arguments.data_dir.as_deref())
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::internal)
}

/// For a person who has just started it: what it is, and, while there is nothing in it, the three commands to type next.
fn say_what_next(started: &Started<'_>, data_dir: &Path) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let token = match &started.token_file {
        Some(file) => format!("token in {}", file.display()),
        None => "token as in the settings".into(),
    };
    writeln!(out, "Firmament is running.")?;
    writeln!(out, "  publishers  {}   ({token})", started.urls.publisher)?;
    writeln!(out, "  devices     {}", started.urls.device)?;
    if started.empty {
        let program = program();
        // The commands find server and token by themselves below the usual directory.
        let here = if data_dir == Path::new("./firmament-data") {
            String::new()
        } else {
            format!(" --data-dir {}", data_dir.display())
        };
        writeln!(out, "\nNothing is published yet. In another terminal, in this directory, type:")?;
        writeln!(out, "  {program} product create thermo-x{here}")?;
        writeln!(
            out,
            "  {program} publish build/app.bin --product thermo-x --version 1.4.0 --channel stable{here}"
        )?;
        writeln!(out, "  {program} check --product thermo-x --version 1.3.0{here}")?;
    }
    out.flush()
}

/// How to call this program from the current directory.
fn program() -> String {
    let Ok(path) = std::env::current_exe() else { return "firmament".into() };
    let below =
        std::env::current_dir().ok().and_then(|here| path.strip_prefix(here).map(Path::to_owned).ok());
    if let Some(below) = below {
        return below.display().to_string();
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let called =
        std::env::split_paths(&paths).map(|folder| folder.join("firmament")).find(|file| file.is_file());
    let is_this = called.and_then(|file| file.canonicalize().ok()).is_some_and(|file| file == path);
    if is_this { "firmament".into() } else { path.display().to_string() }
}

/// Writes data to stdout; a reader that has seen enough is no failure.
fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            let message = format!("cannot write to standard output: {error}");
            Err(Error::new(Kind::Internal, "stdout", message))
        }
        _ => Ok(()),
    }
}
