//! `fanfare`: one executable for every role and tool.
//!
//! Architecture invariant: this crate composes and decides nothing. What a role does is in the
//! role's crate; here are the command line, the configuration, and how a process starts and ends.

mod admin;
mod clock;
mod command;
mod config;
mod connect;
mod exit;
mod lifecycle;
mod roles;
mod supervisor;
mod telemetry;
mod users;

use std::process::ExitCode;

use clap::Parser;
use fanfare_nats_server::Environment;

/// A push allocates on one thread and frees on another; the system's allocator pays for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let command = match command::Command::try_parse() {
        Ok(command) => command,
        Err(error) => return exit::of_command_line(&error),
    };
    // One provider for all TLS of the process; a second one in the tree would panic at connect.
    // A failure means that it is installed already.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    let environment = Environment::of_process();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(command.run(&environment)),
        Err(error) => Err(anyhow::Error::from(error)
            .context("cannot start the runtime")
            .into()),
    };
    exit::of(ended)
}
