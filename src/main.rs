//! The binary: reads the command line and runs what it says.

use std::process::ExitCode;

use firmament::cli::{self, Command};

fn main() -> ExitCode {
    match cli::parse() {
        Command::Client(command) => cli::run_client(command),
        Command::Server(command) => cli::run_server(command),
    }
}
