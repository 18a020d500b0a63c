//! What `apply` is about to do, as lines for people.

use std::fmt::Write;

use fanfare_nats::stream::Step;

/// One line for each step.
pub(super) fn text(steps: &[Step]) -> String {
    if steps.is_empty() {
        return "nothing to do\n".to_owned();
    }
    let mut text = String::new();
    for step in steps {
        // Writing to a String cannot fail.
        let _ok = match step {
            Step::Create { name } => writeln!(text, "create    {name}"),
            Step::Set {
                name,
                values,
                differences,
            } => {
                let values: Vec<_> = values
                    .iter()
                    .map(|(key, value)| format!("{key} = {value}"))
                    .collect();
                let why: Vec<_> = differences.iter().map(|it| it.why).collect();
                let (values, why) = (values.join(", "), why.join("; "));
                writeln!(text, "change    {name}: {values}  ({why})")
            }
            Step::ByHand { difference, how } => {
                writeln!(text, "by hand   {difference}: {how}")
            }
        };
    }
    text
}
