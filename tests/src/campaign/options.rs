//! What a slice is to do, from the command line.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// How it is called.
pub const USAGE: &str = "\
cargo run --release -p fanfare-tests --example campaign -- --executable FILE [options]

  --executable FILE  a fanfare with fail points, from
                     cargo build --release -p fanfare --features fanfare-nats/fail-points \\
                       --target-dir target/campaign
  --kind KIND        kill (default) | shipped | freeze | broker | proxy | provider | clock | disk |
                     rolling | fanout; on two machines and a witness: machine-a | machine-b | cut |
                     partition | leader | leader-frozen | quorum | all-brokers | upgrade
  --minutes N        how long faults go on, at most 9 (default 9)
  --seed N           where chance begins (default 1); slice n of a table uses N + n
  --kills N          stop for good once the table's valid slices have so many faults
  --append FILE      table to go on with and to append to (tab-separated)
  --nats FILE        the nats-server of the two machines (default: the one that tests use)
  --upgrade FILE     the nats-server that it is replaced by
  --former FILE      the fanfare that is replaced by --executable
  --keep FOLDER      where the ledger of a slice that failed is kept";

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SIGKILL at named places and random times, all roles.
    Kill,
    /// The same with the shipped `ack_wait`.
    Shipped,
    /// SIGSTOP for longer than `ack_wait`, then SIGCONT.
    Freeze,
    /// Restarts and SIGKILL of the broker.
    Broker,
    /// Cuts, stalls and slowness between processes and the broker.
    Proxy,
    /// Every fault of a provider, for one app of two.
    Provider,
    /// The clock of a process steps by an hour, on and back.
    Clock,
    /// The broker's disk is full.
    Disk,
    /// Two fetchers, two notifiers and the API are restarted in turn, in order.
    Rolling,
    /// One event to 100,000 devices, four notifiers, one of them killed every second.
    Fanout,
    /// Everything on the first of two machines is killed, and comes back.
    MachineA,
    /// Everything on the second.
    MachineB,
    /// The two machines do not reach each other.
    Cut,
    /// Every other way to be cut off: one way, from all brokers, flapping, lossy.
    Partition,
    /// The broker that leads is killed: of the events, of their consumer, of the cluster in turn.
    Leader,
    /// The same broker is frozen, and thawed.
    LeaderFrozen,
    /// Two of three brokers are killed.
    Quorum,
    /// All three are.
    AllBrokers,
    /// Brokers and roles are replaced one by one.
    Upgrade,
}

impl Kind {
    const ALL: [(Self, &str); 19] = [
        (Self::Kill, "kill"),
        (Self::Shipped, "shipped"),
        (Self::Freeze, "freeze"),
        (Self::Broker, "broker"),
        (Self::Proxy, "proxy"),
        (Self::Provider, "provider"),
        (Self::Clock, "clock"),
        (Self::Disk, "disk"),
        (Self::Rolling, "rolling"),
        (Self::Fanout, "fanout"),
        (Self::MachineA, "machine-a"),
        (Self::MachineB, "machine-b"),
        (Self::Cut, "cut"),
        (Self::Partition, "partition"),
        (Self::Leader, "leader"),
        (Self::LeaderFrozen, "leader-frozen"),
        (Self::Quorum, "quorum"),
        (Self::AllBrokers, "all-brokers"),
        (Self::Upgrade, "upgrade"),
    ];

    /// Whether it needs two machines and a witness.
    pub fn is_of_machines(self) -> bool {
        matches!(
            self,
            Self::MachineA
                | Self::MachineB
                | Self::Cut
                | Self::Partition
                | Self::Leader
                | Self::LeaderFrozen
                | Self::Quorum
                | Self::AllBrokers
                | Self::Upgrade
        )
    }

    /// Its word.
    pub fn as_str(self) -> &'static str {
        let named = Self::ALL.iter().find(|(kind, _)| *kind == self);
        named.map_or("", |(_, word)| word)
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL.iter().find(|(_, word)| *word == text);
        named
            .map(|(kind, _)| *kind)
            .ok_or_else(|| format!("there is no kind {text}"))
    }
}

/// What a slice is to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which fault.
    pub kind: Kind,
    /// How long faults go on.
    pub time: Duration,
    /// Where chance begins.
    pub seed: u64,
    /// How many kills the campaign is to have in all.
    pub kills: Option<u64>,
    /// The table.
    pub append: Option<PathBuf>,
    /// The executable; with fail points.
    pub executable: PathBuf,
    /// The nats-server of the two machines.
    pub nats: Option<PathBuf>,
    /// The one that it is replaced by.
    pub upgrade: Option<PathBuf>,
    /// The executable that is replaced.
    pub former: Option<PathBuf>,
    /// Where to keep what a failed slice left.
    pub keep: Option<PathBuf>,
}

impl Options {
    /// Reads the arguments after the program's name.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut arguments = arguments.into_iter();
        let mut executable = None;
        let mut options = Self {
            kind: Kind::Kill,
            time: Duration::from_mins(9),
            seed: 1,
            kills: None,
            append: None,
            executable: PathBuf::new(),
            nats: None,
            upgrade: None,
            former: None,
            keep: None,
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or(format!("{name} needs a value"))?;
            let number = || value.parse::<u64>().map_err(|it| format!("{name}: {it}"));
            match name.as_str() {
                "--kind" => options.kind = value.parse()?,
                "--seed" => options.seed = number()?,
                "--kills" => options.kills = Some(number()?),
                "--append" => options.append = Some(value.into()),
                "--executable" => executable = Some(value.into()),
                "--nats" => options.nats = Some(value.into()),
                "--upgrade" => options.upgrade = Some(value.into()),
                "--former" => options.former = Some(value.into()),
                "--keep" => options.keep = Some(value.into()),
                "--minutes" => {
                    let minutes: f64 = value.parse().map_err(|it| format!("{name}: {it}"))?;
                    if !(0.05..=9.0).contains(&minutes) {
                        return Err("--minutes must be 0.05 to 9".to_owned());
                    }
                    options.time = Duration::from_secs_f64(minutes * 60.0);
                }
                _ => return Err(format!("there is no option {name}")),
            }
        }
        options.executable = executable.ok_or("--executable is missing")?;
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_line_is_read_and_a_wrong_one_told() {
        let options = parse("--executable f --kind freeze --minutes 0.5 --seed 7").unwrap();
        assert_eq!((options.kind, options.seed), (Kind::Freeze, 7));
        assert_eq!(options.time, Duration::from_secs(30));
        for wrong in [
            "",
            "--kind x --executable f",
            "--seed",
            "--minutes 10 --executable f",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
