//! Differences as a table for people.

use std::fmt::Write;

use fanfare_nats::stream::{Difference, Remedy, Weight};

/// The table, or one line if there is nothing to tell.
pub(super) fn of(differences: &[Difference]) -> String {
    if differences.is_empty() {
        return "everything is as the promise needs it\n".to_owned();
    }
    let rows: Vec<[String; 4]> = differences.iter().map(row).collect();
    let head = ["what", "found", "needed", "why"].map(str::to_owned);
    let mut widths = [0; 3];
    for row in rows.iter().chain([&head]) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for [what, found, needed, why] in [&head].into_iter().chain(&rows) {
        let [a, b, c] = widths;
        // Writing to a String cannot fail.
        let _ok = writeln!(text, "{what:a$}  {found:b$}  {needed:c$}  {why}");
    }
    text
}

fn row(difference: &Difference) -> [String; 4] {
    let weight = match difference.weight {
        Weight::Breaks => "",
        Weight::Doubtful => "(warning) ",
    };
    let remedy = match &difference.remedy {
        Remedy::Create | Remedy::Set(_) => "fanfare admin apply",
        Remedy::ByHand(how) => how,
    };
    [
        format!("{} {}", difference.name, difference.property),
        difference.found.clone(),
        difference.needed.clone(),
        format!("{weight}{}; {remedy}", difference.why),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_and_each_row_says_what_to_do() {
        let difference = |name: &str, remedy| Difference {
            name: name.to_owned(),
            property: "max_age",
            found: "1h".to_owned(),
            needed: "72h or more".to_owned(),
            why: "it would forget",
            weight: Weight::Breaks,
            remedy,
        };
        let text = of(&[
            difference("A", Remedy::Create),
            difference("LONGER", Remedy::ByHand("delete it")),
        ]);
        let expected = "\
what            found  needed       why
A max_age       1h     72h or more  it would forget; fanfare admin apply
LONGER max_age  1h     72h or more  it would forget; delete it
";
        assert_eq!(text, expected);
        assert!(of(&[]).contains("as the promise needs it"));
    }
}
