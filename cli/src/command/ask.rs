//! Asking whoever sits at the terminal.

use std::io::IsTerminal;

use crate::exit::Failure;

/// Asks where somebody can answer; anything but yes is no.
///
/// # Errors
/// [`Failure::Usage`] where nobody can.
pub(super) fn is_confirmed(question: &str) -> Result<bool, Failure> {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Err(Failure::Usage(
            "nobody can be asked here: add --yes, or --dry-run to look first".to_owned(),
        ));
    }
    eprint!("fanfare: {question} [y/N] ");
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    Ok(read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes"))
}
