//! What makes an item an event again: the level policies.

use fanfare_nats::Level;

/// How often one item may become an event.
#[derive(Clone, Debug, PartialEq)]
pub enum LevelPolicy {
    /// Once.
    First,
    /// Once per step reached; the steps rise.
    Levels(Vec<f64>),
    /// Once per distinct value, at most so often.
    Fields {
        /// The most events of one item.
        at_most: usize,
    },
}

/// What the templates of the policy say about one observation.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// The policy reads nothing.
    Nothing,
    /// A number, if there is one.
    Number(Option<f64>),
    /// The chosen fields, in the order of the configuration.
    Fields(Vec<String>),
}

impl LevelPolicy {
    /// The level of an observation, judged alone. `None`: below all steps.
    pub fn judge(&self, reading: &Reading) -> Option<Level> {
        match (self, reading) {
            (Self::Levels(steps), Reading::Number(Some(number))) => steps
                .iter()
                .copied()
                .filter(|step| step <= number)
                .max_by(f64::total_cmp)
                .map(Level::Step),
            (Self::Levels(_), Reading::Number(None) | Reading::Nothing | Reading::Fields(_)) => {
                None
            }
            (Self::Fields { .. }, Reading::Fields(values)) => {
                let values: Vec<&str> = values.iter().map(String::as_str).collect();
                Some(Level::of_fields(&values))
            }
            (Self::First, _) | (Self::Fields { .. }, Reading::Nothing | Reading::Number(_)) => {
                Some(Level::First)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(number: Option<f64>, expected: Option<f64>) {
        let policy = LevelPolicy::Levels(vec![4.5, 6.0, 7.0]);
        let level = policy.judge(&Reading::Number(number));
        assert_eq!(level, expected.map(Level::Step));
    }

    #[test]
    fn a_number_reaches_the_highest_step_that_is_not_above_it() {
        check(Some(4.49), None);
        check(Some(4.5), Some(4.5));
        check(Some(5.9), Some(4.5));
        check(Some(6.0), Some(6.0));
        check(Some(9.5), Some(7.0));
        check(Some(-1.0), None);
    }

    #[test]
    fn a_missing_number_is_below_all_steps() {
        check(None, None);
        check(Some(f64::NAN), None);
    }

    #[test]
    fn each_distinct_value_of_the_fields_is_a_level_of_its_own() {
        let policy = LevelPolicy::Fields { at_most: 5 };
        let read = |text: &str| {
            policy
                .judge(&Reading::Fields(vec![text.to_owned()]))
                .unwrap()
        };
        assert_eq!(read("Warning"), read("Warning"));
        assert_ne!(read("Warning"), read("Watch"));
    }
}
