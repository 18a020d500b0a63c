//! Paths into a configuration: `source[0].input[1].http`; pure.

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A key of a table.
    Name(String),
    /// An element of a list, from 0.
    Number(usize),
}

/// Reads a dotted path. What is not understood ends it: the nearest value is then the one above.
pub(crate) fn parse(path: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for part in path.split('.').filter(|it| !it.is_empty()) {
        let (name, numbers) = part.split_at(part.find('[').unwrap_or(part.len()));
        if !name.is_empty() {
            steps.push(Step::Name(name.to_owned()));
        }
        for number in numbers.split(['[', ']']).filter(|it| !it.is_empty()) {
            match number.parse() {
                Ok(number) => steps.push(Step::Number(number)),
                Err(_) => return steps,
            }
        }
    }
    steps
}

/// The steps that serde took until it failed.
pub(crate) fn of_serde(path: &serde_path_to_error::Path) -> Vec<Step> {
    use serde_path_to_error::Segment;
    let step = |segment: &Segment| match segment {
        Segment::Seq { index } => Some(Step::Number(*index)),
        Segment::Map { key } => Some(Step::Name(key.clone())),
        Segment::Enum { .. } | Segment::Unknown => None,
    };
    path.iter().map_while(step).collect()
}

#[cfg(test)]
mod tests {
    use super::{Step, parse};

    #[test]
    fn a_path_is_names_and_numbers() {
        let name = |text: &str| Step::Name(text.to_owned());
        assert_eq!(
            parse("source[0].input[12].http"),
            [
                name("source"),
                Step::Number(0),
                name("input"),
                Step::Number(12),
                name("http")
            ]
        );
        assert_eq!(parse("topics[x].y"), [name("topics")]);
        assert_eq!(parse(""), []);
    }
}
