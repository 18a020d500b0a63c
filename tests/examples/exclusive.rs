//! Take-over times of exclusive sources: so many faults, told while it runs, appended to a table.

use std::process::ExitCode;

use fanfare_tests::exclusive::{Options, USAGE, run};

#[tokio::main]
async fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("{why}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&options).await {
        Ok(summed) => {
            println!("{summed}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
