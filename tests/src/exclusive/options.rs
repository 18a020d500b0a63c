//! What is to be done, from the command line.

use std::path::PathBuf;

use super::pair::Fault;

/// How it is called.
pub const USAGE: &str = "\
cargo run -p fanfare-tests --example exclusive -- [options]

  --kind KIND        kill, freeze, cut, stall, stop, release [kill]
  --rounds N         how often each pair has the fault [5]
  --pairs N          how many sources, each with two fetchers [10]
  --replicas N       1 or 3 servers; cut and stall need 1 [1]
  --seed N           where chance begins [1]
  --append FILE      a table to which each row is added
  --executable FILE  which fanfare [the one that cargo built]";

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which fault.
    pub kind: Fault,
    /// How often each pair has it.
    pub rounds: u64,
    /// How many pairs.
    pub pairs: usize,
    /// How many servers.
    pub replicas: usize,
    /// Where chance begins.
    pub seed: u64,
    /// The table.
    pub append: Option<PathBuf>,
    /// Which executable.
    pub executable: Option<PathBuf>,
}

impl Options {
    /// Reads the arguments after the program's name.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut arguments = arguments.into_iter();
        let mut options = Self {
            kind: Fault::Kill,
            rounds: 5,
            pairs: 10,
            replicas: 1,
            seed: 1,
            append: None,
            executable: None,
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or(format!("{name} needs a value"))?;
            let number = || value.parse::<u64>().map_err(|it| format!("{name}: {it}"));
            let count = || value.parse::<usize>().map_err(|it| format!("{name}: {it}"));
            match name.as_str() {
                "--kind" => options.kind = value.parse()?,
                "--rounds" => options.rounds = number()?,
                "--pairs" => options.pairs = count()?,
                "--replicas" => options.replicas = count()?,
                "--seed" => options.seed = number()?,
                "--append" => options.append = Some(value.into()),
                "--executable" => options.executable = Some(value.into()),
                _ => return Err(format!("there is no option {name}")),
            }
        }
        if options.replicas != 1 && options.kind.needs_proxy() {
            return Err("a client of three servers finds its way around a proxy".to_owned());
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_and_a_wrong_one_told() {
        let parse = |line: &str| Options::parse(line.split_whitespace().map(str::to_owned));
        let options = parse("--kind freeze --rounds 2 --pairs 3").unwrap();
        assert_eq!(
            (options.kind, options.rounds, options.pairs),
            (Fault::Freeze, 2, 3)
        );
        for wrong in ["--kind x", "--seed", "--kind cut --replicas 3"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
