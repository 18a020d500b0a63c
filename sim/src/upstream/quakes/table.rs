//! The shipped table, read.

use crate::upstream::FeedError;

const TABLE: &str = include_str!("../../../data/quakes.csv");
/// Longer silences of the table are leapt over: it joins two stretches weeks apart.
const MAX_SILENCE_S: f64 = 12.0 * 3600.0;
/// What is left of them.
const LEFT_SILENCE_S: f64 = 60.0;

/// A quake and its versions.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Quake {
    pub(crate) id: String,
    pub(crate) net: String,
    pub(crate) kind: String,
    pub(crate) place: String,
    pub(crate) mag_type: String,
    /// Longitude, latitude, depth in km.
    pub(crate) at: [f64; 3],
    /// Origin on the feed clock, in seconds from the table's first quake.
    pub(crate) origin_s: f64,
    /// The first and then each revision.
    pub(crate) versions: Vec<Version>,
}

/// What the publisher says at some time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Version {
    /// Seconds after the origin.
    pub(crate) after_s: f64,
    pub(crate) mag: f64,
    pub(crate) is_reviewed: bool,
    pub(crate) is_scripted: bool,
}

/// The table that comes with this crate.
pub(crate) fn shipped() -> Result<Vec<Quake>, FeedError> {
    let lines = TABLE
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.starts_with('#'));
    let rows = lines.map(|(at, line)| row(line).ok_or(FeedError::Table { line: at + 1 }));
    let mut rows: Vec<(f64, Quake)> = rows.collect::<Result<_, _>>()?;
    rows.sort_by(|(left, _), (right, _)| left.total_cmp(right));
    let mut before_s = rows.first().map_or(0.0, |(unix_s, _)| *unix_s);
    let mut now_s = 0.0;
    let quakes = rows.into_iter().map(|(unix_s, mut quake)| {
        let silence_s = unix_s - before_s;
        now_s += if silence_s > MAX_SILENCE_S {
            LEFT_SILENCE_S
        } else {
            silence_s
        };
        before_s = unix_s;
        quake.origin_s = now_s;
        quake
    });
    Ok(quakes.collect())
}

/// A line, and its origin in Unix seconds.
fn row(line: &str) -> Option<(f64, Quake)> {
    let fields: Vec<&str> = line.splitn(13, ',').collect();
    let &[
        id,
        net,
        time,
        kind,
        mag,
        mag_type,
        status,
        lon,
        lat,
        depth,
        shown,
        revisions,
        place,
    ] = fields.as_slice()
    else {
        return None;
    };
    let first = Version {
        after_s: shown.parse().ok()?,
        mag: mag.parse().ok()?,
        is_reviewed: status == "reviewed",
        is_scripted: false,
    };
    let mut versions = vec![first];
    for text in revisions.split_whitespace() {
        versions.push(revision(text)?);
    }
    let quake = Quake {
        id: id.to_owned(),
        net: net.to_owned(),
        kind: kind.to_owned(),
        place: place.trim_matches('"').to_owned(),
        mag_type: mag_type.to_owned(),
        at: [lon.parse().ok()?, lat.parse().ok()?, depth.parse().ok()?],
        origin_s: 0.0,
        versions,
    };
    Some((time.parse::<f64>().ok()? / 1000.0, quake))
}

fn revision(text: &str) -> Option<Version> {
    let parts: Vec<&str> = text.split('/').collect();
    let &[kind, after, mag, status] = parts.as_slice() else {
        return None;
    };
    Some(Version {
        after_s: after.parse().ok()?,
        mag: mag.parse().ok()?,
        is_reviewed: status == "r",
        is_scripted: kind == "s",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_table_is_whole() {
        let quakes = shipped().unwrap();
        assert!(quakes.len() > 500, "{}", quakes.len());
        let mut ids: Vec<&str> = quakes.iter().map(|it| it.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), quakes.len());
        for quake in &quakes {
            let times: Vec<f64> = quake.versions.iter().map(|it| it.after_s).collect();
            assert!(times.is_sorted() && times[0] > 0.0, "{quake:?}");
        }
        let span_s = quakes.last().unwrap().origin_s;
        assert!((50.0..70.0).contains(&(span_s / 3600.0)), "{span_s}");
    }

    #[test]
    fn at_least_twenty_quakes_rise_and_fall_through_the_levels() {
        let step = |mag: f64| [4.5, 6.0, 7.0].iter().filter(|it| mag >= **it).count();
        let quakes = shipped().unwrap();
        let moving = quakes.iter().filter(|quake| {
            let steps: Vec<usize> = quake.versions.iter().map(|it| step(it.mag)).collect();
            steps.windows(2).any(|it| it[0] < it[1]) && steps.windows(2).any(|it| it[1] < it[0])
        });
        assert!(moving.count() >= 20);
    }
}
